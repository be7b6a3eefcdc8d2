"""`tandem train --data postgres`: stored bars train the same model as a file does, and a replay's bars only when it is named."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from model_cases import CONFIG, market
from tandem.adapters.bar_store import PostgresBarStore
from tandem.adapters.calendar import session_grid
from tandem.adapters.postgres import upgrade
from tandem.cli.main import app
from tandem.domain.ids import Symbol
from tandem.domain.market import Bar
from tandem.trainer.sectors import read_bundle

FROM_NS = 1_577_836_800 * 1_000_000_000  # 2020-01-01
BARS = 600


@pytest.fixture(scope="module")
def url(postgres_url: str) -> str:
    """A database with live bars of AAA and BBB, and with a replay's bars of other prices."""
    upgrade(postgres_url)
    store(postgres_url, seed=1, source="live", replay_id="")
    store(postgres_url, seed=2, source="recycled", replay_id="r1")
    return postgres_url


def store(url: str, *, seed: int, source: str, replay_id: str) -> None:
    """Daily bars of a cointegrated pair."""
    grid = session_grid("1d", FROM_NS, FROM_NS + 1_000 * 86_400_000_000_000)
    panel = market(BARS, seed=seed, symbols=("AAA", "BBB"))
    spans = list(zip(grid.open_ns[:BARS].tolist(), grid.close_ns[:BARS].tolist(), strict=True))
    rows = []
    for name, closes in zip(panel.symbols, panel.close.T.tolist(), strict=True):
        for (open_ns, close_ns), price in zip(spans, closes, strict=True):
            bar = Bar(
                symbol=Symbol(name), open_ns=open_ns, close_ns=close_ns, open=price, high=price, low=price, close=price, volume=9, trades=1
            )
            rows.append((bar, "1d", source, replay_id))
    PostgresBarStore(url).write(rows)


def train(url: str, folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and everything printed."""
    config = folder / "config"
    (config / "pairs").mkdir(parents=True, exist_ok=True)
    (config / "sectors.yaml").write_text("sectors:\n  consumer: [AAA, BBB]\nactive: [consumer]\n")
    training = yaml.safe_load((CONFIG / "training.yaml").read_text())
    training["network"] |= {"hidden": 4, "epochs_max": 1, "members": 1}
    (config / "training.yaml").write_text(yaml.safe_dump(training))
    monkeypatch.setenv("TANDEM_CONFIG_DIR", str(config))
    monkeypatch.setenv("TANDEM_POSTGRES_URL", url)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = CliRunner().invoke(
        app, ["train", "--sector", "consumer", "--data", "postgres", "--pair", "AAA-BBB", "--output", str(folder / "out"), *arguments]
    )
    return result.exit_code, result.output


def test_live_bars_are_trained_on_and_a_replays_only_by_its_name(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default takes no bar of a replay; named, the replay is all that is taken."""
    panel = {seed: np.log(market(BARS, seed=seed, symbols=("AAA", "BBB")).close) for seed in (1, 2)}
    for seed, arguments in ((1, []), (2, ["--source", "recycled", "--replay-id", "r1"])):
        code, output = train(url, tmp_path, *arguments, monkeypatch=monkeypatch)
        assert code == 0, output
        bundle = read_bundle(tmp_path / "out")
        (pair,) = bundle.pairs
        a, b = panel[seed].T
        assert pair.beta == pytest.approx(np.polyfit(b, a, 1)[0], rel=1e-9)
    code, output = train(url, tmp_path, "--source", "recycled", monkeypatch=monkeypatch)
    assert code == 1
    assert "by its id" in output
