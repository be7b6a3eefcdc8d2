"""The morning's facts: borrow lists, windows, and splits that change shares, marks and ledger before anything is decided."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from tandem.adapters.calendar import session_grid
from tandem.adapters.new_york import midnight_ns
from tandem.domain.assets import Asset
from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.errors import Transient
from tandem.domain.ids import Symbol
from tandem.domain.trading import Fill, PairState, Position, Side
from tandem.flow import accounting
from tandem.flow.barrier import Decidable
from tandem.flow.drift import DriftLimits
from tandem.flow.pretrade import PretradeLimits
from tandem.flow.stops import StopLimits
from tandem.portfolio.morning import Morning
from tandem.portfolio.watch import Watch
from trading_cases import KO, MODEL, PAIR, PEP, batch, forecast
from trading_table import Table

S = 1_000_000_000
GRID = session_grid("1d", midnight_ns("2024-05-20"), midnight_ns("2024-07-20"))
SPLIT = CorporateAction(action_id="s1", symbol=PEP, kind=ActionKind.SPLIT, ex_day="2024-06-10", ratio=Decimal(4))


def close_ns(day: str) -> int:
    return midnight_ns(day) + 16 * 3_600 * S


@dataclass
class MemoryFacts:
    """What somebody may be asked for."""

    known: dict[str, Asset] = field(default_factory=dict)
    told: tuple[CorporateAction, ...] = ()
    away: bool = False
    asked: list[tuple[tuple[Symbol, ...], str, str]] = field(default_factory=list)

    def assets(self, symbols: Iterable[Symbol], as_of_ns: int) -> tuple[Asset, ...]:
        if self.away:
            raise Transient("nobody answers")
        return tuple(self.known.get(name, Asset(symbol=name, as_of_ns=as_of_ns)) for name in symbols)

    def actions(self, symbols: Iterable[Symbol], first_day: str, last_day: str) -> tuple[CorporateAction, ...]:
        self.asked.append((tuple(symbols), first_day, last_day))
        return tuple(a for a in self.told if a.symbol in symbols and first_day <= a.ex_day <= last_day)


class Days(Table):
    """A table whose bars are the closes of days."""

    def __init__(self) -> None:
        super().__init__()
        self.facts, self.number = MemoryFacts(), 0
        self.morning()

    def morning(self) -> None:
        """As after a start."""
        self.desk.morning = Morning(self.books, self.desk.gate, self.desk.watch, self.facts, limits=PretradeLimits(), grid=GRID)

    def day(self, day: str, *, model: object = MODEL, **changes: object) -> None:
        self.number += 1
        at_ns = close_ns(day)
        found = batch(at_ns, forecast(bar_index=self.number, **changes), model=model)
        self.desk.trade(Decidable(replay_id="r1", bar_close_ns=at_ns, lockstep=True, end_of_stream=False, batches=(found,)), 0)
        self.books.flush_if_due()

    def filled(self, day: str) -> None:
        for symbol, price in ((KO, "50"), (PEP, "100")):
            self.books.book_fill(self.broker.fill(symbol, close_ns(day) - S, price))

    def alarms(self) -> list[str]:
        return [e.code for changes in (*self.store.written, self.books.changes) for e in changes.risk_events.values()]


@pytest.fixture
def days() -> Days:
    return Days()


def held(days: Days) -> None:
    """200 KO long and 80 PEP short since 4 June."""
    days.day("2024-06-03")
    days.filled("2024-06-04")
    days.day("2024-06-04", z=-1.5)
    assert days.state() is PairState.HEDGED


def test_a_symbol_that_turns_hard_to_borrow_over_night_is_not_sold_short_and_told_of_where_it_is(days: Days) -> None:
    held(days)
    days.facts.known[PEP] = Asset(symbol=PEP, easy_to_borrow=False)
    days.day("2024-06-05", z=-1.5)

    assert days.alarms() == ["short_hard_to_borrow"]
    days.day("2024-06-06", z=0.0)  # closing buys it back: nothing to borrow
    assert days.state() is PairState.CLOSING
    days.filled("2024-06-07")
    days.day("2024-06-07")
    assert days.desk.reasons[PAIR] == "hard_to_borrow"


@pytest.mark.parametrize(("day", "opens"), [("2024-06-06", True), ("2024-06-07", False), ("2024-06-10", False), ("2024-06-12", True)])
def test_nothing_opens_around_an_ex_date(days: Days, day: str, opens: bool) -> None:
    """A Monday: the session before it is Friday's."""
    days.facts.told = (replace(SPLIT, kind=ActionKind.DIVIDEND, ratio=Decimal(1), amount_usd=Decimal("1.35")),)
    days.day(day)

    assert (PAIR in days.books.executions) == opens
    assert opens or days.desk.reasons[PAIR] == "ex_date"


