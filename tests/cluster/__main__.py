"""`make test-cluster`: a real node in namespaces of its own, and on it the smoke test or the whole scenario.

Everything that needs the network outside comes first: packages, programs, images. Inside there is only what was brought along.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from cluster import binaries, isolation, packages
from cluster.steps import say, step
from tandem.domain.errors import TandemError


def main(arguments: list[str]) -> int:
    """The exit code: 0, all went as expected and nothing is left behind."""
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("what", choices=("smoke", "scenario"), nargs="?", default="scenario")
    options = parser.parse_args(arguments)
    began_s = time.monotonic()
    try:
        with step("packages, Kubernetes' programs"):
            packages.require()
            binaries.locate((*binaries.CONTROL_PLANE, *binaries.NODE))
        code, left = _enclosed(options.what, began_s)
    except TandemError as error:
        say(f"FAILED: {error}")
        return 1
    for thing in left:
        say(f"LEFT BEHIND: {thing}")
    say(f"{'passed' if code == 0 and not left else 'FAILED'} after {(time.monotonic() - began_s) / 60:.1f} min")
    return code or (1 if left else 0)


def _enclosed(what: str, began_s: float) -> tuple[int, list[str]]:
    """Run it inside; its exit code and what it has left on the machine."""
    with isolation.new_home() as home:
        os.environ["TANDEM_CLUSTER_BEGAN_S"] = str(began_s)
        code = isolation.enclose(home, (sys.executable, "-m", "cluster.inside", what, str(home)))
    return code, isolation.leftovers(Path(home))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
