"""The programs of Kubernetes, and the proxy of the chaos runs: found where their version fits, else built by Go into the user's cache.

Found are those of KUBEBUILDER_ASSETS (the folder that controller-runtime's envtest uses) and of PATH. A build takes minutes once for a
version and says what it does; `python -m cluster.binaries` makes all that `make test` needs beforehand, with --node those of a node too.
"""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tandem.domain.errors import Permanent

KUBERNETES_VERSION = "v1.34.4"
ETCD_VERSION = "v3.6.7"
COREDNS_VERSION = "v1.12.4"
TOXIPROXY_VERSION = "v2.12.0"
_GO = Path(__file__).parent / "go"
_GO_ELSEWHERE = "/usr/local/go/bin"  # where Go's own archive is unpacked, often without a word to PATH
_GO_MIN = (1, 24)  # what the modules' go.mod files ask for
_BUILD_S_MAX = 1_800  # five minutes on two idle cores; others may be at work
_ASK_S_MAX = 120  # of a program of a hundred megabytes that nobody has run since the machine started


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, the Go package that it is made of, and which found ones may stand in for it."""

    name: str
    module: str  # the folder under go/
    package: str  # "." is a main program of our own under go/
    version: str
    version_arguments: tuple[str, ...] = ("--version",)
    fits: str = ""  # a pattern of the versions that will do; empty: only our own build

    @property
    def path(self) -> Path:
        """Where our own build of it lies."""
        key = self.version
        if self.package == ".":
            key += "-" + hashlib.sha256((_GO / self.module / "main.go").read_bytes()).hexdigest()[:12]
        return _cache() / f"{self.module}-{key}" / self.name

    @property
    def link_flags(self) -> str:
        """Smaller by the debugger's tables; Kubernetes' programs would call themselves v0.0.0 without the rest."""
        if self.module != "kubernetes":
            return "-s -w"
        major, minor, _ = self.version.removeprefix("v").split(".")
        told = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        return " ".join(("-s -w", *(f"-X {package}.{name}={value}" for package in packages for name, value in told.items())))


def _kubernetes(name: str, *version_arguments: str) -> Program:
    return Program(
        name=name,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        version=KUBERNETES_VERSION,
        version_arguments=version_arguments or ("--version",),
        fits=r"v1\.34\.\d+",
    )


CONTROL_PLANE = (
    Program(name="etcd", module="etcd", package="go.etcd.io/etcd/server/v3", version=ETCD_VERSION, fits=r"Version: 3\.6\.\d+"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kubectl", "version", "--client"),
)
NODE = (
    _kubernetes("kube-scheduler"),
    _kubernetes("kubelet"),
    _kubernetes("kube-proxy"),
    Program(
        name="coredns",
        module="coredns",
        package=".",
        version=COREDNS_VERSION,
        version_arguments=("-version",),
        fits=r"CoreDNS-1\.12\.\d+",
    ),
    Program(name="pause", module="pause", package=".", version="v1"),
)

# The proxy through which a chaos run's sockets go (tests/chaos).
CHAOS = (
    Program(
        name="toxiproxy-server",
        module="toxiproxy",
        package="github.com/Shopify/toxiproxy/v2/cmd/server",
        version=TOXIPROXY_VERSION,
        version_arguments=("-version",),
        fits=r"toxiproxy-server version 2\.12\.\d+",
    ),
)


def locate(programs: Iterable[Program]) -> dict[str, Path]:
    """The path of each program by its name, built when it is nowhere. Raises Permanent: Go is missing or old, or a build fails."""
    paths: dict[str, Path] = {}
    missing = []
    for program in programs:
        if (path := _found(program)) is not None:
            paths[program.name] = path
        else:
            missing.append(program)
    return paths | _build(missing) if missing else paths


def _found(program: Program) -> Path | None:
    """One that fits: of KUBEBUILDER_ASSETS, of PATH, or built before."""
    if not program.fits:
        return program.path if program.path.exists() else None
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for path in filter(None, (assets and shutil.which(program.name, path=assets), shutil.which(program.name))):
        if re.search(program.fits, _told_version(Path(path), program)):
            return Path(path)
    return program.path if program.path.exists() else None


def _told_version(path: Path, program: Program) -> str:
    try:
        return subprocess.run([path, *program.version_arguments], capture_output=True, text=True, timeout=_ASK_S_MAX, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _build(programs: list[Program]) -> dict[str, Path]:
    """Build the programs, one after the other, unless another process has done so while we waited for it."""
    go = _find_go()
    for program in programs:
        program.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(program.path.parent / ".lock"):
            if not program.path.exists():
                _build_one(go, program)
    return {program.name: program.path for program in programs}


def _build_one(go: str, program: Program) -> None:
    _say(f"building {program.name} {program.version} by Go into {program.path.parent} (once; minutes for the first program)")
    started_s = time.monotonic()
    partial = program.path.with_suffix(f".{os.getpid()}.partial")
    argv = (go, "build", "-tags", "commands", "-trimpath", "-ldflags", program.link_flags, "-o", str(partial), program.package)
    try:
        done = subprocess.run(
            argv, cwd=_GO / program.module, env=_go_environ(os.environ), capture_output=True, text=True, timeout=_BUILD_S_MAX, check=False
        )
        if done.returncode:
            raise Permanent(f"{program.name} {program.version} cannot be built: {' '.join(argv)}:\n{done.stderr[-2_000:]}")
        partial.replace(program.path)
    except subprocess.TimeoutExpired as error:
        raise Permanent(f"{program.name} is not built after {_BUILD_S_MAX} s") from error
    finally:
        partial.unlink(missing_ok=True)
    _say(f"built {program.name} in {time.monotonic() - started_s:.0f} s")


def _go_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Static programs (they run in images without a C library, too); a checkout without .git is no fault; go.mod is never rewritten."""
    return {**environ, "CGO_ENABLED": "0", "GOFLAGS": f"{environ.get('GOFLAGS', '')} -buildvcs=false -mod=readonly".strip()}


def _find_go() -> str:
    go = shutil.which("go") or shutil.which("go", path=_GO_ELSEWHERE)
    how = (
        "install Go from https://go.dev/dl, or set KUBEBUILDER_ASSETS to a folder with "
        f"Kubernetes {KUBERNETES_VERSION.rsplit('.', 1)[0]}'s programs"
    )
    if go is None:
        raise Permanent(f"Go is missing, which builds the programs of Kubernetes: {how}")
    told = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=_ASK_S_MAX, check=False).stdout
    version = re.match(r"go(\d+)\.(\d+)", told)
    if version is None or (int(version[1]), int(version[2])) < _GO_MIN:
        raise Permanent(f"{go} is {told.strip() or 'of an unknown version'}, must be go{_GO_MIN[0]}.{_GO_MIN[1]} or newer: {how}")
    return go


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One build at a time: two would only take each other's cores."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"


def _say(text: str) -> None:
    sys.stderr.write(f"programs: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", action="store_true", help="those of a node, too")
    try:
        locate((*CONTROL_PLANE, *CHAOS, *NODE) if parser.parse_args().node else (*CONTROL_PLANE, *CHAOS))
    except Permanent as error:
        sys.exit(str(error))
