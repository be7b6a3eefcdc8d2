"""The audit chain: one form for each event, and no change of it that goes unseen."""

import inspect
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.control import TradingState
from tandem.domain.trading import Action, Fee, Fill, Side, TradingMode
from tandem.flow import audit
from tandem.flow.accounting import fee_entry, fill_entry
from tandem.flow.audit import AuditRecord, Head, beginning, breaks, canonical, chained, records_of
from tandem.flow.journal import Changes, Intent, SignalRecord
from tandem.flow.netting import Cross
from trading_cases import CONSUMER, KO, MODEL, PAIR

INTENT = Intent(
    intent_id="i1",
    run="r1",
    pair=PAIR,
    sector=CONSUMER,
    action=Action.CLOSE,
    reason="exit",
    bar_close_ns=1000,
    trade_id="t1",
    model=MODEL,
)
SIGNAL = SignalRecord(
    run="r1",
    pair=PAIR,
    bar_close_ns=1000,
    action=Action.CLOSE,
    reason="exit",
    refusal="",
    detail="",
    model=MODEL,
    z=0.1,
    reversion_probability=0.5,
    variance=1e-4,
)
FILL = Fill(execution_id="e1", client_order_id="c1", symbol=KO, side=Side.BUY, qty=Decimal(10), price_usd=Decimal("50.10"), event_ns=2000)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
RECORDS = st.builds(
    AuditRecord,
    kind=TEXTS,
    subject=TEXTS,
    refs=st.lists(TEXTS, max_size=3).map(tuple),
    event_ns=st.integers(0, 2**62),
    document=TEXTS,
)


@given(st.lists(RECORDS, max_size=8), st.integers(0, 8))
def test_a_chain_made_in_two_transactions_is_the_chain_made_in_one(records: list[AuditRecord], cut: int) -> None:
    start = beginning("book")
    first = chained(start, records[:cut])
    second = chained(first[-1].head if first else start, records[cut:])

    assert first + second == chained(start, records)
    assert list(breaks(start, first + second)) == []


CHANGES = [
    lambda link: replace(link, record=replace(link.record, document=link.record.document + " ")),
    lambda link: replace(link, record=replace(link.record, kind=link.record.kind + "x")),
    lambda link: replace(link, record=replace(link.record, subject=link.record.subject + "x")),
    lambda link: replace(link, record=replace(link.record, refs=(*link.record.refs, "x"))),
    lambda link: replace(link, record=replace(link.record, event_ns=link.record.event_ns + 1)),
    lambda link: replace(link, previous="0" * 64),
    lambda link: replace(link, hash="0" * 64),
]


@given(st.lists(RECORDS, min_size=1, max_size=8), st.data())
def test_any_change_of_any_link_is_found(records: list[AuditRecord], data: st.DataObject) -> None:
    links = list(chained(beginning("book"), records))
    place = data.draw(st.integers(0, len(links) - 1))
    links[place] = data.draw(st.sampled_from(CHANGES))(links[place])

    assert list(breaks(beginning("book"), links))


@given(st.lists(RECORDS, min_size=2, max_size=8), st.data())
def test_a_link_taken_out_doubled_or_moved_is_found(records: list[AuditRecord], data: st.DataObject) -> None:
    links = list(chained(beginning("book"), records))
    place = data.draw(st.integers(0, len(links) - 2))
    change = data.draw(st.sampled_from(["out", "double", "swap"]))
    if change == "out":
        del links[place]
    elif change == "double":
        links.insert(place, links[place])
    else:
        links[place], links[place + 1] = links[place + 1], links[place]

    assert list(breaks(beginning("book"), links))


def test_a_changed_document_whose_hash_was_made_anew_breaks_the_next_link() -> None:
    """Who changes one row must change every row after it, and the head that others have noted."""
    records = [AuditRecord(kind="k", subject=str(n), refs=(), event_ns=n, document="{}") for n in range(3)]
    links = list(chained(beginning("book"), records))
    forged = replace(records[1], document='{"qty":1}')
    links[1] = chained(links[0].head, [forged])[0]

    assert [fault.split(":")[0] for fault in breaks(beginning("book"), links)] == [
        f"link 3 follows {links[2].previous[:12]}, but link 2 has the hash {links[1].hash[:12]}"
    ]


