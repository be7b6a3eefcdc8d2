"""The intake: what each kind of message leads to, in which order it is published, and that nothing disappears without a word."""

from collections import Counter

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import KIND_STATUS, KIND_TRADE, STATUS_HALTED, Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor.frames import FRAME_TICKS, StampedFrame
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Duplicates, ReplayBegan, ResumeMissed, StampedHeartbeat, StreamError, Subscribed
from tandem.ingestor.trades import Parked, unpriced

NOW_NS = 1_764_000_000 * NS_PER_S
ROUTES = {SectorId("energy"): (Symbol("XOM"),), SectorId("staples"): (Symbol("KO"), Symbol("PEP"))}
REPLAY = {"T": "tandem.replay", "replay_id": "r1", "source": "recycled", "lockstep": True}


def trade(number: int, symbol: str = "KO", **changes: object) -> dict[str, object]:
    return {"T": "t", "S": symbol, "i": number, "p": 60.0, "s": 1, "t": NOW_NS + number, **changes}


def beat(watermark_ns: int, replay_id: str = "r1", **changes: object) -> dict[str, object]:
    fields = {"T": "tandem.heartbeat", "replay_id": replay_id, "watermark_ns": watermark_ns, "lockstep": True, "end_of_stream": False}
    return fields | changes


@pytest.fixture
def intake() -> Intake:
    """Of a replay that has begun."""
    made = Intake(Source.RECYCLED)
    made.route(ROUTES)
    made.take([REPLAY], NOW_NS)
    return made


def ids(outputs) -> list[int]:
    """Trade ids of all frames."""
    return [trade_id for out in outputs if isinstance(out, StampedFrame) for trade_id in out.frame.ticks["trade_id"].tolist()]


def reasons(outputs) -> list[str]:
    return [out.error.reason for out in outputs if isinstance(out, Parked)]


def test_a_heartbeat_is_published_after_all_ticks_and_to_every_sector(intake):
    assert intake.take([trade(1), trade(2, "PEP")], NOW_NS) == ()
    out = intake.take([beat(NOW_NS + 10)], NOW_NS + 77)

    assert [type(each) for each in out] == [StampedFrame, StampedHeartbeat, StampedHeartbeat]
    assert ids(out) == [1, 2]
    beats = [each for each in out if isinstance(each, StampedHeartbeat)]
    assert [(b.heartbeat.sector, b.heartbeat.watermark_ns, b.ingested_ns) for b in beats] == [
        ("energy", NOW_NS + 10, NOW_NS + 77),
        ("staples", NOW_NS + 10, NOW_NS + 77),
    ]
    assert all(b.heartbeat.lockstep and b.heartbeat.replay_id == "r1" and not b.heartbeat.end_of_stream for b in beats)


def test_ticks_and_heartbeats_of_one_payload_keep_their_order(intake):
    out = intake.take([trade(1), beat(NOW_NS + 2), trade(3), beat(NOW_NS + 4, end_of_stream=True)], NOW_NS)
    staples = [o for o in out if (o.frame if isinstance(o, StampedFrame) else o.heartbeat).sector == "staples"]
    assert [type(each) for each in staples] == [StampedFrame, StampedHeartbeat, StampedFrame, StampedHeartbeat]
    assert staples[-1].heartbeat.end_of_stream


def test_a_full_buffer_leaves_at_once(intake):
    out = intake.take([trade(number) for number in range(FRAME_TICKS + 1)], NOW_NS)
    assert ids(out) == list(range(FRAME_TICKS))
    assert ids(intake.drain()) == [FRAME_TICKS]


def test_a_repeated_payload_is_counted_and_left_out(intake):
    intake.take([trade(1), trade(2)], NOW_NS)
    assert intake.take([trade(1), trade(2), trade(3)], NOW_NS) == (Duplicates(count=2),)
    assert ids(intake.drain()) == [1, 2, 3]


def test_another_pass_of_a_replay_is_not_a_repetition(intake):
    intake.take([trade(1)], NOW_NS)
    out = intake.take([REPLAY | {"replay_id": "r2"}], NOW_NS)
    assert [type(each) for each in out] == [StampedFrame, ReplayBegan]
    assert out[0].frame.replay_id == "r1"

    intake.take([trade(1)], NOW_NS)
    assert [out.frame.replay_id for out in intake.drain()] == ["r2"]


def test_the_same_replay_announced_again_changes_nothing(intake):
    intake.take([trade(1)], NOW_NS)
    assert intake.take([REPLAY], NOW_NS) == ()
    assert ids(intake.drain()) == [1]


def test_a_subscription_and_an_error_are_passed_on(intake):
    out = intake.take(
        [{"T": "subscription", "trades": ["KO"], "quotes": []}, {"T": "error", "code": 405, "msg": "symbol limit exceeded"}], NOW_NS
    )
    assert out == (Subscribed(symbols=frozenset({"KO"})), StreamError(code=405, message="symbol limit exceeded"))


