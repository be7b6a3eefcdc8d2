"""The reliability page's results are those of the reports, and every kind of fault and every invariant stands there."""

from pathlib import Path

import orjson
import pytest

from chaos.schedule import FaultKind
from chaos.table import BEGIN, END, main, placed, results

ROOT = Path(__file__).parents[3]
KINDS = (FaultKind(name="kill_kafka", number=8, targets=("kafka",)), FaultKind(name="halt_leg", number=17, targets=("exchange",)))
FAULT = {"kind": "kill_kafka", "number": 8}


def report(first: int, *seeds: tuple[list[dict[str, object]], int, int]) -> dict[str, object]:
    """Of a run: faults, cases and violated cases of one invariant, by seed; the clean run has a case, too."""
    rows = {"clean": ([], 1, 0)} | {f"seed-{first + n}": seed for n, seed in enumerate(seeds)}
    told = {
        name: {
            "faults": faults,
            "orders": 1_000,
            "seconds": {"play": 10.0, "rest": 2.0},
            "market_stood_still_s": 3.6,
            "invariants": {"ids_unique": {"checked": checked, "violated": violated}},
        }
        for name, (faults, checked, violated) in rows.items()
    }
    return {"commit": "abc", "data": {"file": "closes.parquet", "bar": "1d", "bars": 60}, "seeds": told}


REPORTS = [report(1, ([FAULT], 5, 0), ([FAULT, FAULT], 7, 1)), report(3, ([], 0, 0))]


def test_cases_and_faults_of_all_reports_are_summed_up() -> None:
    """Both clean runs count among the cases; a kind that no seed drew is there with a zero."""
    told = results(REPORTS, KINDS).splitlines()
    assert "| ids_unique | 14 | 1 | 4 |" in told
    assert told[-2:] == ["| 8 | kill_kafka | 3 |", "| 17 | halt_leg | 0 |"]
    summary = " ".join(told[:3])
    assert "3 seeds (1 to 3) over 60 bars of closes.parquet (1d), commit abc: 3 faults, 3,000 orders." in summary
    assert "A seed takes 12 s in the middle, 12 s at most; the market stood still for 4 s at most." in summary
    assert summary.endswith("Seeds that broke an invariant: **seed-2**.")


def test_results_are_written_between_the_pages_marks(tmp_path: Path) -> None:
    """Twice is as once, and the rest of the page stays."""
    (tmp_path / "report.json").write_bytes(orjson.dumps(REPORTS[0]))
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nAfter\n")
    for _ in range(2):
        assert main(["--page", str(page), str(tmp_path / "report.json")]) == 0
    text = page.read_text()
    assert text.startswith(f"# Before\n{BEGIN}\n\n2 seeds (1 to 2)")
    assert text.endswith(f"|\n\n{END}\nAfter\n")
    assert text.count("| ids_unique | 13 | 1 | 3 |") == 1
    assert "old" not in text


def test_the_reliability_page_has_a_place_for_them() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    assert "results" in placed(page, "results")
    with pytest.raises(ValueError, match="lacks"):
        placed("# A page", "results")
