"""Recorded markets for tests, all made here by seed: files of every kind that the loader takes, with round numbers to check by eye."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Monday 2024-07-01; 2024-07-03 is a half day (13:00), 2024-07-04 a holiday. New York is UTC-4.
OPEN_NS = int(datetime(2024, 7, 1, 13, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND_NS, MINUTE_NS, DAY_NS = 1_000_000_000, 60_000_000_000, 86_400_000_000_000
CONFIG = Path(__file__).parents[1] / "config"


def shared_data(name: str) -> Path:
    """A file of the shared market data; skips the test where it is not there."""
    folder = Path(os.environ.get("TANDEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / name).is_file():
        pytest.skip(f"{name} is not in {folder}: set TANDEM_SHARED_DATA to the folder of the shared market data")
    return folder / name


def write(path: Path, **columns: object) -> Path:
    """A Parquet file of these columns."""
    pq.write_table(pa.table(columns), path)
    return path


def times(ns: Sequence[int], zone: str | None = "UTC") -> pa.Array:
    """A column of times."""
    return pa.array([int(t) for t in ns], pa.timestamp("ns", tz=zone))


def trades(path: Path, rows: Sequence[tuple[str, int, float, int]]) -> Path:
    """A file of (symbol, ns, price, size)."""
    symbols, ns, prices, sizes = zip(*rows, strict=True)
    return write(path, symbol=list(symbols), ts=times(ns), price=list(prices), size=list(sizes))


def steady_trades(path: Path, *, symbols: Sequence[str] = ("KO", "PEP"), minutes: int = 3, every_s: float = 10.0, seed: int = 1) -> Path:
    """A random walk on the cent for each symbol, one trade every so often from the open of 2024-07-01 on."""
    random = np.random.default_rng(seed)
    rows = []
    for number, symbol in enumerate(symbols):
        count = int(minutes * 60 / every_s)
        prices = 50 * (number + 1) + np.cumsum(random.integers(-3, 4, count)) / 100
        rows += [
            (symbol, OPEN_NS + int((i + 0.5) * every_s * SECOND_NS) + number, round(float(price), 2), int(random.integers(1, 500)))
            for i, price in enumerate(prices)
        ]
    return trades(path, rows)


def closes(path: Path, days: Sequence[date], **prices: Sequence[float]) -> Path:
    """A long daily file: each symbol with a close on each day."""
    symbols = [symbol for symbol in prices for _ in days]
    return write(path, symbol=symbols, date=[*days] * len(prices), close=[p for column in prices.values() for p in column])


def quotes(path: Path, rows: Sequence[tuple[str, int, float, float]]) -> Path:
    """A file of quotes (symbol, ns, bid, ask), 100 shares on each side."""
    names, ns, bids, asks = zip(*rows, strict=True)
    sizes = [100] * len(rows)
    return write(path, symbol=list(names), ts=times(ns), bid=list(bids), bid_size=sizes, ask=list(asks), ask_size=sizes)


def events(path: Path, rows: Sequence[tuple[str, int, str, dict[str, object]]]) -> Path:
    """A file of events (symbol, ns, event, {column: value})."""
    numbers = {name: [more.get(name) for *_, more in rows] for name in ("price", "size", "trade_id", "low", "high")}
    columns = {name: pa.array(values, pa.float64()) for name, values in numbers.items()}
    reasons = pa.array([more.get("reason") for *_, more in rows], pa.string())
    return write(path, symbol=[r[0] for r in rows], ts=times([r[1] for r in rows]), event=[r[2] for r in rows], reason=reasons, **columns)
