"""Directives as people write them: scripts and requests, when they take effect, and what is refused with its place."""

from decimal import Decimal

import pytest

from paper_cases import FREE, GRID, KO, MINUTE_NS, OPEN_NS, PEP, SYMBOLS, Bench, rows, steady
from tandem.domain.errors import BadSetting
from tandem.domain.trading import Side
from tandem.domain.units import NS_PER_S
from tandem.flow.directives import AssetFlags, Halt, ManualTrade, PowerCut, RejectNext, Resume, Split
from tandem.flow.tape import tape
from tandem.recycler.book import Status
from tandem.recycler.directives_body import When, planned, planned_of
from tandem.recycler.exchange_setup import Announcer, _messages
from tandem.recycler.script import parse_script

SCRIPT = """
# what happens on the day
- {at: 2024-07-01T13:32:00Z, halt: {symbol: KO, reason: T1}}
- {at: bar 4, resume: {symbol: KO}}
- at: order 2
  reject_next: {symbol: PEP, late: true}
- {at: 2024-07-01T08:00:00Z, split: {symbol: PEP, new_shares: 4, old_shares: 1}}
"""


def test_a_script_is_read_in_its_order():
    found = parse_script("day.yaml", SCRIPT, SYMBOLS)
    assert [(one.when, one.at) for one in found] == [
        (When.TIME, OPEN_NS + 2 * MINUTE_NS),
        (When.BAR, 4),
        (When.ORDER, 2),
        (When.TIME, OPEN_NS - 330 * MINUTE_NS),
    ]
    assert found[0].directive == Halt(symbol=KO)
    assert found[2].directive == RejectNext(symbol=PEP, late=True)
    assert found[3].directive == Split(symbol=PEP, new_shares=4, old_shares=1)
    assert len({one.directive_id for one in found}) == 4
    assert parse_script("other.yaml", SCRIPT, SYMBOLS) == found  # the file's name is in no id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("halt: {}", "must be one list"),
        ("- {halt: {}}", "day.yaml:1: at is missing"),
        ("- {at: bar 1, halt: {}}\n- {at: bar 0, halt: {}}", "day.yaml:2: at: 'bar 0'"),
        ("- {at: soon, halt: {}}", "day.yaml:1: at: 'soon', must be a time"),
        ("- {at: 2024-07-01 10:00:00, halt: {}}", "must be a time such as"),
        ("- {at: bar 1}", "day.yaml:1: found nothing, must be exactly one of halt"),
        ("- {at: bar 1, halt: {}, resume: {}}", "found halt, resume"),
        ("- {at: bar 1, stop: {}}", "found stop"),
        ("- {at: bar 1, halt: {symbol: XOM}}", "halt: the recording does not hold XOM; it holds KO, PEP"),
        ("- {at: bar 1, halt: {ticker: KO}}", "halt: unknown field 'ticker', allowed are symbol, reason"),
        ("- {at: bar 1, halt: 5}", "halt: 5, must be an object"),
        ("- {at: bar 1, split: {symbol: KO, new_shares: 0, old_shares: 1}}", "must be at least 1"),
        ("- {at: bar 1, split: {symbol: KO}}", "split.new_shares: "),
        ("- {at: bar 1, dividend: {symbol: KO, usd_per_share: many}}", "dividend.usd_per_share: "),
        ("- {at: bar 1, manual_trade: {symbol: KO, side: hold, qty: 1}}", "manual_trade.side: "),
        ("- [1, 2]", "must be an object such as"),
    ],
)
def test_a_bad_script_is_refused_with_its_line(text, message):
    with pytest.raises(BadSetting, match=r"day\.yaml") as caught:
        parse_script("day.yaml", text, SYMBOLS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {"halt": None},
        {"at": "bar 3", "manual_trade": {"symbol": "KO", "side": "sell", "qty": 0.1}},
        {"at": "2024-07-01T13:32:00Z", "power_cut": {}},
        {"asset": {"symbol": "KO", "easy_to_borrow": False}},
        {"band": {"symbol": "KO", "low_usd": "59.50"}},
    ],
)
def test_a_directive_is_read_back_from_the_log_as_it_was(document):
    found = planned(document, "id", SYMBOLS)
    assert planned_of(found.document(), SYMBOLS) == found


def test_numbers_are_read_through_their_text():
    assert planned({"manual_trade": {"symbol": "KO", "side": "sell", "qty": 0.1}}, "id", SYMBOLS).directive == ManualTrade(
        symbol=KO, side=Side.SELL, qty=Decimal("0.1")
    )
    assert planned({"power_cut": None}, "id", SYMBOLS).directive == PowerCut(usd=None)
    assert planned({"asset": {"symbol": "KO", "shortable": False}}, "id", SYMBOLS).directive == AssetFlags(symbol=KO, shortable=False)


def scripted(*items, ticks=None, **more):
    script = tuple(planned(item, f"s{n}", SYMBOLS) for n, item in enumerate(items))
    return Bench(ticks or steady(), script=script, **more)


