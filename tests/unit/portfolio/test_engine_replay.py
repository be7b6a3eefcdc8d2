"""The engine in a replay: what the exchange's heartbeat tells is in the book before the bar is decided, and costs no question else."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import pytest

from tandem.adapters.alpaca_trade_stream import BrokerHeartbeat
from tandem.adapters.calendar import session_grid
from tandem.adapters.control_log import ControlTable
from tandem.adapters.new_york import day_of
from tandem.domain.assets import Asset
from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.errors import Transient
from tandem.domain.ids import Symbol
from tandem.domain.trading import Charge, Fee, Position
from tandem.flow import accounting
from tandem.flow.barrier import Barrier
from tandem.flow.pretrade import PretradeLimits
from tandem.portfolio.engine import Engine
from tandem.portfolio.feeds import ForecastsArrived
from tandem.portfolio.morning import Morning
from tandem.portfolio.provenance import place_of
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.sender import Sender
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP, batch, forecast
from trading_table import DAY, Table


@dataclass
class MemoryFacts:
    """What somebody may be asked for."""

    told: tuple[CorporateAction, ...] = ()

    def assets(self, symbols: Iterable[Symbol], as_of_ns: int) -> tuple[Asset, ...]:
        return tuple(Asset(symbol=name, as_of_ns=as_of_ns) for name in symbols)

    def actions(self, symbols: Iterable[Symbol], first_day: str, last_day: str) -> tuple[CorporateAction, ...]:
        return tuple(a for a in self.told if a.symbol in symbols and first_day <= a.ex_day <= last_day)


class Replay:
    """An engine without threads, bar by bar."""

    def __init__(self) -> None:
        self.table, self.events = Table().opened(), deque[object]()
        self.charged: list[Fee] = []
        self.asked: list[int] = []
        self.acknowledged: list[tuple[int, str]] = []
        self.table.broker.fees = self._fees  # type: ignore[method-assign]
        specs = self.table.desk.specs
        self.engine = Engine(
            inbox=SimpleNamespace(get=lambda _: self.events.popleft(), put=self.events.append),
            books=self.table.books,
            desk=self.table.desk,
            broker=self.table.broker,
            sender=Sender(self.table.broker, lambda: True),
            control=ControlTable(),
            feed=SimpleNamespace(applied_offset=0),
            writer=None,
            origin=Origin(source="recycled", capital_usd=Decimal(1_000_000), replay=True),
            replay=SimpleNamespace(acknowledge=lambda watermark_ns, replay_id: self.acknowledged.append((watermark_ns, replay_id))),
            barrier=Barrier(),
        )
        self.table.desk.specs = specs  # the control topic of this engine is empty, so that it names neither pairs nor versions
        self.engine._barrier = Barrier(replay_id="r1", decided_ns=2 * DAY, versions={CONSUMER: (MODEL.version,)})

    def _fees(self, after_ns: int) -> tuple[Fee, ...]:
        self.asked.append(after_ns)
        return tuple(fee for fee in self.charged if fee.event_ns > after_ns)

    def bar(self, day: int, *, end: bool = False) -> None:
        """Forecasts and the exchange's heartbeat of one bar; end: nothing comes after it."""
        held = batch(day * DAY, forecast(z=-1.5, bar_index=day), end_of_stream=end)
        place = place_of(held, offset=day, sha256="", ticks=b"")
        self.events.append(ForecastsArrived(batch=held, offset=day, published_ns=0, place=place))
        self.beat(day)
        assert self.engine.decided_ns == day * DAY

    def beat(self, day: int) -> None:
        """The exchange's heartbeat, and all that has come before it."""
        self.events.append(
            BrokerHeartbeat(replay_id="r1", watermark_ns=day * DAY, lockstep=True, end_of_stream=False, charges=len(self.charged))
        )
        self.engine.run(lambda: not self.events)


@pytest.fixture
def replay() -> Replay:
    made = Replay()
    made.bar(3)
    made.asked.clear()
    return made


