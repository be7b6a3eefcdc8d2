"""`tandem research volatility`: one command for three protocols; what it cannot use it names in one line and exits with 1."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tandem.cli.main import app
from tandem.research import paper
from tandem.research.paper_training import PaperTraining

CONFIG = Path(__file__).parents[3] / "config"
DAYS = [date(2010, 1, 4) + timedelta(days=t) for t in range(421)]
RETURNS = 0.01 * np.random.default_rng(2).standard_normal(420)
CLOSES = 100 * np.exp(np.concatenate(([0.0], np.cumsum(RETURNS))))


def _run(*words: str) -> tuple[int, str]:
    result = CliRunner(env={"TANDEM_CONFIG_DIR": str(CONFIG)}).invoke(app, ["research", "volatility", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def _file(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table({"date": DAYS, "close": CLOSES} | columns), path)
    return path


def test_the_paper_protocol_writes_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two indices in one file, tiny networks: JSON in the promised shape, one table per index and target, and the same numbers again."""
    plan = paper.PaperPlan(seeds=(1,), training=PaperTraining(hidden=2, epochs_max=1, batch=512), networks=("gru", "garch_gru"))
    monkeypatch.setattr(paper, "quick_plan", lambda definition: plan)
    other = 100 * np.exp(np.concatenate(([0.0], np.cumsum(RETURNS[::-1]))))
    data = tmp_path / "two.parquet"
    pq.write_table(pa.table({"index": ["A"] * 421 + ["B"] * 421, "date": DAYS * 2, "close": np.concatenate((CLOSES, other))}), data)
    words = ("--protocol", "paper", "--data", str(data), "--test-from", "2011-01-10", "--test-to", "2011-02-10", "--quick", "--seeds", "2")
    for name in ("first", "again"):
        code, output = _run(*words, "--out", str(tmp_path / f"{name}.json"))
        assert code == 0, output
    report, again = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "again"))
    assert {"protocol", "data_digest", "n_test", "models"} <= report.keys()
    assert report["n_test"] == 32  # both test days are included
    assert (report["test_from"], report["test_to"]) == ("2011-01-10", "2011-02-10")
    assert set(report["models"]) == {"persistence", "garch", "gjr", "garch_known", "gjr_known", "ols", "gru", "garch_gru"}
    assert set(report["series"]) == {f"{index} {target}" for index in "AB" for target in ("1D", "3D", "7D", "ahead")}
    assert {"qlike", "mse", "mae", "r2", "dm_t_vs_gjr_known", "mcs_p", "kupiec_p"} <= report["series"]["A 1D"]["garch_gru"].keys()
    assert report["models"]["gru"]["seeds"] == [1, 2]
    for one in (report, again):
        for table in (one["models"], *one["series"].values()):
            for row in table.values():
                row.pop("cpu_seconds")  # the one thing that differs between two runs
    assert report == again
    assert (tmp_path / "first.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "spx"), "--data, --test-from, --test-to missing"),
        (("--protocol", "spread", "--data", "{data}"), "--test-from, --test-to missing"),
        (("--protocol", "paper", "--test-from", "2014-1-2"), "--test-from '2014-1-2': expected YYYY-MM-DD"),
        (("--protocol", "paper", "--test-from", "2014-01-03", "--test-to", "2014-01-02"), "is after --test-to"),
        (("--protocol", "paper", "--definition", "mean"), "--definition mean: allowed are rms, std"),
        (("--protocol", "paper", "--data", "{data}.xlsx"), "allowed are .parquet and .csv"),
        (("--protocol", "paper", "--data", "nowhere.parquet"), "nowhere.parquet: No such file"),
        (("--protocol", "paper", "--data", "{data}", "--test-from", "2010-03-01"), "labels before the test"),
        (
            ("--protocol", "spx", "--data", "{data}", "--test-from", "2011-01-10", "--test-to", "2011-02-10"),
            "no column rv5, open_to_close; found date, close",
        ),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    data = _file(tmp_path / "data.parquet")
    filled = [word.replace("{data}", str(data)) for word in words]
    code, output = _run(*filled, "--out", str(tmp_path / "report.json"))
    assert code == 1
    assert message in output
    assert len(output.strip().splitlines()) == 1
    assert not (tmp_path / "report.json").exists()


def test_a_target_that_is_no_json_is_refused_before_the_work(tmp_path: Path) -> None:
    code, output = _run("--protocol", "paper", "--out", str(tmp_path / "report.md"))
    assert code == 1
    assert "must end in .json" in output


def test_a_zero_variance_is_named_with_its_day(tmp_path: Path) -> None:
    rv5 = np.full(421, 1e-4)
    rv5[7] = 0.0
    data = _file(tmp_path / "rv.parquet", rv5=rv5, open_to_close=np.concatenate(([0.0], RETURNS)))
    words = ("--protocol", "spx", "--data", str(data), "--test-from", "2011-01-10", "--test-to", "2011-02-10")
    code, output = _run(*words, "--out", str(tmp_path / "report.json"))
    assert code == 1
    assert "rv5 0.0 on 2010-01-11, must be finite and above 0" in output


def test_help_needs_no_torch() -> None:
    """It answers at once: neither torch nor matplotlib is imported."""
    code = "import sys; from tandem.research.cli import app; sys.exit(any(m in sys.modules for m in ('torch', 'matplotlib', 'arch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ | {"PYTHONWARNINGS": "ignore"}).returncode == 0
