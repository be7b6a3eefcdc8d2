"""How many ticks a second the market-data path carries in one process: `python benchmarks/market_flow.py [ticks]`.

Two figures: payload bytes of the websocket to frames (the ingestor without socket and Kafka), and frames to bars. Synthetic trades of
twenty symbols in five sectors. Several sizes of payloads and frames, because a feed decides about them, not we.
"""

import gc
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgpack
import numpy as np

from tandem.adapters.alpaca_market import Payload, unpacked
from tandem.adapters.calendar import session_grid
from tandem.adapters.codec import encode_frame
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, Heartbeat, Source, TickArray, TickFrame
from tandem.domain.units import NS_PER_S, ns_of
from tandem.flow.bars import initial_bars, step
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.intake import Intake
from tandem.ingestor.main import GC_THRESHOLDS

OPEN_NS = ns_of(datetime(2025, 11, 24, 14, 30, tzinfo=UTC))
SESSION_NS = int(6.5 * 3600) * NS_PER_S
SYMBOLS = tuple(Symbol(f"S{number}") for number in range(20))
SECTORS = {SectorId(f"sector-{k}"): SYMBOLS[4 * k : 4 * k + 4] for k in range(5)}


def trades(count: int) -> TickArray:
    """Random trades of one session."""
    rng = np.random.default_rng(0)
    ticks = np.zeros(count, TICK_DTYPE)
    ticks["event_ns"] = OPEN_NS + np.sort(rng.integers(0, SESSION_NS, count))
    ticks["trade_id"], ticks["kind"], ticks["symbol"] = np.arange(count), KIND_TRADE, rng.integers(0, len(SYMBOLS), count)
    ticks["price"], ticks["size"] = np.round(rng.uniform(10, 20, count), 2), rng.integers(1, 500, count)
    return ticks


def payloads(ticks: TickArray, size: int) -> list[bytes]:
    """The ticks as Alpaca sends them, `size` to a websocket message."""
    rows = [
        {"T": "t", "S": SYMBOLS[s], "i": i, "x": "V", "p": p, "s": n, "c": ["@"], "z": "C", "t": msgpack.Timestamp.from_unix_nano(t)}
        for t, i, p, n, s, _, _ in ticks.tolist()
    ]
    return [msgpack.packb(rows[start : start + size]) for start in range(0, len(rows), size)]


def ingest(messages: list[bytes]) -> int:
    """Bytes to encoded frames; the ticks that came out."""
    intake, now_ns, count = Intake(Source.LIVE), time.time_ns(), 0
    intake.route(SECTORS)
    outputs = (out for raw in messages for out in _taken(intake, raw, now_ns))
    for out in (*outputs, *intake.drain()):
        assert isinstance(out, StampedFrame)
        encode_frame(out.frame)
        count += len(out.frame.ticks)
    return count


def _taken(intake: Intake, raw: bytes, now_ns: int) -> Iterator[object]:
    event = unpacked(raw, now_ns)
    assert isinstance(event, Payload)
    yield from intake.take(event.messages, now_ns)


def make_bars(ticks: TickArray, size: int) -> int:
    """Frames of `size` ticks to 1-minute bars with a heartbeat a minute; the trades in them."""
    state = initial_bars(session_grid("1min", OPEN_NS, OPEN_NS + SESSION_NS))
    due_ns, count = OPEN_NS + 60 * NS_PER_S, 0
    stream = {"sector": SectorId("all"), "source": Source.LIVE, "replay_id": ""}
    for start in range(0, len(ticks), size):
        part = ticks[start : start + size]
        while part["event_ns"][0] >= due_ns:
            state, closed = step(state, Heartbeat(**stream, watermark_ns=due_ns))
            count += sum(bar.trades for bar_set in closed for bar in bar_set.bars.values())
            due_ns += 60 * NS_PER_S
        state, _ = step(state, TickFrame(**stream, symbols=SYMBOLS, ticks=part))
    state, closed = step(state, Heartbeat(**stream, watermark_ns=OPEN_NS + SESSION_NS))
    return count + sum(bar.trades for bar_set in closed for bar in bar_set.bars.values())


def main() -> None:
    """Print both tables; fails if a tick is lost on the way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    gc.set_threshold(*GC_THRESHOLDS)
    ticks = trades(count)
    for size in (10, 100, 500, 1000):
        messages = payloads(ticks, size)
        _report(f"payloads of {size:>5} to frames", count, lambda messages=messages: ingest(messages))
    for size in (128, 512, 2048):
        _report(f"frames of   {size:>5} to bars", count, lambda size=size: make_bars(ticks, size))


def _report(name, count, work) -> None:
    started_s = time.thread_time()
    done = work()
    elapsed_s = time.thread_time() - started_s  # of CPU: other work on the machine changes it little
    assert done == count, f"{name}: {done} of {count} ticks came out"
    print(f"{name}: {count / elapsed_s:>12,.0f} ticks/s")


if __name__ == "__main__":
    main()