def test_a_charge_without_an_execution_is_booked_at_its_own_bar(replay: Replay) -> None:
    """A night's borrow: the exchange books it at the close, when the heartbeat of the bar goes out."""
    replay.charged.append(
        Fee(activity_id="b1", symbol=KO, amount_usd=Decimal("6"), event_ns=4 * DAY, description="borrow", charge=Charge.BORROW)
    )
    cash_usd = replay.table.books.book.total_cash_usd
    replay.bar(4)

    assert replay.table.books.book.total_cash_usd == cash_usd - 6
    assert [(point.bar_close_ns, point.cash_usd) for changes in replay.table.store.written for point in changes.equity][-1] == (
        4 * DAY,
        cash_usd - 6,
    )


def test_a_bar_without_a_new_charge_asks_nothing(replay: Replay) -> None:
    for day in (4, 5, 6):
        replay.bar(day)

    assert replay.asked == []


def split_after(replay: Replay, day: int) -> Decimal:
    """A morning that knows nothing, and a split by 2 after the bar; the pair's shares before it."""
    table, facts = replay.table, MemoryFacts()
    grid = session_grid("1d", 0, 20 * DAY)
    table.desk.morning = Morning(table.books, table.desk.gate, table.desk.watch, facts, limits=PretradeLimits(), grid=grid)
    replay.bar(day)
    facts.told = (CorporateAction(action_id="s1", symbol=KO, kind=ActionKind.SPLIT, ex_day=day_of(day * DAY), ratio=Decimal(2)),)
    positions = [Position(symbol=name, qty=qty * 2 if name == KO else qty) for name, qty in accounting.positions(table.books.book).items()]
    table.broker.positions = lambda: tuple(positions)
    return table.books.book.shares[PAIR, KO]


def test_a_split_that_is_told_of_after_its_morning_is_taken_in_at_the_next_bar(replay: Replay) -> None:
    """Else the pair closes what it had before, and what the split added is the broker's alone: the heartbeat counts splits, too."""
    table, shares = replay.table, split_after(replay, 6)
    replay.charged.append(Fee(activity_id="d1", symbol=PEP, amount_usd=Decimal(0), event_ns=6 * DAY, description="split"))
    replay.bar(7)

    assert table.books.book.shares[PAIR, KO] == shares * 2
    leg = next(leg for leg in table.books.executions[PAIR].legs if leg.symbol == KO)
    assert leg.held == leg.target == shares * 2


def test_a_split_that_no_heartbeat_tells_of_any_more_is_taken_in_before_the_last_comparison(replay: Replay) -> None:
    table, shares = replay.table, split_after(replay, 6)
    replay.bar(7, end=True)

    assert table.books.book.shares[PAIR, KO] == shares * 2
    last = [made for changes in table.store.written for made in changes.reconciliations][-1]
    assert last.occasion == "end_of_stream"
    assert KO not in {difference.what for difference in last.differences}


def test_a_replay_that_waits_again_for_a_decided_bar_is_told_again(replay: Replay) -> None:
    """A recycler that was killed after our acknowledgement comes back at the bar, and has forgotten who is done."""
    assert replay.acknowledged == [(3 * DAY, "r1")]
    replay.beat(3)
    assert replay.acknowledged == [(3 * DAY, "r1")] * 2
    replay.bar(4)
    assert replay.acknowledged[2:] == [(4 * DAY, "r1")]


def test_a_bar_that_is_not_decided_is_not_acknowledged_by_its_heartbeat(replay: Replay) -> None:
    """Its forecasts are still to come."""
    replay.beat(4)
    assert replay.acknowledged == [(3 * DAY, "r1")]


def test_a_session_is_of_use_once_a_bar_is_acknowledged(replay: Replay) -> None:
    """What fails before that is a failure like the one before it: the pauses between sessions go on growing."""
    fresh = Replay()
    fresh.engine._replay = SimpleNamespace(acknowledge=_unreachable)
    with pytest.raises(Transient):
        fresh.bar(3)

    assert not fresh.engine.has_traded
    assert replay.engine.has_traded


def _unreachable(_close_ns: int, _replay_id: str) -> None:
    raise Transient("the recycler is away")
