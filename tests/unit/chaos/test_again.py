"""A seed that broke something can be played once more by the command that the runner prints."""

import shlex

import pytest

from chaos.__main__ import again, options_of


def test_without_options_the_seed_says_everything() -> None:
    assert again(options_of([]), "seed-17") == "make chaos SEEDS=1 FIRST_SEED=17"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--replay-from", "2025-11-28T17:20:00Z", "--bars", "80", "--flat-by-close"],
        ["--sector", "technology", "--pair", "A-B", "--pair", "B-C", "--only", "error_405", "--cold"],
    ],
)
def test_the_command_names_the_data_and_the_options_that_decide_what_a_seed_means(arguments: list[str]) -> None:
    told = shlex.split(again(options_of([*arguments, "--data", "minutes.parquet", "--seeds", "9", "--keep"]), "seed-200"))

    assert told[:5] == ["make", "chaos", "SEEDS=1", "FIRST_SEED=200", "DATA=minutes.parquet"]
    found, given = vars(options_of(told[5].removeprefix("CHAOS_ARGS=").split())), vars(options_of(arguments))
    assert found == given
