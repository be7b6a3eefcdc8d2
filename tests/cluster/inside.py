"""Runs inside the namespaces: starts the node, then the smoke test and, when there are images, the scenario."""

import argparse
import signal
import sys
import traceback
from pathlib import Path

from cluster import binaries, node, smoke
from cluster.firewall import Firewall
from cluster.steps import say, step
from tandem.domain.errors import TandemError
from tandem.local.processes import Children


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m cluster.inside", description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("archives", type=Path, nargs="*")
    parser.add_argument("--hold", action="store_true")
    options = parser.parse_args(arguments)
    children = Children(options.home)
    try:
        return _live(options.home, options.archives, children)
    finally:
        if options.hold:
            say("the node is held until Ctrl-C")
            ends = {signal.SIGINT, signal.SIGTERM}
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)
            signal.sigwait(ends)
        with step("stop the node"):
            children.stop_all()


def _live(home: Path, archives: list[Path], children: Children) -> int:
    try:
        programs = binaries.locate((*binaries.CONTROL_PLANE, *binaries.NODE))
        with step("control plane and node"):
            running = node.start(home, programs, children)
        firewall = Firewall(running.api)
        firewall.start()
        try:
            _use(running, archives)
        finally:
            firewall.stop()
    except TandemError as error:
        say(f"FAILED: {error}")
        return 1
    except Exception:  # noqa: BLE001  said now: a node that is held would keep it to itself
        say(f"FAILED:\n{traceback.format_exc()}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 0


def _use(running: node.Node, archives: list[Path]) -> None:
    smoke.run(running)
    if archives:
        from cluster import scenario  # with torch and MLflow, which the smoke test need not wait for

        scenario.run(running, archives)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