def test_a_split_of_one_leg_changes_shares_and_marks_and_makes_no_profit(days: Days) -> None:
    held(days)
    days.facts.told = (SPLIT,)
    days.day("2024-06-07", z=-1.5)
    before = days.books.exposure(PAIR).equity_usd
    days.day("2024-06-10", z=-9.0, price_b=25.0)  # the forecaster's prices are not adjusted: its z is of another spread

    assert days.books.book.shares == {(PAIR, KO): 200, (PAIR, PEP): -320}
    assert days.books.exposure(PAIR).equity_usd == before
    assert days.books.executions[PAIR].b.target == days.books.executions[PAIR].b.held == -320
    assert days.state() is PairState.HEDGED
    assert days.desk.reasons[PAIR] == "corporate_action"
    assert accounting.fold(days.store.entries.values()).shares[PAIR, PEP] == -320

    days.day("2024-06-11", z=-9.0, price_b=25.0)
    assert days.state() is PairState.HEDGED
    days.day("2024-06-12", z=-9.0, price_b=25.0, model=replace(MODEL, version="2", digest="d2"))
    assert days.state() is PairState.CLOSING
    assert days.broker.live(PEP).qty == 320


@pytest.mark.parametrize(
    ("bar_index", "day", "waits"),
    [
        (2, "2024-06-12", True),  # trained to the 7th: rolled back, or trained before and promoted after
        (50, "2024-06-12", True),
        (1, "2024-06-12", False),  # to the 10th, the ex-day
        (0, "2024-06-12", False),
        (1, "2024-06-11", True),
    ],
)
def test_only_a_version_that_was_trained_since_the_ex_day_ends_the_wait(days: Days, bar_index: int, day: str, waits: bool) -> None:
    """Any other one knows the old prices, too, whatever its number."""
    days.desk.watch = Watch(days.books, StopLimits(), DriftLimits(), price_age_s_max=900.0, grid=GRID)
    days.morning()
    held(days)
    days.facts.told = (SPLIT,)
    days.day("2024-06-10", z=-9.0, price_b=25.0)
    days.number = bar_index - 1
    days.day(day, z=-9.0, price_b=25.0, model=replace(MODEL, version="2", digest="d2"))

    assert (days.desk.reasons[PAIR] == "corporate_action") == waits
    assert days.state() is (PairState.HEDGED if waits else PairState.CLOSING)
    assert days.alarms().count("waits_for_model") == 1
    again = Watch(days.books, StopLimits(), DriftLimits(), price_age_s_max=900.0, grid=GRID)  # as after a start
    assert again.outlook(forecast()).comparable == (not waits)


def test_a_split_changes_what_was_traded_behind_our_back_too(days: Days) -> None:
    """The broker has sold our long, or bought in our short: pair and foreign shares together are what it has, before and after a split."""
    held(days)
    days.facts.told = (SPLIT,)
    days.day("2024-06-07", z=-1.5)
    bought_in = Fill(
        execution_id="liquidation",
        client_order_id="not-ours",
        symbol=PEP,
        side=Side.BUY,
        qty=Decimal(80),
        price_usd=Decimal(100),
        event_ns=close_ns("2024-06-07") + S,
    )
    days.books.book_fill(bought_in)
    days.day("2024-06-10", z=-9.0, price_b=25.0)

    assert days.books.book.shares[PAIR, PEP] == -320
    assert days.books.book.shares[accounting.NO_PAIR, PEP] == 320
    assert accounting.positions(days.books.book).get(PEP, 0) == 0


