"""The archive of the smallest image is what containerd and every other reader of OCI archives expect."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from cluster import pause_image

Files = dict[str, bytes]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The archive's files by name."""
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF and so on")
    return contents((pause_image.write(program, tmp_path / "image.tar")).read_bytes())


def contents(archive: bytes) -> Files:
    """The files of a tar."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: (tar.extractfile(member) or io.BytesIO()).read() for member in tar.getmembers()}


def blob(files: Files, descriptor: dict[str, object]) -> bytes:
    """The content that a descriptor names, of the size and digest that it states."""
    content = files[f"blobs/{str(descriptor['digest']).replace(':', '/')}"]
    assert descriptor["size"] == len(content)
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    return content


def test_every_reference_leads_to_its_content(files: Files) -> None:
    """From the index by the manifest to the configuration and the layer."""
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": pause_image.NAME}
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    [layer] = [blob(files, descriptor) for descriptor in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert contents(layer)["pause"] == b"\x7fELF and so on"


def test_the_program_may_be_run_by_nobody(files: Files) -> None:
    """The image's user is none of the machine's, and /tmp is open to all."""
    [entry] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))["config"]
    assert config == {"Entrypoint": ["/pause"], "User": "65532:65532"}
    with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as tar:
        assert {member.name: member.mode for member in tar.getmembers()} == {"pause": 0o755, "tmp": 0o1777}