def test_an_error_is_told_in_few_words(intake):
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    out = intake.take([{"T": "error", "code": 500, "msg": "x" * 1_000_000}, {"T": "error", "code": 500, "msg": deep}], NOW_NS)
    assert max(len(each.message) for each in out) <= 200


PARKED = [
    (None, "message_malformed"),
    (17, "message_malformed"),
    (["T"], "message_malformed"),
    ({"no": "type"}, "message_malformed"),
    ({"T": 5}, "message_malformed"),
    ({"T": ["t"]}, "message_malformed"),
    ({"T": "b", "S": "KO"}, "type_unknown"),
    ({"T": "q", "S": "KO"}, "field_missing"),
    ({"T": "c", "S": "KO"}, "field_missing"),
    ({"T": "x", "S": "KO"}, "field_missing"),
    ({"T": "s", "S": "KO", "t": NOW_NS, "sc": "?"}, "status_unknown"),
    ({"T": "l", "S": "KO", "t": NOW_NS, "u": 9.0, "d": 10.0}, "band_crossed"),
    ({"T": "subscription", "trades": "KO"}, "field_invalid"),
    ({"T": "error", "code": "405"}, "field_invalid"),
    (beat("soon"), "field_invalid"),
    (beat(5, lockstep="yes"), "field_invalid"),
    (beat(5, replay_id="other"), "replay_unannounced"),
    (REPLAY | {"replay_id": ""}, "replay_malformed"),
    (REPLAY | {"replay_id": 4}, "replay_malformed"),
    (REPLAY | {"source": "live"}, "replay_malformed"),
    (trade(9, p=-1.0), "price_invalid"),
    (trade(9, "GM"), "symbol_unknown"),
]
CORRECTION = {"T": "c", "S": "KO", "t": NOW_NS, "oi": 1, "op": 60.0, "os": 1, "ci": 1, "cs": 1}
PARKED_AFTER_A_TRADE = [
    (trade(9, p=6_000.0), "price_jump"),
    (CORRECTION | {"cp": 6_000.0}, "price_jump"),
    (CORRECTION | {"cp": 0.5}, "price_jump"),
]


@pytest.mark.parametrize(("bad", "reason"), PARKED, ids=[f"{reason}-{i}" for i, (_, reason) in enumerate(PARKED)])
def test_a_bad_message_is_parked_and_its_neighbours_are_kept(intake, bad, reason):
    out = intake.take([trade(1), bad, trade(2)], NOW_NS)
    assert reasons(out) == [reason]
    assert [msgpack.unpackb(o.payload) for o in out if isinstance(o, Parked)] == [bad]
    assert ids(intake.drain()) == [1, 2]


@pytest.mark.parametrize(("bad", "reason"), PARKED_AFTER_A_TRADE)
def test_what_cannot_follow_a_trade_is_parked_and_its_neighbours_are_kept(intake, bad, reason):
    out = intake.take([trade(1), bad, trade(2)], NOW_NS)
    assert reasons(out) == [reason]
    assert ids(intake.drain()) == [1, 2]


def test_greetings_of_the_server_mean_nothing(intake):
    assert intake.take([{"T": "success", "msg": "authenticated"}], NOW_NS) == ()
    assert intake.take([], NOW_NS) == ()


def test_trades_before_the_replay_has_a_name_are_parked():
    intake = Intake(Source.RECYCLED)
    intake.route(ROUTES)
    assert reasons(intake.take([trade(1), trade(2)], NOW_NS)) == ["replay_unannounced"] * 2
    assert intake.drain() == ()


def test_a_replay_never_passes_for_a_live_feed():
    intake = Intake(Source.LIVE)
    intake.route(ROUTES)
    with pytest.raises(BadSetting, match="TANDEM_SOURCE is live"):
        intake.take([REPLAY], NOW_NS)


def test_a_live_feed_has_no_replay_and_its_heartbeats_are_ours():
    intake = Intake(Source.LIVE)
    intake.route(ROUTES)
    intake.take([trade(1)], NOW_NS)
    frame, *beats = intake.beat(NOW_NS - 2_000, NOW_NS)
    assert (frame.frame.source, frame.frame.replay_id) == (Source.LIVE, "")
    assert [(b.heartbeat.source, b.heartbeat.watermark_ns, b.heartbeat.lockstep) for b in beats] == [
        (Source.LIVE, NOW_NS - 2_000, False)
    ] * 2


def test_what_waits_leaves_before_the_routes_change(intake):
    intake.take([trade(1)], NOW_NS)
    assert ids(intake.route({SectorId("energy"): (Symbol("XOM"),)})) == [1]
    assert intake.take([trade(2)], NOW_NS) == ()  # was on its way when it was given up; not a fault
    assert ids(intake.drain()) == []


