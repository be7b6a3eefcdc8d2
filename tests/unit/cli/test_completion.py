"""Shell completion as the shells ask for it: sub-commands and options, although each is imported only when it is called."""

import os
import subprocess
import sys

import pytest


def completed(line: str) -> set[str]:
    """What bash would offer after this line."""
    words = line.split(" ")
    env = os.environ | {"_TANDEM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    program = "import sys; sys.argv[0] = 'tandem'; from tandem.cli.main import app; app(prog_name='tandem')"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tandem ba", {"backtest", "backup"}),
        ("tandem symbols pr", {"preset"}),
        ("tandem orders --p", {"--pair"}),
        ("tandem models histor", {"history"}),
    ],
)
def test_a_shell_is_offered_what_there_is(line: str, offered: set[str]) -> None:
    assert completed(line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    """`_TANDEM_COMPLETE=source_SHELL tandem` prints what the shell reads at its start."""
    env = os.environ | {"_TANDEM_COMPLETE": f"source_{shell}"}
    program = "import sys; sys.argv[0] = 'tandem'; from tandem.cli.main import app; app(prog_name='tandem')"
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert "_TANDEM_COMPLETE" in done.stdout
