"""`tandem train` from a data file to a bundle on disk."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from model_cases import CONFIG, market
from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import load_market_data
from tandem.cli import train as module
from tandem.cli.main import app
from tandem.domain.units import ns_of
from tandem.trainer.sectors import read_bundle

FROM_NS = ns_of(pd.Timestamp("2010-01-04", tz="UTC").to_pydatetime())
BARS = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily closes of three symbols over 700 sessions, and a config that trains in a second."""
    folder = tmp_path_factory.mktemp("train")
    days = pd.to_datetime(session_grid("1d", FROM_NS, FROM_NS + 1100 * 86_400_000_000_000).open_ns[:BARS]).date
    panel = market(BARS)
    frame = pd.DataFrame(np.round(panel.close, 2), columns=list(panel.symbols))
    frame.insert(0, "date", days)
    frame.to_parquet(folder / "closes.parquet")
    config = folder / "config"
    (config / "pairs").mkdir(parents=True)
    (config / "sectors.yaml").write_text("sectors:\n  consumer: [AAA, BBB, CCC]\nactive: [consumer]\n")
    training = yaml.safe_load((CONFIG / "training.yaml").read_text())
    training["network"] |= {"hidden": 8, "epochs_max": 1, "members": 1}
    (config / "training.yaml").write_text(yaml.safe_dump(training))
    return folder


def train(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and everything printed."""
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder / "config"))
    monkeypatch.setenv("TANDEM_HOME", os.environ.get("TANDEM_HOME", str(folder / "home")))  # nothing of ours runs there
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = CliRunner().invoke(app, ["train", "consumer", "--data", str(folder / "closes.parquet"), *arguments])
    return result.exit_code, result.output


def test_a_bundle_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named pairs are trained on the span asked for; the bundle verifies and names the file's digest."""
    code, output = train(folder, "--pair", "AAA-BBB", "--to", "2012-08-01", "--output", str(folder / "out"), monkeypatch=monkeypatch)
    assert code == 0, output
    bundle = read_bundle(folder / "out")
    assert bundle.digest in output
    assert bundle.pairs[0].pair == "AAA-BBB"
    assert bundle.data_digest == load_market_data(folder / "closes.parquet").digest
    assert pd.Timestamp(bundle.trained_to_ns).date() == pd.Timestamp("2012-07-31").date()


@contextmanager
def platform(home: Path, **endpoints: str) -> Iterator[Path]:
    """A folder as its supervisor holds it, with what it says of its servers."""
    run = home / "run"
    run.mkdir(parents=True)
    (run / "supervisor.json").write_text(json.dumps({"state": "ready", "endpoints": endpoints}))
    with (run / "lock").open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("1")
        lock.flush()
        yield home


@pytest.mark.parametrize("named", [True, False], ids=["--home", "TANDEM_HOME"])
def test_the_running_platforms_registry_and_database_are_found(tmp_path: Path, named: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As all commands find it: by the folder that is named, else by the one of the settings."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("TANDEM_POSTGRES_URL", raising=False)
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / ("another" if named else "home")))
    with platform(tmp_path / "home", mlflow="http://127.0.0.1:5001", postgres="postgresql://127.0.0.1/t") as home:
        found = module._settings(home if named else None, finds=not named)
        assert (found.mlflow_tracking_uri, found.postgres_url.get_secret_value()) == ("http://127.0.0.1:5001", "postgresql://127.0.0.1/t")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://set")
        assert module._settings(home, finds=True).mlflow_tracking_uri == "http://set"


def test_what_goes_to_a_folder_goes_to_no_registry_that_was_not_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_HOME", str(tmp_path / "home"))
    with platform(tmp_path / "home", mlflow="http://127.0.0.1:9", postgres="postgresql://127.0.0.1:9/t"):
        code, output = train(folder, "--pair", "AAA-BBB", "--output", str(tmp_path / "out"), monkeypatch=monkeypatch)
    assert (code, "version" in output) == (0, False), output


