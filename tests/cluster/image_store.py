"""Where the scenario's images are built and kept: buildah with a storage of its own in the user's cache, and archives beside it.

Nothing of it shows in the machine's own images, where a stand-in under an official name would mislead.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.image_context import Recipe, key
from tandem.domain.errors import Permanent

_BUILD_S_MAX = 3_600  # torch over a slow line
_PRUNE_S_MAX = 900
_LAYERS_MAX = 300  # one set has 160; what is older than the set in use only serves the next build
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
_KEYS = "localhost/tandem-key"


class Store:
    """The images that are there. One process at a time: see `open`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextmanager
    def open(cls) -> "Iterator[Store]":
        """The store of this user, locked: another process waits."""
        if shutil.which("buildah") is None:
            raise Permanent("buildah is missing, which builds the images: install the package of that name")
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            store = cls(folder)
            store._buildah("rm", "--all", check=False)  # left by a build or a check that was killed
            try:
                yield store
            finally:
                store._unmount()

    def archive(self, recipe: Recipe) -> Path:
        """Where the image's archive is, or will be."""
        return self._folder / f"{recipe.label}-{key(recipe)}.tar"

    def has(self, recipe: Recipe) -> bool:
        """True if the image is stored as its files are now; then its name means it."""
        mark = _mark(recipe)
        if self._buildah("images", "--quiet", mark, check=False).returncode:
            return False
        self._buildah("tag", mark, recipe.name)
        return True

    def build(self, recipe: Recipe) -> None:
        """Build it; what it is built on must be there. Raises Permanent: the disk is too full, or with the end of the build's output."""
        free = shutil.disk_usage(self._folder).free
        if free < recipe.disk_bytes:
            raise Permanent(f"{recipe.name}: {self._folder} has {free / 1e9:.0f} GB free, the build needs {recipe.disk_bytes / 1e9:.0f}")
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".context-") as folder:
            context = recipe.folder if recipe.target else _context(recipe, Path(folder))
            file = context / ("Dockerfile" if recipe.target else "Containerfile")
            chosen = ("--target", recipe.target) if recipe.target else ()
            arguments = (*_ACCESS, *chosen, *_bundle(), "--tag", _mark(recipe), "--tag", recipe.name, "--file", str(file), str(context))
            self._buildah("build", "--layers", *arguments, timeout_s=_BUILD_S_MAX)

    def export(self, recipe: Recipe) -> Path:
        """Write the image's archive. Docker's format, because buildah compresses the other one: four times as long, to be read once."""
        target = self.archive(recipe)
        partial = target.with_suffix(f".{os.getpid()}.partial")
        try:
            self._buildah("push", "--quiet", recipe.name, f"docker-archive:{partial}:{recipe.name}")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def unpacked_bytes(self, archive: Path) -> int:
        """The size of the image's layers; a file that a later layer replaces counts twice."""
        with tarfile.open(archive) as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            return sum(tar.getmember(layer).size for layer in json.load(manifest)[0]["Layers"])

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """What the image says about its containers: Env, Entrypoint, Cmd, User, WorkingDir."""
        found: dict[str, Any] = json.loads(self._buildah("inspect", "--type", "image", recipe.name).stdout)["OCIv1"]["config"]
        return found

    @contextmanager
    def mounted(self, recipe: Recipe) -> Iterator[Path]:
        """The image's files in a container of their own, which is gone afterwards."""
        container = self._buildah("from", "--pull-never", recipe.name).stdout.strip()
        try:
            yield Path(self._buildah("mount", container).stdout.strip())
        finally:
            self._buildah("rm", container)

    def drop_old(self, keys: set[str]) -> None:
        """Remove archives and images of other keys than these: each change of the code would else keep gigabytes."""
        for path in self._folder.glob("*.tar"):
            if path.stem.rpartition("-")[2] not in keys:
                path.unlink()
        listed = self._buildah("images", "--json", check=False).stdout or "[]"
        names = [name for image in json.loads(listed) for name in image.get("names") or ()]
        for name in names:
            if name.startswith(f"{_KEYS}/") and name.rpartition(":")[2] not in keys:
                # With another name left the image stays; one that others are built on is refused, and goes another time.
                self._buildah("rmi", name, check=False)
        if len(self._buildah("images", "--all", "--quiet", check=False).stdout.split()) > _LAYERS_MAX:
            self._buildah("rmi", "--prune", "--force", timeout_s=_PRUNE_S_MAX)

    def _unmount(self) -> None:
        """Undo the mounts that buildah leaves: of its storage upon itself, and of stages that others copied from."""
        mounted = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        for place in sorted((place for place in mounted if place.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(("umount", "--lazy", place), capture_output=True, timeout=60, check=False)

    def _buildah(self, *arguments: str, check: bool = True, timeout_s: float = 600) -> "subprocess.CompletedProcess[str]":
        place = ("--root", str(self._folder / "storage"), "--runroot", str(self._folder / "run"))
        argv = ("buildah", *place, *arguments)
        # Its caches and its copies of layers go where the rest is, and not to /var/tmp.
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        environ = {**os.environ, "TMPDIR": str(temporary)}
        try:
            done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise Permanent(f"{' '.join(argv)} is not done after {timeout_s:.0f} s") from error
        if check and done.returncode:
            raise Permanent(f"{' '.join(argv)} failed:\n{(done.stdout + done.stderr)[-3_000:]}")
        return done


# chroot: a build needs no container runtime. Nothing is pulled: a stand-in that is missing is a fault of ours.
_ACCESS = ("--isolation", "chroot", "--network", "host", "--pull-never")


def _bundle() -> tuple[str, ...]:
    """The machine's certificates during the build, where packages come through a proxy that signs with its own."""
    bundle = os.environ.get("SSL_CERT_FILE") or _BUNDLE
    return ("--volume", f"{bundle}:{_BUNDLE}:ro") if Path(bundle).is_file() else ()


def _mark(recipe: Recipe) -> str:
    return f"{_KEYS}/{recipe.label}:{key(recipe)}"


def _context(recipe: Recipe, folder: Path) -> Path:
    """The recipe's folder with its inputs."""
    context = folder / "context"
    shutil.copytree(recipe.folder, context)
    for one in recipe.inputs:
        target, source = context / one.name, one.get(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)
    return context
