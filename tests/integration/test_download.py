"""`tandem download` through the unmodified alpaca-py from a recycler: whole, resumed, and never under a false name."""

from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg2
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from recorded_cases import DAY_NS, MINUTE_NS, OPEN_NS, SECOND_NS, steady_trades, times, trades, write
from recycler_server import Server, serving
from tandem.adapters.alpaca_history import MarketHistory
from tandem.adapters.market_file import load_market_data
from tandem.cli.main import app

SPAN = ("--from", "2024-07-01", "--to", "2024-07-03")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two days of KO and PEP; a trade each second for five minutes, then one at the next day's open."""
    first = load_market_data(steady_trades(tmp_path / "first.parquet", minutes=5, every_s=1.0))
    rows = [(first.symbols[t["symbol"]], int(t["event_ns"]), float(t["price"]), int(t["size"])) for t in first.ticks]
    rows += [(name, OPEN_NS + DAY_NS + SECOND_NS, 55.0, 7) for name in ("KO", "PEP")]
    return trades(tmp_path / "market.parquet", rows)


def download(server: Server, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The command's output; it must succeed."""
    monkeypatch.setenv("TANDEM_ALPACA_HISTORY_URL", server.http)
    monkeypatch.setenv("TANDEM_ALPACA_KEY_ID", "key")
    monkeypatch.setenv("TANDEM_ALPACA_SECRET_KEY", "secret")
    result = CliRunner().invoke(app, ["download", "KO", "PEP", *SPAN, *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def played(data: Path):
    """A recycler whose replay has ended: its history is the whole recording."""
    with serving(data) as server:
        server.button("start")
        server.until(state="ended")
        yield server


def test_trades_are_those_of_the_recording_and_can_be_replayed(played, data, monkeypatch, tmp_path):
    output = download(played, monkeypatch, "--timeframe", "trades", "--out", str(tmp_path / "out"))
    target = tmp_path / "out" / "trades-recycled.parquet"
    got, had = load_market_data(target), load_market_data(data)
    assert got.symbols == had.symbols
    assert np.array_equal(got.ticks, had.ticks)
    assert f"{len(had.ticks):,} rows" in output


def test_trades_keep_their_conditions(monkeypatch, tmp_path):
    """From the recording through REST and alpaca-py into a file that says the same of each trade."""
    codes, tapes = ["@", " FI", "", "@M"], ["C", "A", "", "C"]
    columns = {"symbol": ["KO", "PEP"] * 2, "ts": times([OPEN_NS + n * SECOND_NS for n in range(4)]), "price": [60.0] * 4, "size": [1] * 4}
    recorded = write(tmp_path / "market.parquet", **columns, conditions=codes, tape=tapes)
    with serving(recorded) as server:
        server.button("start")
        server.until(state="ended")
        download(server, monkeypatch, "--timeframe", "trades", "--out", str(tmp_path / "out"))
    target = tmp_path / "out" / "trades-recycled.parquet"
    kept = pq.read_table(target)
    assert (kept["conditions"].to_pylist(), kept["tape"].to_pylist()) == (codes, tapes)
    assert load_market_data(target).ticks["flags"].tolist() == [0, 6, 0, 135]


def test_a_download_that_was_broken_off_fetches_only_what_is_missing(played, monkeypatch, tmp_path):
    asked: list[str] = []
    get = MarketHistory.get

    def counting(self: MarketHistory, path: str, query: dict[str, object]) -> object:
        asked.append(path)
        return get(self, path, query)

    monkeypatch.setattr(MarketHistory, "get", counting)
    arguments = ("--timeframe", "trades", "--out", str(tmp_path))
    download(played, monkeypatch, *arguments)
    whole, once = pq.read_table(tmp_path / "trades-recycled.parquet"), len(asked)
    download(played, monkeypatch, *arguments)
    assert len(asked) == once
    parts = sorted((tmp_path / "parts").iterdir())
    assert len(parts) == 2
    parts[1].rename(parts[1].with_suffix(".unfinished"))  # as a killed process leaves it
    download(played, monkeypatch, *arguments)
    assert once < len(asked) < 2 * once
    assert pq.read_table(tmp_path / "trades-recycled.parquet") == whole


def test_bars_go_into_postgres_under_the_replays_name_once(played, monkeypatch, postgres_url):
    monkeypatch.setenv("TANDEM_POSTGRES_URL", postgres_url)
    first = download(played, monkeypatch, "--postgres")
    second = download(played, monkeypatch, "--postgres")
    replay_id = played.status()["replay_id"]
    assert f"12 bars added as recycled {replay_id}" in first
    assert "0 bars added" in second
    with closing(psycopg2.connect(postgres_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT source, replay_id, timeframe FROM bars")
        assert cursor.fetchall() == [("recycled", replay_id, "1min")]
        cursor.execute("SELECT close_ns, open, close, volume FROM bars WHERE symbol = 'KO' ORDER BY close_ns")
        rows = cursor.fetchall()
    assert [row[0] for row in rows] == [OPEN_NS + k * MINUTE_NS for k in range(1, 6)] + [OPEN_NS + DAY_NS + MINUTE_NS]
    assert rows[-1][1:] == (55.0, 55.0, 7)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["KO", *SPAN], "nowhere to put it"),
        (["KO", *SPAN, "--timeframe", "2min", "--out", "x"], "--timeframe 2min"),
        ([*SPAN, "--out", "x"], "no symbols"),
        (["KO", "--from", "2024-07-03", "--to", "2024-07-01", "--out", "x"], "--to must be after --from"),
        (["KO", *SPAN, "--adjustment", "all", "--postgres"], "--postgres takes raw bars"),
        (["KO", *SPAN, "--sector", "nowhere", "--out", "x"], "--sector nowhere"),
    ],
)
def test_what_cannot_be_downloaded_is_refused_before_anything_is_asked(arguments, reason, monkeypatch):
    monkeypatch.setenv("TANDEM_ALPACA_KEY_ID", "key")
    monkeypatch.setenv("TANDEM_ALPACA_SECRET_KEY", "secret")
    result = CliRunner().invoke(app, ["download", *arguments])
    assert result.exit_code == 1
    assert reason in result.output
