"""The engine on a live feed: between bars it looks after pairs by the second, takes snapshots of the broker, and serves people."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from tandem.adapters import topics
from tandem.adapters.codec import encode_control
from tandem.adapters.control_log import ControlTable
from tandem.domain.control import ControlRecord, RoutingPointer
from tandem.domain.market import Source
from tandem.domain.trading import PairState
from tandem.flow.barrier import Barrier
from tandem.flow.execution_records import Quarantine
from tandem.portfolio.comparison import take_snapshot
from tandem.portfolio.engine import Engine
from tandem.portfolio.feeds import ControlArrived, ForecastsArrived
from tandem.portfolio.provenance import place_of
from tandem.portfolio.reconcile import Origin
from tandem.portfolio.sender import Sender
from tandem.ports import LogRecord
from trading_cases import CONSUMER, KO, MODEL, PAIR, PEP, SPEC, batch, forecast
from trading_table import DAY, Table

_LIMIT_S = 60.0


class Live:
    """An engine without threads: events in, rounds until something holds."""

    def __init__(self, table: Table) -> None:
        self.table, self.events = table, deque[object]()
        specs = table.desk.specs
        self.engine = Engine(
            inbox=SimpleNamespace(get=lambda _: self.events.popleft() if self.events else None, put=self.events.append),
            books=table.books,
            desk=table.desk,
            broker=table.broker,
            sender=Sender(table.broker, lambda: True),
            control=ControlTable(),
            feed=SimpleNamespace(applied_offset=0),
            writer=None,
            origin=Origin(source="paper", capital_usd=Decimal(1_000_000), replay=False),
            replay=None,
            barrier=Barrier(),
        )
        table.desk.specs = specs  # the control topic of this engine is empty

    def run_until(self, holds: Callable[[], bool]) -> None:
        end_s = time.monotonic() + _LIMIT_S

        def done() -> bool:
            assert time.monotonic() < end_s, "it never holds"
            return holds()

        self.engine.run(done)


@pytest.fixture
def live() -> Live:
    return Live(Table())


def test_a_bare_leg_is_undone_by_the_second_without_a_bar(live: Live) -> None:
    """PEP was sold long ago, KO never came, and no bar closes any more."""
    table = live.table
    table.bar(1, forecast())
    table.fill(2, PEP)
    assert table.state() is PairState.OPENING

    live.run_until(lambda: table.state() is PairState.UNWINDING and table.broker.sent[-1].symbol == PEP)
    undo = table.broker.live(PEP)
    assert (undo.side.value, undo.qty) == ("buy", 80)
    table.fill(3, PEP)
    assert table.state() is PairState.FLAT


def test_gauges_of_the_book_are_set_by_the_second_without_a_bar(live: Live) -> None:
    """Alerts look at them: at a leg that stands alone, and at a pair that waits for a person."""
    table = live.table
    table.opened()
    live.run_until(lambda: (gauge("open_pairs"), gauge("quarantined_pairs"), gauge("hedge_error_usd")) == (1, 0, 0))

    table.books.tell(PAIR, Quarantine(reason="test"), 3 * DAY)
    live.engine._next_look_s = 0.0
    live.run_until(lambda: gauge("quarantined_pairs") == 1)


def test_the_hedge_error_shows_before_a_bar_closes(live: Live) -> None:
    live.table.bar(1, forecast())
    live.table.fill(2, PEP)
    live.run_until(lambda: gauge("hedge_error_usd") == 80 * 100)


def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"tandem_portfolio_{name}")


def test_an_execution_that_the_stream_never_told_comes_with_the_snapshot(live: Live) -> None:
    table = live.table
    table.bar(1, forecast())
    table.fill(2, PEP)
    table.broker.history = (table.broker.fill(KO, 2 * DAY),)
    snapshot = take_snapshot(table.books, table.broker, 0)
    live.events.append(replace(snapshot, cash_usd=table.books.book.total_cash_usd))

    live.run_until(lambda: not live.events)
    assert table.state() is PairState.HEDGED


def test_a_person_releases_a_pair_from_another_thread(live: Live) -> None:
    table = live.table
    table.opened()
    table.books.tell(PAIR, Quarantine(reason="test"), 3 * DAY)
    answers: list[str] = []
    person = threading.Thread(target=lambda: answers.append(live.engine.release(PAIR, timeout_s=_LIMIT_S)))
    person.start()
    live.run_until(lambda: bool(answers))
    person.join(_LIMIT_S)

    assert answers == [""]
    assert table.state() is PairState.HEDGED


def test_no_question_to_the_broker_stands_between_a_forecast_and_its_orders(live: Live) -> None:
    """Executions were booked since the last bar, and their fees are not known yet: the next comparison asks for them."""
    table, asked = live.table, list[int]()
    table.opened()
    table.broker.fees = lambda after_ns: asked.append(after_ns) or ()  # type: ignore[method-assign]
    pointer = RoutingPointer(sector=CONSUMER, version=MODEL.version, digest=MODEL.digest, epoch=1)
    live.events += [ControlArrived(record=control(record)) for record in (SPEC, pointer)]
    closing = replace(batch(3 * DAY, forecast(z=0.0)), source=Source.PAPER, replay_id="", lockstep=False)
    place = place_of(closing, offset=0, sha256="", ticks=b"")
    live.events.append(ForecastsArrived(batch=closing, offset=0, published_ns=0, place=place))

    live.run_until(lambda: not live.events)
    assert table.state() is PairState.CLOSING
    assert not asked
    live.events.append(take_snapshot(table.books, table.broker, 0))
    live.run_until(lambda: not live.events)
    assert asked


def control(record: ControlRecord) -> LogRecord:
    key, value = encode_control(record)
    return LogRecord(topic=topics.CONTROL, partition=0, offset=0, key=key, value=value, headers={}, timestamp_ms=0)


def test_a_heartbeat_that_closes_no_bar_makes_no_session_one_of_use(live: Live) -> None:
    """On a live feed there is one each second: a server that fails again and again would be asked at the shortest pause for ever."""
    live.engine._barrier = Barrier(versions={CONSUMER: (MODEL.version,)})
    for number, forecasts in enumerate(((), (forecast(),))):
        found = replace(batch((number + 1) * DAY, *forecasts), source=Source.PAPER, replay_id="", lockstep=False)
        place = place_of(found, offset=number, sha256="", ticks=b"")
        live.events.append(ForecastsArrived(batch=found, offset=number, published_ns=0, place=place))
        live.run_until(lambda: not live.events)
        assert live.engine.has_traded == bool(forecasts)
