"""The smallest image: one static program in an OCI archive, written without a builder. Each pod's sandbox is of it, and the smoke test."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

NAME = "localhost/tandem-pause:1"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


def write(program: Path, archive: Path) -> Path:
    """Write the archive of an image that runs this program as nobody. Returns its path."""
    layer = _tar({"pause": program.read_bytes(), "tmp/": b""})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _add(blobs, json.dumps(config).encode(), _CONFIG),
        "layers": [_add(blobs, layer, _LAYER)],
    }
    entry = _add(blobs, json.dumps(manifest).encode(), _MANIFEST) | {"annotations": {"io.containerd.image.name": NAME}}
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **blobs,
    }
    archive.write_bytes(_tar(files))
    return archive


def _add(blobs: dict[str, bytes], content: bytes, media_type: str) -> dict[str, object]:
    """Store a blob; its descriptor."""
    digest = _digest(content)
    blobs[f"blobs/{digest.replace(':', '/')}"] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _tar(files: dict[str, bytes]) -> bytes:
    """A tar of these files, executable by all; a name that ends with a slash is a folder that all may write to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type, info.mode = (tarfile.DIRTYPE, 0o1777) if name.endswith("/") else (tarfile.REGTYPE, 0o755)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()
