"""A stream that looks healthy and is not: trades that never came are found by history, symbols without trades are named."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tandem.adapters.alpaca_history import Slice
from tandem.domain.errors import Transient
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source
from tandem.ingestor import watch
from tandem.ingestor.condition import Condition
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Output
from tandem.ingestor.watch import audit, watch_symbols

SECTOR = SectorId("staples")


def trade(number: int, symbol: str = "KO") -> dict[str, object]:
    return {"T": "t", "S": symbol, "i": number, "p": 60.0, "s": 1, "t": time.time_ns()}


class History:
    """Knows these trades; the first question fails."""

    def __init__(self, *trades: dict[str, object]) -> None:
        self._trades, self.calls = trades, 0

    def trades(self, symbols: Sequence[str], from_ns: int, until_ns: int) -> Iterator[Slice]:
        self.calls += 1
        if self.calls == 1:
            raise Transient("not now")
        assert list(symbols) == ["KO"]
        yield Slice(until_ns=until_ns, messages=[t for t in self._trades if from_ns <= int(str(t["t"])) < until_ns])


def live_intake() -> Intake:
    intake = Intake(Source.LIVE, overlap_ns=10**9)
    intake.route({SECTOR: (Symbol("KO"), Symbol("PEP"))})
    return intake


def test_an_audit_publishes_what_the_stream_swallowed_once_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_SETTLED_NS", 0)
    intake, condition, out = live_intake(), Condition(), []
    condition.want(frozenset({"KO"}))
    condition.connect()
    condition.confirm(frozenset({"KO"}))

    def publish(outputs: tuple[Output, ...]) -> None:
        out.extend((*outputs, *intake.drain()))

    async def run() -> None:
        came, swallowed = trade(1), trade(2)
        history = History(came, swallowed)
        task = asyncio.create_task(audit(history, intake, publish, condition, 0.01))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        came["t"], swallowed["t"] = time.time_ns(), time.time_ns() + 1
        publish(intake.take([came], time.time_ns()))
        async with asyncio.timeout(10):
            while history.calls < 5:
                await asyncio.sleep(0.001)
        task.cancel()

    with capture_logs() as told:
        asyncio.run(run())
    ids = [i for each in out if isinstance(each, StampedFrame) for i in each.frame.ticks["trade_id"].tolist()]
    assert ids == [1, 2]
    assert [entry["trades"] for entry in told if entry["event"] == "stream_incomplete"] == [1]
    assert "audit_failed" in [entry["event"] for entry in told]


class Clocks:
    """The wall clock, which somebody sets, and the steady one."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.ahead_ns

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


def test_a_clock_that_is_set_ahead_and_back_leaves_no_time_without_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while it is ahead, and after it was set right, is compared as ever: the spans follow one another up to the present."""
    monkeypatch.setattr(watch, "_SETTLED_NS", 0)
    monkeypatch.setattr(watch, "time", clocks := Clocks())
    intake, condition = live_intake(), Condition()
    condition.want(frozenset({"KO"}))
    condition.connect()
    condition.confirm(frozenset({"KO"}))
    intake.take([trade(1)], time.time_ns())
    spans: list[tuple[int, int]] = []

    class Asked(History):
        def trades(self, symbols: Sequence[str], from_ns: int, until_ns: int) -> Iterator[Slice]:
            spans.append((from_ns, until_ns))
            yield Slice(until_ns=until_ns, messages=[])

    async def run() -> None:
        task = asyncio.create_task(audit(Asked(), intake, lambda _: None, condition, 0.005))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            for hours in (0, 3, 0):
                clocks.ahead_ns, before = hours * 3_600 * 10**9, len(spans)
                while len(spans) < before + 3:
                    await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(run())
    assert all(after[0] == before[1] for before, after in pairwise(spans))
    assert spans[-1][1] <= time.time_ns()


class Standing:
    """A wall clock that somebody moves."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def time_ns(self) -> int:
        return self.now_ns


def test_symbols_without_trades_are_named_while_the_exchange_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on between a trade and the next one only: a pause of the machine makes no symbol older than the others."""
    monkeypatch.setattr(watch, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(watch, "time", clock := Standing())
    intake = live_intake()

    async def run(*, is_open: bool) -> list[dict[str, object]]:
        with capture_logs() as told:
            task = asyncio.create_task(watch_symbols(intake, lambda _: is_open, stale_s=0.2))
            for number in range(30):
                clock.now_ns += 20_000_000
                intake.take([trade(number) | {"t": clock.now_ns}], clock.now_ns)
                for _ in range(3):
                    await asyncio.sleep(0)
            task.cancel()
        return [dict(entry) for entry in told if entry["event"] == "symbols_stale"]

    assert asyncio.run(run(is_open=False)) == []
    (stale,) = asyncio.run(run(is_open=True))
    assert (stale["sector"], stale["symbols"]) == (SECTOR, ("PEP",))
