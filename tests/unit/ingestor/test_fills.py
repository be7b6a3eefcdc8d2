"""Asking history: a failure at any call costs a pause and nothing else; what was had is not asked again."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from tandem.adapters.alpaca_history import Slice
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor import fills
from tandem.ingestor.condition import Condition
from tandem.ingestor.fills import Filler
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.gap import FillWanted
from tandem.ingestor.intake import Intake

START_NS = 1_764_000_000 * NS_PER_S
SLICES = 4
TRADES = 12


class History:
    """Three trades in each of four slices; the k-th call fails."""

    def __init__(self, failing: int, error: type[Exception] = Transient, *, newest: int = TRADES - 1) -> None:
        """newest: the trade that history calls the latest."""
        self.calls, self._failing, self._error, self._newest = 0, failing, error, newest
        self.asked: list[int] = []

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self._failing:
            raise self._error("not now")

    def present_ns(self, symbols: Sequence[str]) -> int:
        self._call()
        return START_NS + self._newest

    def trades(self, symbols: Sequence[str], from_ns: int, until_ns: int) -> Iterator[Slice]:
        for start in range(from_ns, until_ns, TRADES // SLICES):
            self._call()
            self.asked.append(start - START_NS)
            end = min(start + TRADES // SLICES, until_ns)
            rows = [{"T": "t", "S": "KO", "i": ns - START_NS, "p": 60.0, "s": 1, "t": ns} for ns in range(start, end)]
            yield Slice(until_ns=end, messages=rows)

    def close(self) -> None: ...


def filled(history: History, *, hours_max: float = 1.0) -> tuple[list[int], Condition, Intake]:
    """Trade ids that came out of one question, when it was answered."""
    intake, condition, out = Intake(Source.LIVE, overlap_ns=0, fills=True), Condition(), []
    intake.route({SectorId("staples"): (Symbol("KO"),)})
    intake.connected()
    intake._gap.ask(START_NS, None, ("KO",))

    def now() -> int:
        return START_NS + TRADES

    async def run() -> None:
        filler = Filler(history, intake, condition, out.extend, settle_ms=0, hours_max=hours_max, now_ns=now)  # type: ignore[arg-type]
        filler.ask(FillWanted(number=intake._gap.number, from_ns=START_NS, until_ns=None, symbols=("KO",)))
        assert condition.hole is not None
        async with asyncio.timeout(20):
            while not intake.is_whole:
                await asyncio.sleep(0.001)
        assert filler.failure() is None
        await filler.stop()

    asyncio.run(run())
    frames = [each.frame for each in (*out, *intake.drain()) if isinstance(each, StampedFrame)]
    return [i for frame in frames for i in frame.ticks["trade_id"].tolist()], condition, intake


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fills, "_PAUSES_S", (0.0,))


@pytest.mark.parametrize("error", [Transient, Permanent])
def test_a_failure_at_the_kth_call_for_every_k_loses_and_doubles_nothing(error):
    for k in range(1, 100):
        history = History(failing=k, error=error)
        ids, condition, _ = filled(history)
        assert ids == list(range(TRADES)), f"failure at call {k}"
        assert condition.hole is None
        assert len(history.asked) == SLICES, f"failure at call {k}: a slice that was had was asked for again"
        if history.calls < k:
            break
    assert k > SLICES


def test_a_hole_that_is_too_long_is_filled_from_its_end():
    ids, _, _ = filled(History(failing=0), hours_max=6 / (3_600 * NS_PER_S))
    assert ids == list(range(TRADES - 6, TRADES))


def test_what_came_after_the_latest_trade_that_set_a_price_is_asked_for_too() -> None:
    """What Alpaca calls the latest trade may be months older than the newest one, where only odd lots followed."""
    ids, _, _ = filled(History(failing=0, newest=2))
    assert ids == list(range(TRADES))