@pytest.mark.parametrize(("endpoints", "message"), [(None, "no platform runs under"), ({}, "is starting")])
def test_a_platform_that_was_named_and_is_not_there_is_told(
    folder: Path, tmp_path: Path, endpoints: dict[str, str] | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with nullcontext() if endpoints is None else platform(home, **endpoints):
        code, output = train(folder, "--home", str(home), monkeypatch=monkeypatch)
    assert (code, message in output) == (1, True), output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "out", "--to", "2012"], "expected YYYY-MM-DD"),
        (["--output", "out", "--pair", "AAA"], "expected two symbols"),
        (["--output", "out", "--bar", "2h"], "bar '2h'"),
        ([], "neither MLFLOW_TRACKING_URI nor --output"),
        (["--output", "out", "--sector", "consumer"], "name one sector"),
        (["--output", "out", "--trial", "3"], "--trial 3 of --trials 1"),
        (["--output", "out", "--replay-id", "r1"], "go with --data postgres"),
        (["--output", "out", "--params", "nothing.yaml"], "nothing.yaml"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, the fault named, no traceback."""
    code, output = train(folder, *arguments, monkeypatch=monkeypatch)
    assert code == 1
    assert message in output
    assert "Traceback" not in output


def test_the_sector_may_be_an_option_and_the_answer_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hyperparameters over those of the configuration, and the number of trials on record."""
    overlay = folder / "best.yaml"
    overlay.write_text("network: {hidden: 4}\n")
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder / "config"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--sector", "consumer", "--data", str(folder / "closes.parquet"), "--pair", "AAA-BBB", "--json"]
    more = ["--params", str(overlay), "--trial", "7", "--trials", "20", "--output", str(folder / "tuned")]
    result = CliRunner().invoke(app, ["train", *arguments, *more])
    assert result.exit_code == 0, result.output
    answer, bundle = json.loads(result.stdout), read_bundle(folder / "tuned")
    assert (answer["digest"], answer["pairs"][0], answer["registered"]) == (bundle.digest, "AAA-BBB", None)
    assert (bundle.trial, bundle.trials, bundle.settings["network"]["hidden"]) == (7, 20, 4)
    assert (folder / "tuned" / "card" / "model_card.md").read_text().startswith("# pairs_trading_gru_garch_consumer_v1")


def test_the_last_bar_of_the_data_is_trained_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's last close is a whole bar."""
    code, output = train(folder, "--pair", "AAA-BBB", "--output", str(folder / "all"), monkeypatch=monkeypatch)
    assert code == 0, output
    last = pd.read_parquet(folder / "closes.parquet")["date"].iloc[-1]
    assert pd.Timestamp(read_bundle(folder / "all").trained_to_ns).date() == last


def spoilt(closes: pd.DataFrame, defect: str) -> pd.DataFrame:
    """The file with one defect in symbol CCC."""
    prices = closes.copy()
    row = BARS // 2
    match defect:
        case "not_finite":
            prices.loc[row, "CCC"] = np.inf
        case "not_positive":
            prices.loc[row, "CCC"] = 0.0
        case "split_suspected":
            prices.loc[row:, "CCC"] = np.round(prices.loc[row:, "CCC"] / 2, 2)
        case "stale":
            prices.loc[row : row + 40, "CCC"] = prices.loc[row, "CCC"]
        case "constant_series":
            prices["CCC"] = 20.0
        case "too_few_bars":
            prices.loc[: BARS - 100, "CCC"] = np.nan
    return prices


@pytest.mark.parametrize("defect", ["not_finite", "not_positive", "split_suspected", "stale", "constant_series", "too_few_bars"])
def test_a_symbol_with_bad_prices_is_recorded_and_the_sector_goes_on(
    folder: Path, tmp_path: Path, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its declared pair has the same reason; the other pair is trained."""
    spoilt(pd.read_parquet(folder / "closes.parquet"), defect).to_parquet(tmp_path / "spoilt.parquet")
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder / "config"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--data", str(tmp_path / "spoilt.parquet"), "--pair", "AAA-CCC", "--pair", "AAA-BBB", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["train", "consumer", *arguments])
    assert result.exit_code == 0, result.output
    bundle = read_bundle(tmp_path / "out")
    assert [(r.symbol, r.reason) for r in bundle.rejected_symbols] == [("CCC", defect)]
    assert [(r.pair, r.reason) for r in bundle.rejections] == [("AAA-CCC", defect)]
    assert [p.pair for p in bundle.pairs] == ["AAA-BBB"]
    assert f"rejected CCC: {defect}" in result.output


@pytest.mark.parametrize("defect", ["duplicate_time", "unsorted_time"])
def test_a_symbol_with_times_out_of_order_is_recorded_too(
    folder: Path, tmp_path: Path, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a long file, where each symbol has rows of its own."""
    long = pd.read_parquet(folder / "closes.parquet").melt(id_vars="date", var_name="symbol", value_name="close")
    bad = long.index[long["symbol"] == "CCC"]
    if defect == "duplicate_time":
        long.loc[bad[10], "date"] = long.loc[bad[11], "date"]
    else:
        long.loc[bad[10:12], "date"] = long.loc[bad[10:12], "date"].to_numpy()[::-1]
    long.to_parquet(tmp_path / "long.parquet")
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder / "config"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["--data", str(tmp_path / "long.parquet"), "--pair", "AAA-BBB", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["train", "consumer", *arguments])
    assert result.exit_code == 0, result.output
    assert [(r.symbol, r.reason) for r in read_bundle(tmp_path / "out").rejected_symbols] == [("CCC", defect)]
