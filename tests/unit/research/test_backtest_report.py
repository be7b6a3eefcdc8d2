"""The files of a backtest: complete, the same for the same inputs, and a tear sheet whose every number is the report's."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from backtest_cases import made_market, request
from recorded_cases import CONFIG
from tandem.domain.errors import BadRecord, BadSetting
from tandem.research import backtest_trials
from tandem.research.backtest_job import execute
from tandem.research.tear_sheet import shown, tear_sheet

VOID = {"meta", "br", "link", "img", "input", "hr"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A market's file, and the folder of a report on it."""
    folder = tmp_path_factory.mktemp("backtest")
    data = made_market(folder).path
    execute(request(data, folder / "out"), config_dir=CONFIG, commit="c0ffee")
    return data, folder / "out"


class Sheet(HTMLParser):
    """Collects what has a data-key, and notices tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: dict[str, tuple[object, str]] = {}
        self.outside: list[str] = []
        self._open: list[str] = []
        self._key: tuple[str, object] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self._open.append(tag)
        self.outside += [given[name] or "" for name in ("src", "href") if name in given]
        if "data-key" in given:
            self._key = (given["data-key"] or "", json.loads(given["data-value"] or "null"))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._key = None

    def handle_data(self, data: str) -> None:
        if self._key is not None:
            self.cells[self._key[0]] = (self._key[1], data)

    def close(self) -> None:
        super().close()
        assert self._open == []


def looked_up(report: dict, key: str) -> object:
    value: object = report
    for name in key.split("."):
        value = value[int(name)] if isinstance(value, list) else value.get(name) if isinstance(value, dict) else None
    return value


def test_every_number_of_the_tear_sheet_is_the_reports(written: tuple[Path, Path]) -> None:
    _, out = written
    report = json.loads((out / "report.json").read_text())
    sheet = Sheet()
    sheet.feed((out / "tear_sheet.html").read_text())
    sheet.close()

    assert len(sheet.cells) > 100
    for key, (value, text) in sheet.cells.items():
        assert value == looked_up(report, key), key
        kinds = ("text",) if isinstance(value, str) or value is None else ("number", "percent", "usd", "text")
        assert text in {shown(value, kind) for kind in kinds} or text == f"{value:,d}", key
    keys = {"statistics.sharpe", "statistics.probabilistic_sharpe", "statistics.deflated_sharpe", "statistics.trials", "costs.borrow_usd"}
    assert keys | {"statistics.intervals.sharpe.0", "windows.0.return", "distance_study.rows.0.monthly_percent"} <= sheet.cells.keys()


def test_the_tear_sheet_needs_no_network_and_escapes_what_it_is_given(written: tuple[Path, Path]) -> None:
    _, out = written
    report = json.loads((out / "report.json").read_text())
    evil = "<script>alert('x')</script>"
    report["warnings"].append(evil)
    report["settings"]["sector"] = report["windows"][0]["note"] = evil
    report["pairs"][0]["pair"] = f"{evil}\"'"
    text = tear_sheet(report, pq.read_table(out / "equity.parquet"))
    sheet = Sheet()
    sheet.feed(text)
    sheet.close()

    assert evil not in text
    assert sheet.outside == [], "nothing is loaded from anywhere"
    assert 'name="viewport"' in text


def test_the_same_inputs_give_the_same_files_but_for_the_wall_time(written: tuple[Path, Path], tmp_path: Path) -> None:
    data, out = written
    execute(request(data, tmp_path), config_dir=CONFIG, commit="c0ffee")
    first, second = (json.loads((folder / "report.json").read_text()) for folder in (out, tmp_path))

    assert {**first, "wall_s": 0} == {**second, "wall_s": 0}
    for name in ("trades.parquet", "fills.parquet", "equity.parquet", "tear_sheet.html"):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_tables_add_up_to_the_report(written: tuple[Path, Path]) -> None:
    _, out = written
    report = json.loads((out / "report.json").read_text())
    trades, fills, equity = (pq.read_table(out / f"{name}.parquet").to_pandas() for name in ("trades", "fills", "equity"))

    assert trades["pnl_usd"].sum() == pytest.approx(report["costs"]["net_pnl_usd"], abs=0.01)
    assert fills["spread_usd"].sum() == pytest.approx(report["costs"]["spread_usd"], abs=0.01)
    parts = trades["market_pnl_usd"] - trades["spread_usd"] - trades["charges_usd"]
    assert parts.to_numpy() == pytest.approx(trades["pnl_usd"].to_numpy(), abs=1e-6)
    assert equity["equity_usd"].iloc[-1] - report["settings"]["capital_usd"] == pytest.approx(report["costs"]["net_pnl_usd"], abs=0.01)
    assert equity["drawdown"].max() == pytest.approx(report["statistics"]["drawdown"]["depth"])
    assert len(trades) == report["trading"]["trades"]


def test_trials_deflate_and_the_report_says_how_many(written: tuple[Path, Path], tmp_path: Path) -> None:
    data, out = written
    few = json.loads((out / "report.json").read_text())["statistics"]
    many = execute(request(data, tmp_path, trials=400), config_dir=CONFIG, commit="")["statistics"]

    assert (few["trials"], many["trials"]) == (4, 400)
    assert many["deflated_sharpe"] < few["deflated_sharpe"] < few["probabilistic_sharpe"] == many["probabilistic_sharpe"]


def test_trials_are_recorded_once_each_and_their_variance_is_used(written: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = written
    file = tmp_path / "trials.jsonl"
    runs = [request(data, tmp_path / "out", trials=1, trials_file=file, pairs=pairs) for pairs in (1, 2, 3, 3)]
    found = [execute(run, config_dir=CONFIG, commit="")["statistics"] for run in runs]

    assert [row["trials"] for row in found] == [1, 2, 3, 3]
    assert found[2] == found[3]
    file.write_text("not json\n")
    with pytest.raises(BadRecord, match="trials_malformed"):
        backtest_trials.recorded(file, "k", 0.1, at_least=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "magic"}, "declared, fdr, seed, distance"),
        ({"sector": "no such"}, "neither the file nor"),
        ({"sector": "?"}, "--sector"),
        ({"exclude": ("ZZZ",)}, "--exclude ZZZ"),
        ({"from_day": "yesterday"}, "YYYY-MM-DD"),
        ({"train_bars": 9_999}, "bars to trade"),
        ({"quotes": Path("nowhere.parquet")}, "there is no such file"),
    ],
)
def test_a_request_that_cannot_be_met_names_what_is_wrong(
    written: tuple[Path, Path], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BadSetting, match=message):
        execute(request(written[0], tmp_path, **changes), config_dir=CONFIG, commit="")


def test_too_few_days_for_a_statistic_are_said_and_everything_else_is_written(written: tuple[Path, Path], tmp_path: Path) -> None:
    """Two days: no Sharpe ratio, no interval, but the money, and a tear sheet."""
    changes = {"from_day": "2016-01-04", "to_day": "2016-01-06"}
    report = execute(request(written[0], tmp_path, **changes), config_dir=CONFIG, commit="")
    sheet = Sheet()
    sheet.feed((tmp_path / "tear_sheet.html").read_text())
    sheet.close()

    assert (report["statistics"]["days"], report["statistics"]["sharpe"], report["statistics"]["intervals"]) == (2, None, {})
    assert any("Too few days" in warning for warning in report["warnings"])
    assert sheet.cells["statistics.sharpe"] == (None, "n/a")


def test_a_market_without_a_pair_is_reported_like_any_other(written: tuple[Path, Path], tmp_path: Path) -> None:
    everything = ("AAA", "BBB", "DDD", "EEE")
    report = execute(request(written[0], tmp_path, exclude=everything), config_dir=CONFIG, commit="")

    assert report["statistics"]["sharpe"] is None
    assert report["pairs"] == []
    assert any("had no pair" in warning for warning in report["warnings"])
    assert "No pair was traded." in (tmp_path / "tear_sheet.html").read_text()