def test_a_split_that_is_told_of_too_late_is_found_when_the_books_are_compared(days: Days) -> None:
    """Announced on its own day after the morning, and compared four weeks later: daily bars are compared every twenty."""
    held(days)
    days.day("2024-06-10", z=-1.5)
    days.facts.told = (SPLIT,)
    for day in ("2024-06-11", "2024-06-25", "2024-07-08"):
        days.day(day, z=-1.5)
    assert days.books.book.shares[PAIR, PEP] == -80
    days.desk.morning.settle(days.desk.specs, [Position(symbol=PEP, qty=Decimal(-320))], close_ns("2024-07-09"))

    assert days.books.book.shares[PAIR, PEP] == -320


def test_a_split_is_taken_in_once_over_restarts_and_days_without_us(days: Days) -> None:
    held(days)
    days.facts.told = (SPLIT,)
    days.morning()
    days.day("2024-06-13", z=-1.5, price_b=25.0)  # down since the 4th
    assert days.facts.asked[-1] == ((KO, PEP, "PG"), "2024-04-20", "2024-07-28")
    assert days.books.book.shares[PAIR, PEP] == -320

    days.morning()
    days.day("2024-06-14", z=-1.5, price_b=25.0)
    assert days.books.book.shares[PAIR, PEP] == -320


def test_a_split_that_the_broker_shows_over_night_is_taken_in_before_the_books_are_compared(days: Days) -> None:
    held(days)
    days.facts.told = (SPLIT,)
    days.day("2024-06-07", z=-1.5)
    night_ns = close_ns("2024-06-09")
    unsplit, split = (Position(symbol=PEP, qty=Decimal(qty)) for qty in (-80, -320))
    days.desk.morning.settle(days.desk.specs, [unsplit], night_ns)
    assert days.books.book.shares[PAIR, PEP] == -80

    days.desk.morning.settle(days.desk.specs, [split], close_ns("2024-06-07") - S)  # nothing is due before the last session has ended
    assert days.books.book.shares[PAIR, PEP] == -80
    days.desk.morning.settle(days.desk.specs, [split], night_ns)
    assert days.books.book.shares[PAIR, PEP] == -320
    days.day("2024-06-10", z=-9.0, price_b=25.0)
    assert days.books.book.shares[PAIR, PEP] == -320
    assert days.alarms().count("corporate_action") == 1


def test_a_split_that_is_told_of_within_the_day_is_asked_for_where_the_shares_have_moved(days: Days) -> None:
    held(days)
    days.day("2024-06-10", z=-1.5)
    days.facts.told = (SPLIT,)
    night_ns = close_ns("2024-06-10")
    asked = len(days.facts.asked)
    days.desk.morning.settle(days.desk.specs, [Position(symbol=PEP, qty=Decimal(-320))], night_ns)
    assert days.books.book.shares[PAIR, PEP] == -80  # the facts of the day were asked for before it was told

    same = [Position(symbol=symbol, qty=qty) for symbol, qty in accounting.positions(days.books.book).items()]
    days.desk.morning.settle(days.desk.specs, same, night_ns, moved=True)
    assert len(days.facts.asked) == asked
    split = [replace(position, qty=Decimal(-320)) if position.symbol == PEP else position for position in same]
    days.desk.morning.settle(days.desk.specs, split, night_ns, moved=True)
    assert len(days.facts.asked) == asked + 1
    assert days.books.book.shares[PAIR, PEP] == -320


def test_facts_that_are_not_to_be_had_are_asked_for_at_each_bar_and_missed_once(days: Days) -> None:
    days.facts.away = True
    days.day("2024-06-03", z=0.0)
    assert days.alarms() == ["morning_unknown"]
    days.facts.away = False
    days.facts.known[PEP] = Asset(symbol=PEP, tradable=False)
    days.day("2024-06-04")

    assert days.desk.reasons[PAIR] == "not_tradable"
    assert days.alarms() == ["morning_unknown"]
