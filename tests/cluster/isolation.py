"""A place where a node can be run without touching the machine: namespaces and cgroups of its own, gone with its first process.

`enclose` starts a command in new namespaces of network, mounts, processes, IPC and names. What it starts there, shims and containers
included, dies with it by the kernel's doing, and the mounts, bridges and firewall rules with them, however it ends. What is left, files
and empty cgroups, `enclose` removes; of a run that was killed, the next one does. As a module this file is the first process inside.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from tandem.domain.errors import InvariantBroken, Permanent

ADDRESS = "192.168.88.1"  # of the node, on a network that nobody else can reach
NODE = "node-1"
DNS_DOMAIN = "cluster.local"
NAMESPACE = "tandem"  # whose services the scenario finds by their short names
_HOMES = Path("/var/tmp")
_FREE_BYTES_MIN = 10_000_000_000  # 3 GB of archives, as much unpacked, and what Kafka and Postgres reserve
_PREFIX = "tandem-cluster-"
_OVERLAID = ("/tmp", "/var/lib", "/var/log")
_EMPTY = "/run"
_RESOLVER = Path("/etc/resolv.conf")
# Pods on one bridge pass the firewall: else services would answer under pods' own addresses, and policies would not be in force.
_BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_CGROUPS_GONE_S = 10.0


@contextmanager
def new_home() -> Iterator[Path]:
    """A folder for everything a node writes; it and the cgroups of its name are removed in the end. Clears up after killed runs first."""
    for old in _HOMES.glob(f"{_PREFIX}*"):
        if not psutil.pid_exists(int(old.name.removeprefix(_PREFIX))):
            _remove(old)
    if (free_bytes := shutil.disk_usage(_HOMES).free) < _FREE_BYTES_MIN:
        raise Permanent(
            f"{free_bytes / 1e9:.1f} GB are free in {_HOMES}, must be {_FREE_BYTES_MIN / 1e9:.0f}: the node unpacks images there"
        )
    if not _BRIDGED.exists() and subprocess.run(("modprobe", "br_netfilter"), capture_output=True, check=False).returncode:
        raise Permanent("the kernel has no br_netfilter, without which services and policies do not work between pods of one node")
    home = _HOMES / f"{_PREFIX}{os.getpid()}"
    home.mkdir(mode=0o755)
    try:
        for folder in _cgroup_folders(home.name):
            _make_cgroup(folder)
        yield home
    finally:
        _remove(home)


def enclose(home: Path, argv: Sequence[str]) -> int:
    """Run a command inside until it ends; its exit code. Ctrl-C reaches it as well as us, so we leave the ending to it."""
    outside = ("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--propagation", "slave")
    inside = ("--fork", "--kill-child=KILL", "--mount-proc", sys.executable, "-m", "cluster.isolation", str(home), *argv)
    process = subprocess.Popen((*outside, *inside))
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # by way of what clears up
    try:
        return process.wait()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        process.kill()
        process.wait()


def cgroup_root(home: Path) -> str:
    """The cgroup under which all pods live, as the kubelet names it."""
    return f"/{home.name}"


def leftovers(home: Path) -> list[str]:
    """What a run has left on the machine: files, cgroups, mounts, processes. Empty, or something is wrong."""
    found = [str(path) for path in (home, *_cgroup_folders(home.name)) if path.exists()]
    found += [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/{home.name}" in line]
    found += [f"process {p.pid} {p.info['name']}" for p in psutil.process_iter(["name"]) if _belongs(p, home)]
    return found


def _belongs(process: psutil.Process, home: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.pid != os.getpid() and f"/{home.name}" in Path(f"/proc/{process.pid}/cgroup").read_text()
    return False


def _remove(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=False)
    deadline_s = time.monotonic() + _CGROUPS_GONE_S
    for folder in _cgroup_folders(home.name):
        while folder.exists():
            try:
                for path, _, _ in os.walk(folder, topdown=False):
                    os.rmdir(path)
            except OSError as error:  # the kernel empties a cgroup a moment after its last process
                if time.monotonic() > deadline_s:
                    raise InvariantBroken(f"cgroup {folder} is still in use: {error}") from error
                time.sleep(0.1)


def _cgroup_folders(name: str) -> list[Path]:
    """The folder of this name in each hierarchy: one on a machine with version 2, a dozen with version 1."""
    fields = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    points = {row[4] for row in fields if row[row.index("-") + 1] in ("cgroup", "cgroup2")}
    return [Path(point) / name for point in sorted(points)]


def _make_cgroup(folder: Path) -> None:
    folder.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty at first, and then nobody may enter
        if (folder / name).exists() and (folder.parent / name).exists():
            (folder / name).write_text((folder.parent / name).read_text())


def _settle(home: Path) -> None:
    """Make the namespaces that we are in a machine: its file systems, its name, its network."""
    _run("mount", "--make-rshared", "/")  # volumes that pods mount for each other
    resolver = home / "resolv.conf"
    search = " ".join(f"{zone}{DNS_DOMAIN}" for zone in (f"{NAMESPACE}.svc.", "svc.", ""))
    resolver.write_text(f"nameserver {ADDRESS}\nsearch {search}\noptions ndots:5\n")
    if _RESOLVER.exists():
        _run("mount", "--bind", str(resolver), str(_RESOLVER.resolve()))
    for target in _OVERLAID:
        upper, work = (home / "overlays" / target.strip("/").replace("/", "-") / part for part in ("upper", "work"))
        for folder in (upper, work):
            folder.mkdir(parents=True)
        shutil.copymode(target, upper)
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={target},upperdir={upper},workdir={work}", target)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", _EMPTY)
    Path("/proc/sys/kernel/hostname").write_text(NODE)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "node0", "type", "bridge")
    _run("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    _run("ip", "route", "add", "default", "dev", "node0")  # the kubelet asks which address leads out
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _BRIDGED.write_text("1")


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvariantBroken(f"{' '.join(argv)}: {done.stderr.strip()}")


def _first_process(argv: Sequence[str]) -> int:
    """Run the command; hand signals on to it, and bury all who have lost their parent, as the first process must."""
    child = subprocess.Popen(argv)

    def hand_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child, too
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    _settle(Path(sys.argv[1]))
    sys.exit(_first_process(sys.argv[2:]))
