"""`make test-cluster`: a real node in namespaces of its own, and on it the smoke test and the whole scenario.

Everything that needs the network outside comes first: packages, programs, images. Inside there is only what was brought along.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from cluster import binaries, images, isolation, packages
from cluster.steps import say, step
from tandem.domain.errors import TandemError

_LOGS = Path("var") / "test-cluster"  # of the last run that failed


def main(arguments: list[str]) -> int:
    """The exit code: 0, all went as expected and nothing is left behind."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("what", choices=("smoke", "scenario"), nargs="?", default="scenario", help="the node alone, or everything")
    parser.add_argument("--hold", action="store_true", help="keep the node in the end, failed or not, until Ctrl-C")
    options = parser.parse_args(arguments)
    began_s = time.monotonic()
    try:
        with step("packages and Kubernetes' programs"):
            packages.require()
            binaries.locate((*binaries.CONTROL_PLANE, *binaries.NODE))
        archives: list[Path] = []
        if options.what == "scenario":
            with step("images"):
                archives = images.build_all()
        code, left = _enclosed(archives, hold=options.hold)
    except TandemError as error:
        say(f"FAILED: {error}")
        return 1
    for thing in left:
        say(f"LEFT BEHIND: {thing}")
    say(f"{'FAILED' if code or left else 'passed'} after {(time.monotonic() - began_s) / 60:.1f} min")
    return code or (1 if left else 0)


def _enclosed(archives: list[Path], *, hold: bool) -> tuple[int, list[str]]:
    """Run it inside; its exit code and what it has left on the machine."""
    with isolation.new_home() as home:
        archives = [_linked(archive, home) for archive in archives]
        say(f"in {home}, its namespaces are those of the processes below this one")
        code = isolation.enclose(
            home, (sys.executable, "-m", "cluster.inside", str(home), *map(str, archives), *(["--hold"] if hold else []))
        )
        if code:
            _keep_logs(home)
    return code, isolation.leftovers(home)


def _linked(archive: Path, home: Path) -> Path:
    """The archive under a name of our own: another build may drop it from the cache meanwhile."""
    own = home / archive.name
    try:
        own.hardlink_to(archive)
    except OSError:  # another file system
        shutil.copyfile(archive, own)
    return own


def _keep_logs(home: Path) -> None:
    """Keep what the node's programs and the pods have logged; the rest of the home goes."""
    shutil.rmtree(_LOGS, ignore_errors=True)
    for name in ("logs", "kubelet/pod-logs"):
        if (home / name).exists():
            shutil.copytree(home / name, _LOGS / name, symlinks=True)
    say(f"logs of programs and pods: {_LOGS}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
