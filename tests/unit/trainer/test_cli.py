"""`tandem train` from a data file to a bundle on disk."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from model_cases import CONFIG, market
from tandem.adapters.calendar import session_grid
from tandem.adapters.market_file import load_market_data
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
    training["network"] |= {"hidden": 8, "epochs_max": 1}
    (config / "training.yaml").write_text(yaml.safe_dump(training))
    return folder


def train(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and everything printed."""
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(folder / "config"))
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "out", "--to", "2012"], "expected YYYY-MM-DD"),
        (["--output", "out", "--pair", "AAA"], "expected two symbols"),
        (["--output", "out", "--bar", "2h"], "bar '2h'"),
        ([], "neither MLFLOW_TRACKING_URI nor --output"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(folder: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, the fault named, no traceback."""
    code, output = train(folder, *arguments, monkeypatch=monkeypatch)
    assert code == 1
    assert message in output
    assert "Traceback" not in output