def test_the_last_event_time_is_known_for_a_gap(intake):
    intake.take([trade(5), trade(3)], NOW_NS)
    assert intake.last_event_ns == NOW_NS + 5


_GOOD = st.builds(trade, st.integers(0, 30), st.sampled_from(["KO", "PEP", "XOM"]))
_BAD = st.one_of(st.sampled_from([bad for bad, _ in PARKED]), st.builds(trade, st.integers(0, 9), st.just("GM")))


@settings(deadline=None)
@given(st.lists(st.lists(st.one_of(_GOOD, _BAD), max_size=10), max_size=6))
def test_every_message_is_in_a_frame_or_counted_as_a_duplicate_or_parked(payloads):
    """Conservation: the good ones are published exactly once for each key, the bad ones are all parked."""
    intake = Intake(Source.RECYCLED)
    intake.route(ROUTES)
    intake.take([REPLAY], NOW_NS)
    out = [o for payload in payloads for o in intake.take(payload, NOW_NS)]
    out += intake.drain()
    published: Counter[tuple[str, int]] = Counter()
    for each in out:
        if isinstance(each, StampedFrame):
            names = each.frame.symbols
            published.update((names[s], i) for s, i in zip(each.frame.ticks["symbol"], each.frame.ticks["trade_id"].tolist(), strict=True))
    bad = [bad for bad, _ in PARKED]
    good = Counter((m["S"], m["i"]) for payload in payloads for m in payload if m not in bad and m["S"] != "GM")
    assert published == Counter(dict.fromkeys(good, 1))
    assert sum(o.count for o in out if isinstance(o, Duplicates)) == sum(good.values()) - len(good)
    assert len(reasons(out)) == sum(map(len, payloads)) - sum(good.values())


def test_a_trade_that_sets_no_price_is_published_and_counted_by_its_reason(intake):
    """A price 100 times off is none of the symbol's, if the conditions say so: nothing is parked, nothing is lost."""
    intake.take([trade(1, c=["@"], z="C")], NOW_NS)
    out = intake.take([trade(2, c=["@", "4"], z="C", p=6000.0), trade(3, c=["@", "I"], z="C", p=61.0)], NOW_NS)
    frames = intake.drain()
    assert (reasons(out), ids(frames)) == ([], [1, 2, 3])
    assert frames[0].frame.ticks["flags"].tolist() == [0, 15, 6]
    assert unpriced(frames[0].frame.ticks) == [("odd_lot", 1), ("derivatively_priced", 1)]


def test_a_correction_to_a_price_that_nothing_uses_is_not_judged(intake):
    """The same price is refused where the corrected trade sets prices."""
    intake.take([trade(1)], NOW_NS)
    fix = {
        "T": "c",
        "S": "KO",
        "t": NOW_NS + 2,
        "x": "V",
        "oi": 1,
        "op": 60.0,
        "os": 1,
        "oc": ["@"],
        "ci": 1,
        "cp": 6000.0,
        "cs": 1,
        "z": "C",
    }
    assert reasons(intake.take([fix | {"cc": ["@", "4"]}], NOW_NS)) == []
    assert reasons(intake.take([fix | {"cc": ["@"]}], NOW_NS)) == ["price_jump"]
    assert [f.frame.ticks["flags"].tolist() for f in intake.drain()] == [[0, 15]]


@pytest.mark.parametrize(("source", "ends"), [(Source.LIVE, True), (Source.PAPER, True), (Source.RECYCLED, False)])
def test_a_halt_whose_end_was_lost_with_a_connection_ends_with_the_trades_that_follow(source, ends):
    """A replay brings statuses as surely as trades, and halts at its exchange what the recording goes on trading."""
    intake = Intake(source)
    intake.route(ROUTES)
    if source is Source.RECYCLED:
        intake.take([REPLAY], NOW_NS)
    intake.take([trade(1), {"T": "s", "S": "KO", "t": NOW_NS + 2, "sc": "H"}], NOW_NS)
    later_ns = NOW_NS + 400 * NS_PER_S
    out = intake.take([trade(3, t=later_ns)], later_ns)

    assert [o.symbol for o in out if isinstance(o, ResumeMissed)] == ["KO"] * ends
    (frame,) = intake.drain()
    assert frame.frame.ticks["kind"].tolist() == [KIND_TRADE, KIND_STATUS, *[KIND_STATUS] * ends, KIND_TRADE]
    assert frame.frame.ticks["flags"].tolist() == [0, STATUS_HALTED, *[0] * ends, 0]
    beats = [o for o in intake.beat(later_ns, later_ns) if isinstance(o, StampedHeartbeat)]
    assert {tuple(b.flags) for b in beats} == {() if ends else ("KO",)}
