"""Runs inside the namespaces: starts the node, runs what was asked for, and on a failure says where to look."""

import sys
from pathlib import Path

from cluster import binaries, node, smoke
from cluster.steps import say, step
from tandem.domain.errors import TandemError
from tandem.local.processes import Children


def main(what: str, home: Path) -> int:
    """The exit code."""
    children = Children(home)
    try:
        programs = binaries.locate((*binaries.CONTROL_PLANE, *binaries.NODE))
        with step("control plane and node"):
            running = node.start(home, programs, children)
        smoke.run(running)
    except TandemError as error:
        say(f"FAILED: {error}")
        return 1
    finally:
        with step("stop"):
            children.stop_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
