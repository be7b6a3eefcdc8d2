"""docs/reliability.md says what the checker checks and what the chaos runs break."""

import re
from pathlib import Path

from chaos.ways import ways
from tandem.checker.run import CHECKS

PAGE = (Path(__file__).parents[3] / "docs" / "reliability.md").read_text()


def test_the_page_names_every_invariant_with_its_claim() -> None:
    told = dict(re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert told == {check.__name__: " ".join((check.__doc__ or "").split()) for _, checks in CHECKS for check in checks}


def test_the_page_has_a_row_for_every_fault_that_is_injected() -> None:
    numbers = {int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert numbers == set(range(1, 27))
    assert {way.kind.number for way in ways().values()} <= numbers