def test_a_chain_of_another_book_does_not_fit() -> None:
    links = chained(beginning("a"), [AuditRecord(kind="k", subject="s", refs=(), event_ns=1, document="{}")])

    assert len(list(breaks(beginning("b"), links))) == 1


def test_one_fault_is_told_once_and_the_rest_is_still_checked() -> None:
    records = [AuditRecord(kind="k", subject=str(n), refs=(), event_ns=n, document="{}") for n in range(6)]
    links = list(chained(beginning("book"), records))
    links[4] = replace(links[4], record=replace(links[4].record, document="[]"))
    del links[1]

    found = list(breaks(beginning("book"), links))

    assert [fault.split(" ")[:4] for fault in found] == [["after", "link", "1", "comes"], ["link", "5", "(k", "4)"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": Decimal("1.500")}, '{"a":"1.5","b":1}'),
        ({"n": Decimal("1E+3"), "z": Decimal("-0.00")}, '{"n":"1000","z":"-0"}'),
        ({"side": Side.BUY, "x": 0.1}, '{"side":"buy","x":0.1}'),
        ({"t": "é\n"}, '{"t":"é\\n"}'),
    ],
)
def test_equal_things_have_equal_bytes(value: object, expected: str) -> None:
    assert canonical(value) == expected


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical({"z": object()})


def test_what_a_transaction_writes_is_in_the_chain_in_the_order_of_cause_and_effect() -> None:
    fee = Fee(activity_id="a1", symbol=KO, amount_usd=Decimal("0.02"), event_ns=3000, description="TAF")
    changes = Changes(
        entries=[fill_entry(FILL, PAIR), fee_entry(fee, PAIR)],
        fills=[(FILL, PAIR)],
        intents=[INTENT],
        signals=[SIGNAL],
        trading_states={"global": TradingState(scope="global", mode=TradingMode.HALTED, reason="test"), "pair/KO-PEP": None},
    )

    found = records_of(changes)

    assert [record.kind for record in found] == ["signal", "intent", "fill", "entry", "entry", "trading_state", "trading_state"]
    signal, intent, fill, booked, charged, *_ = found
    assert signal.subject in intent.refs, "the intent leads to its signal"
    assert intent.refs == ("i1", "r1/KO-PEP/1000/close", "t1")
    assert fill.refs == ("e1", "c1")
    assert "e1" in booked.refs
    assert "a1" in charged.refs
    assert '"price_usd":"50.1"' in fill.document


# State that follows from what is told, what a bar makes again, and what is in the intent's own record.
NOT_TOLD = {"executions", "trades", "equity", "guards", "decided", "decisions"}


def test_nothing_that_a_transaction_writes_is_left_out_unseen() -> None:
    """A new part of Changes is either in the chain or named above, with its reason."""
    source = inspect.getsource(audit)

    assert {name for name in Changes.__slots__ if f"changes.{name}" not in source} | {"decisions"} == NOT_TOLD


def test_orders_that_meet_inside_are_told_with_both_sides() -> None:
    cross = Cross(
        cross_id="x1",
        symbol=KO,
        qty=5,
        buy_order="b",
        sell_order="s",
        priced_by="b",
        mark_usd=Decimal("50.1"),
        decided_ns=9,
    )
    sale, _ = cross.fills(Decimal("50.2"), 10)

    decided, done = (records_of(Changes(crosses={"x1": (cross, fill)}))[0] for fill in (None, sale))

    assert decided.refs == done.refs == ("x1", "b", "s")
    assert ('"price_usd":null' in decided.document, '"price_usd":"50.2"' in done.document) == (True, True)


def test_an_empty_chain_is_whole() -> None:
    assert list(breaks(beginning("book"), ())) == []
    assert beginning("book") == Head(seq=0, hash=beginning("book").hash)
