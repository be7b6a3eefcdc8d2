"""The Debian packages that a node and the building of images need, and what else tests run. Called by `make test-cluster` first."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tandem.domain.errors import Permanent

# The program (or file) that shows that a package is there.
_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "iproute2": "ip",
    "util-linux": "setpriv",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
}
_INSTALL_S_MAX = 900


def require() -> None:
    """Install what is missing. Raises Permanent, saying what to do: we are not root, this is not Debian, or apt-get fails."""
    if os.geteuid() != 0:
        raise Permanent("a node needs root: mounts, namespaces and firewall rules of its own; run `sudo make test-cluster`")
    install(_PACKAGES)


def install(wanted: Mapping[str, str]) -> None:
    """Install those packages whose program or file is not there. Raises Permanent: this is not Debian, or apt-get fails."""
    if not (missing := missing_packages(wanted)):
        return
    if shutil.which("apt-get") is None:
        raise Permanent(
            f"{', '.join(missing)} are missing, and there is no apt-get to install them: install the same from your distribution"
        )
    print(f"installing {' '.join(missing)} by apt-get", flush=True)
    for arguments in (("update", "--quiet"), ("install", "--quiet", "--yes", "--no-install-recommends", *missing)):
        _apt_get(*arguments)
    if missing := missing_packages(wanted):
        raise Permanent(f"{', '.join(missing)} are still missing after their installation")


def missing_packages(wanted: Mapping[str, str]) -> list[str]:
    """The names of the packages that are not installed."""
    return [name for name, proof in wanted.items() if not (Path(proof).exists() if proof.startswith("/") else shutil.which(proof))]


def _apt_get(*arguments: str) -> None:
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(("apt-get", *arguments), env=environ, capture_output=True, text=True, timeout=_INSTALL_S_MAX, check=False)
    if done.returncode:
        raise Permanent(f"apt-get {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-2_000:]}")
