"""How errors end a command: in colour on a terminal only, with the next step where the message names none."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest

from tandem.cli.output import print_error
from tandem.domain.errors import BadSetting, InvariantBroken, Permanent, TandemError, Transient


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (Transient("Kafka is not there: 127.0.0.1:1"), "tandem doctor"),
        (BadSetting("TANDEM_BAR: found 2min"), "settings.md"),
        (BadSetting("settings: TANDEM_BAR is '2min'"), "settings.md"),
        (BadSetting("--at 'noon': expected ISO 8601"), ""),  # whole in itself
        (InvariantBroken("the ledger sums to 1"), "kill switch"),
        (Permanent("--data x: no such file"), ""),
        (Transient("no platform runs; start it with `tandem up`"), ""),
    ],
)
def test_an_error_tells_the_next_step(error: TandemError, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, or two; none of it on standard output, no colour in what is no terminal."""
    print_error(error)
    out, err = capsys.readouterr()
    first, *rest = err.splitlines()
    assert (out, first) == ("", f"error: {error}")
    assert len(rest) == bool(step)
    assert step in "".join(rest)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_shows_red(no_color: str, coloured: bool) -> None:
    """Unless NO_COLOR asks for none."""
    ours, theirs = pty.openpty()
    program = "from tandem.cli.output import print_error; from tandem.domain.errors import Permanent; print_error(Permanent('x'))"
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"NO_COLOR": no_color}, stderr=theirs, check=True)
    os.close(theirs)
    told = b""
    with open(ours, "rb", buffering=0) as terminal, suppress(OSError):  # at the end of a terminal a read fails
        while part := terminal.read(1000):
            told += part
    assert (b"error:" in told, b"\x1b[31m" in told) == (True, coloured)
