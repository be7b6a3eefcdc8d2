"""The command's own part: texts to a request, a summary for people, JSON for programs."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backtest_cases import made_market
from recorded_cases import CONFIG
from tandem.cli.main import app

RUNNER = CliRunner()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(CONFIG))
    return made_market(tmp_path, bars=250).path


def test_a_backtest_writes_its_files_and_prints_what_it_earned(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = ["backtest", "--data", str(data), "--policy", "distance", "--train-bars", "120", "--trade-bars", "60", "--pairs", "3"]
    found = RUNNER.invoke(app, [*argv, "--cost-bps", "2", "--borrow-bps", "0", "--out", str(out)])

    assert found.exit_code == 0, found.output
    assert {path.name for path in out.iterdir()} == {"report.json", "trades.parquet", "fills.parquet", "equity.parquet", "tear_sheet.html"}
    assert "net profit" in found.stdout
    assert "note: The symbols are those that the file holds" in found.stderr
    report = json.loads((out / "report.json").read_text())
    assert (report["settings"]["cost_bps"], report["costs"]["borrow_usd"]) == (2.0, 0.0)
    assert report["costs"]["spread_bps_of_traded"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--policy", "magic"], "declared, fdr, seed, distance"),
        (["--policy", "distance", "--cost-bps", "many"], "expected a number"),
        (["--policy", "distance", "--capital", "0"], "must be above 0"),
        (["--policy", "distance", "--borrow-bps", "-1"], "must be from 0"),
        (["--policy", "distance", "--cost-bps", "1", "--quotes", "q.parquet"], "give one of them"),
    ],
)
def test_a_wrong_option_ends_the_command_with_one_line(data: Path, tmp_path: Path, more: list[str], message: str) -> None:
    found = RUNNER.invoke(app, ["backtest", "--data", str(data), "--out", str(tmp_path / "out"), *more])

    assert found.exit_code == 1
    assert message in found.stderr
    assert not (tmp_path / "out").exists()