def test_a_time_lies_before_the_first_tick_that_is_not_before_it():
    """The trade of KO at 13:31:20 is the first that the halt stops."""
    bench = scripted({"at": "2024-07-01T13:31:20Z", "halt": {"symbol": "KO"}})
    bench.play(1)
    bench.order("filled")
    bench.paper.advance(bench.tape, bench.paper.place + 3)  # up to the trade at 13:31:10
    bench.order("halted")
    bench.play(2)
    assert [bench.record(name).status for name in ("filled", "halted")] == [Status.FILLED, Status.NEW]


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_when_a_directive_takes_effect_does_not_hang_on_the_blocks(block):
    bench = scripted({"at": "2024-07-01T13:31:25Z", "manual_trade": {"symbol": "KO", "side": "buy", "qty": 3}}, {"at": "bar 3", "halt": {}})
    for minute in (1, 2, 3):
        bench.play(minute, block=block)
    (fill,) = [a for _, a in bench.paper.book.activities(after_ns=0, until_ns=10**19)]
    assert (fill.event_ns, fill.price_usd) == (OPEN_NS + 85 * NS_PER_S, Decimal("60.08"))
    assert [(o.event_ns, type(o.directive)) for o in bench.paper.agenda.done] == [
        (OPEN_NS + 85 * NS_PER_S, ManualTrade),
        (OPEN_NS + 3 * MINUTE_NS, Halt),
    ]


def test_an_order_count_takes_effect_right_after_that_order():
    bench = scripted({"at": "order 2", "reject_next": {"message": "as told"}})
    bench.play(1)
    answers = [bench.order(name) for name in ("a", "b", "c", "d")]
    assert [getattr(answer, "message", "") for answer in answers] == ["", "", "as told", ""]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"at": "bar 1", "halt": {}}, "at: bar 1 has passed, the replay is at bar 2"),
        ({"at": "2024-07-01T13:30:00Z", "halt": {}}, "has passed"),
        ({"at": "order 1", "halt": {}}, "at: order 1 has passed"),
    ],
)
def test_what_has_passed_is_refused(document, message):
    bench = Bench(steady())
    bench.play(1)
    bench.order("a")
    bench.play(2)
    with pytest.raises(BadSetting, match=message):
        bench.paper.direct(planned(document, "id", SYMBOLS))
    assert bench.paper.agenda.waiting == []


def test_prices_from_before_a_split_are_told_in_new_shares():
    """Overnight nothing trades: the account is worth what it was, though the last trade was in old shares."""
    day = 86_400
    ticks = tape(SYMBOLS, rows((0, KO, 60.0), (10, PEP, 170.0), (20, KO, 60.0), (day, KO, 15.0)), GRID)
    bench = scripted({"at": "2024-07-02T08:00:00Z", "split": {"symbol": "KO", "new_shares": 4, "old_shares": 1}}, ticks=ticks)
    bench.paper.advance(ticks, 2)
    bench.order("a")
    bench.paper.advance(ticks, 3)
    bench.paper.reach(int(GRID.close_ns[0]))
    before = bench.paper.valued()
    bench.paper.reach(int(GRID.open_ns[1]) - 1)
    after = bench.paper.valued()
    assert after.holdings[KO].qty == 40
    assert (after.marks[KO], after.marks[KO] * 40) == (15, before.marks[KO] * 10)
    bench.paper.advance(ticks, 4)
    assert bench.paper.valued().marks[KO] == 15


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"halt": {"symbol": "KO", "reason": "T5"}}, [("statuses", "KO", "2", "T5")]),
        ({"halt": {}}, [("statuses", "KO", "2", "T1"), ("statuses", "PEP", "2", "T1")]),
        ({"resume": {"symbol": "KO"}}, [("statuses", "KO", "3", "")]),
        ({"power_cut": {}}, []),
    ],
)
def test_subscribers_of_market_data_are_told_of_halts(document, told):
    found = _messages(planned(document, "id", SYMBOLS).directive, SYMBOLS)
    assert [(channel, name, message["sc"], message["rm"]) for channel, name, message in found] == told


def test_bands_are_told_as_limits_up_and_down():
    ((channel, name, message),) = _messages(
        planned({"band": {"symbol": "KO", "low_usd": 59, "high_usd": "61.5"}}, "id", SYMBOLS).directive, SYMBOLS
    )
    assert (channel, name, message["T"], message["u"], message["d"]) == ("lulds", KO, "l", 61.5, 59.0)


def test_the_script_is_part_of_the_replays_identity():
    assert Bench(steady(), FREE).paper.id_parts == ()
    one, other = (scripted({"at": f"bar {n}", "halt": {}}).paper.id_parts for n in (1, 2))
    assert one != other


def test_a_symbol_is_told_to_trade_again_when_the_last_of_its_halts_is_over():
    """Its own and the market's overlap, whichever ends first."""
    told = []

    class Feed:
        def announce(self, announcement):
            told.append((announcement.symbol, announcement.document["sc"]))

    announcer = Announcer(Feed(), (KO, PEP))
    for directive in (Halt(symbol=KO), Halt(), Resume(symbol=KO), Resume(), Halt(), Halt(symbol=KO), Resume(), Resume(symbol=KO)):
        announcer.told(directive, 1)
        told.append("|")

    resumed = "3"
    assert [one if one == "|" else one[0] for one in told if one == "|" or one[1] == resumed] == [
        *("|", "|", "|", KO, PEP, "|", "|", "|", PEP, "|", KO, "|"),
    ]
