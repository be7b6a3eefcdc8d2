"""Laws of trading: the ledger sums to zero, order and repetition do not matter, no leg has two live orders, size falls with variance."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId, Symbol, client_order_id
from tandem.domain.ledger import Entry, Posting
from tandem.domain.trading import Action, Fee, Fill, Order, OrderStatus, PairState, Side
from tandem.flow.accounting import NO_PAIR, deposit_entry, equity_usd, fee_entry, fill_entry, fold, positions, post, profit
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved
from tandem.flow.barrier import step as barrier_step
from tandem.flow.execution import (
    CancelWanted,
    Closing,
    Execution,
    Flattening,
    FlattenWanted,
    Opened,
    Patience,
    Reported,
    Review,
    flat,
    step,
)
from tandem.flow.signals import Held
from tandem.flow.sizing import Exposure, Limits, Plan, size
from trading_cases import CONSUMER, KO, PAIR, PEP, SPEC, batch, forecast

PAIRS = (PairId("KO-PEP"), PairId("KO-PG"), PairId("WMT-PG"))
SYMBOLS = (KO, PEP, Symbol("PG"), Symbol("WMT"))
MONEY = st.decimals("0.01", "9999.99", places=2)
FILLS = st.builds(
    Fill,
    execution_id=st.uuids().map(str),
    client_order_id=st.just("c"),
    symbol=st.sampled_from(SYMBOLS),
    side=st.sampled_from(Side),
    qty=st.integers(1, 10_000).map(Decimal),
    price_usd=MONEY,
    event_ns=st.integers(0, 10**18),
)
FEES = st.builds(
    Fee,
    activity_id=st.uuids().map(str),
    symbol=st.sampled_from(SYMBOLS),
    amount_usd=MONEY,
    event_ns=st.integers(0, 10**18),
    description=st.just("fee"),
)
ENTRIES = st.one_of(
    st.builds(fill_entry, FILLS, st.sampled_from(PAIRS)),
    st.builds(fee_entry, FEES, st.sampled_from((*PAIRS, NO_PAIR))),
    st.builds(deposit_entry, st.uuids().map(str), MONEY, st.just(0)),
)
BOOKS = st.lists(ENTRIES, max_size=30, unique_by=lambda entry: entry.entry_id)


@given(BOOKS)
def test_every_commodity_sums_to_zero_over_all_accounts(entries: list[Entry]) -> None:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for entry in entries:
        for posting in entry.postings:
            sums[posting.commodity] += posting.amount

    assert set(sums.values()) <= {Decimal(0)}


@given(ENTRIES, st.integers(0, 3), MONEY)
def test_an_entry_with_one_amount_changed_cannot_exist(entry: Entry, line: int, by: Decimal) -> None:
    postings = list(entry.postings)
    changed = postings[line % len(postings)]
    postings[line % len(postings)] = Posting(account=changed.account, commodity=changed.commodity, amount=changed.amount + by)

    with pytest.raises(InvariantBroken):
        replace(entry, postings=tuple(postings))


@given(BOOKS, st.randoms(use_true_random=False))
def test_order_and_repetition_of_entries_do_not_matter(entries: list[Entry], random: object) -> None:
    shuffled = entries * 2
    random.shuffle(shuffled)

    assert fold(shuffled) == fold(entries)


@given(BOOKS)
def test_posting_one_by_one_gives_the_same_book_as_the_fold(entries: list[Entry]) -> None:
    book = fold([])
    for entry in entries:
        book = post(book, entry)

    assert book == fold(entries)


@given(BOOKS, st.tuples(*(MONEY for _ in SYMBOLS)))
def test_profits_of_all_pairs_add_up_to_equity_less_capital(entries: list[Entry], prices: tuple[Decimal, ...]) -> None:
    book, marks = fold(entries), dict(zip(SYMBOLS, prices, strict=True))

    assert sum(profit(book, marks, pair).total_usd for pair in (*PAIRS, NO_PAIR)) == equity_usd(book, marks) - book.capital_usd


@given(st.lists(st.tuples(FILLS, st.sampled_from(PAIRS)), max_size=30, unique_by=lambda row: row[0].execution_id))
def test_broker_positions_are_the_sum_of_the_pairs(rows: list[tuple[Fill, PairId]]) -> None:
    expected: dict[Symbol, Decimal] = defaultdict(Decimal)
    for fill, _ in rows:
        expected[fill.symbol] += fill.qty * fill.side.sign

    assert positions(fold(fill_entry(fill, pair) for fill, pair in rows)) == {s: q for s, q in expected.items() if q}


LIMITS = Limits(
    volatility_target_daily=0.01,
    scale_max=1.5,
    pairs_open_max=10,
    gross_exposure_max=Decimal(10**6),
    symbol_exposure_max=Decimal(10**6),
    hedge_error_max=Decimal(10**6),
    short_equity_usd_min=Decimal(0),
)
EXPOSURE = Exposure(equity_usd=Decimal(10**6), pairs_open=0, gross_usd=Decimal(0))


@given(
    st.tuples(st.floats(1e-12, 1e-1), st.floats(1e-12, 1e-1)).map(sorted),
    st.floats(1.0, 2000.0),
    st.floats(1.0, 2000.0),
    st.floats(0.05, 20.0),
    st.sampled_from([Action.OPEN_LONG, Action.OPEN_SHORT]),
)
def test_size_never_rises_with_the_variance(variances: list[float], price_a: float, price_b: float, beta: float, action: Action) -> None:
    small, large = (
        size(
            forecast(variance=variance, price_a=price_a, price_b=price_b, beta=beta),
            SPEC,
            action,
            limits=LIMITS,
            exposure=EXPOSURE,
            bars_per_day=1.0,
        )
        for variance in variances
    )

    if isinstance(large, Plan):
        assert isinstance(small, Plan)
        assert (small.a.qty, small.b.qty) >= (large.a.qty, large.b.qty)
        assert small.b.qty >= large.b.qty
        short = large.a if large.a.side is Side.SELL else large.b
        assert short.notional_usd <= SPEC.notional_usd * Decimal("1.5")


@dataclass
class Market:
    """A broker that does to live orders whatever the example says, and checks that no leg ever has two."""

    pair: Execution
    live: dict[str, Order] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    executions: int = 0
    now_ns: int = 0

    PATIENCE = Patience(leg_wait_bars_max=3, leg_wait_s_max=5.0, unwind_attempts_max=3)

    def tell(self, event: object) -> tuple[object, ...]:
        self.pair, out = step(self.pair, event, self.PATIENCE)
        return out

    def send(self, *orders: Order) -> None:
        for order in orders:
            assert order.client_order_id not in self.sent, "an id was used twice"
            self.sent.add(order.client_order_id)
            assert order.leg not in {other.leg for other in self.live.values()}, f"a second live order of leg {order.leg}"
            self.live[order.client_order_id] = order
            self.filled[order.client_order_id] = 0

    def order(self, leg: str, side: Side, qty: int, intent: str, attempt: int = 0) -> Order:
        return Order(
            client_order_id=client_order_id(intent, leg, attempt),
            intent_id=intent,
            pair=PAIR,
            leg=leg,
            attempt=attempt,
            symbol=KO if leg == "a" else PEP,
            side=side,
            qty=qty,
            limit_usd=None,
            decided_ns=self.now_ns,
        )

    def open_or_close(self) -> None:
        intent = f"{self.now_ns}"
        if self.pair.state is PairState.FLAT and not self.live:
            a, b = self.order("a", Side.BUY, 4, intent), self.order("b", Side.SELL, 3, intent)
            self.tell(Opened(trade_id=intent, held=Held(direction=1, opened_bar_index=0, half_life_bars=1.0, digest="d"), a=a, b=b))
            self.send(a, b)
        elif self.pair.state is PairState.HEDGED:
            a, b = self.order("a", Side.SELL, 4, intent), self.order("b", Side.BUY, 3, intent)
            self.tell(Closing(a=a, b=b))
            self.send(a, b)

    def review(self, bar_closed: bool) -> None:
        for want in self.tell(Review(at_ns=self.now_ns, bar_closed=bar_closed)):
            if isinstance(want, FlattenWanted):
                orders = [self.order(leg, side, qty, f"unwind{self.now_ns}", want.attempt) for leg, _, side, qty in want.legs]
                self.tell(Flattening(orders=tuple(orders)))
                self.send(*orders)
            elif isinstance(want, CancelWanted):
                self.end(want.order.order.client_order_id, OrderStatus.CANCELED)

    def end(self, order_id: str, status: OrderStatus) -> None:
        if self.live.pop(order_id, None):
            self.tell(Reported(client_order_id=order_id, status=status, filled=Decimal(self.filled[order_id])))

    def fill(self, order_id: str, qty: int) -> None:
        order = self.live[order_id]
        qty = min(qty, order.qty - self.filled[order_id])
        self.filled[order_id] += qty
        self.executions += 1
        if self.filled[order_id] == order.qty:
            del self.live[order_id]
        self.tell(
            Fill(
                execution_id=str(self.executions),
                client_order_id=order_id,
                symbol=order.symbol,
                side=order.side,
                qty=Decimal(qty),
                price_usd=Decimal(50),
                event_ns=self.now_ns,
            )
        )


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["trade", "review", "bar", "fill", "fill", "accept", "reject", "expire"]),
        st.integers(0, 1),
        st.integers(1, 4),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(MOVES)
def test_no_leg_ever_has_two_live_orders_and_trouble_ends_with_both_legs_or_neither(moves: list[tuple[str, int, int, int]]) -> None:
    """Any tape of executions, rejections and cancels; then the trouble stops and a few quiet bars pass."""
    market = Market(flat(PAIR, CONSUMER, KO, PEP))
    for move, which, qty, seconds in moves:
        market.now_ns += seconds * 10**9 + 1
        order_id = next((o.client_order_id for o in market.live.values() if o.leg == "ab"[which]), None)
        match move:
            case "trade":
                market.open_or_close()
            case "review" | "bar":
                market.review(move == "bar")
            case "fill" if order_id:
                market.fill(order_id, qty)
            case "accept" if order_id:
                market.tell(Reported(client_order_id=order_id, status=OrderStatus.ACCEPTED, broker_order_id="b"))
            case "reject" | "expire" if order_id:
                market.end(order_id, OrderStatus.REJECTED if move == "reject" else OrderStatus.EXPIRED)
    for _ in range(8):
        market.now_ns += 10**9
        for order_id in list(market.live):
            market.fill(order_id, 99)
        market.review(True)

    held = (market.pair.a.held, market.pair.b.held)
    assert market.pair.state in (PairState.FLAT, PairState.HEDGED, PairState.QUARANTINED)
    if market.pair.state is PairState.FLAT:
        assert held == (0, 0)
    if market.pair.state is PairState.HEDGED:
        assert held == (4, -3)


SECTORS = (CONSUMER, type(CONSUMER)("energy"), type(CONSUMER)("financial"))


@given(st.integers(1, 6), st.randoms(use_true_random=False), st.lists(st.integers(0, 200), max_size=10))
def test_bars_are_decided_once_and_in_order_however_sectors_and_broker_interleave(bars: int, random: object, repeats: list[int]) -> None:
    """Each stream keeps its own order; between them, and with records delivered again, anything goes."""
    streams = [[Arrived(batch=batch(10 * n, sector=sector), offset=n) for n in range(1, bars + 1)] for sector in SECTORS]
    streams.append([BrokerReached(replay_id="r1", watermark_ns=10 * n) for n in range(1, bars + 1)])
    events: list[object] = []
    while any(streams):
        events.append(random.choice([s for s in streams if s]).pop(0))
    for at in repeats:
        first = at % len(events)
        events.insert(random.randint(first + 1, len(events)), events[first])

    state, _ = barrier_step(Barrier(replay_id="r1"), PointersMoved(versions=dict.fromkeys(SECTORS, ("1",))))
    decided: list[Decidable] = []
    for event in events:
        state, more = barrier_step(state, event)
        decided += more

    assert [bar.bar_close_ns for bar in decided] == [10 * n for n in range(1, bars + 1)]
    assert all([b.sector for b in bar.batches] == list(SECTORS) for bar in decided)
    assert state.waiting == ()
