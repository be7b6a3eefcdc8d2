"""Laws of trading: the ledger sums to zero, order and repetition do not matter, no leg has two live orders, size falls with variance."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.errors import InvariantBroken
from tandem.domain.ids import PairId, Symbol
from tandem.domain.ledger import Entry, Posting
from tandem.domain.trading import Action, Fee, Fill, Side
from tandem.flow.accounting import NO_PAIR, deposit_entry, equity_usd, fee_entry, fill_entry, fold, positions, post, profit
from tandem.flow.barrier import Arrived, Barrier, BrokerReached, Decidable, PointersMoved
from tandem.flow.barrier import step as barrier_step
from tandem.flow.sizing import Exposure, Limits, Plan, size
from trading_cases import CONSUMER, KO, PEP, SPEC, batch, forecast

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
