"""The intake: what each kind of message leads to, in which order it is published, and that nothing disappears without a word."""

from collections import Counter

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.units import NS_PER_S
from tandem.ingestor.frames import FRAME_TICKS, StampedFrame
from tandem.ingestor.intake import Duplicates, Intake, ReplayBegan, StampedHeartbeat, StreamError, Subscribed
from tandem.ingestor.trades import Parked

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


PARKED = [
    (None, "message_malformed"),
    (17, "message_malformed"),
    (["T"], "message_malformed"),
    ({"no": "type"}, "message_malformed"),
    ({"T": 5}, "message_malformed"),
    ({"T": ["t"]}, "message_malformed"),
    ({"T": "q", "S": "KO"}, "type_unknown"),
    ({"T": "c", "S": "KO"}, "correction_not_applied"),
    ({"T": "x", "S": "KO"}, "correction_not_applied"),
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


@pytest.mark.parametrize(("bad", "reason"), PARKED, ids=[f"{reason}-{i}" for i, (_, reason) in enumerate(PARKED)])
def test_a_bad_message_is_parked_and_its_neighbours_are_kept(intake, bad, reason):
    out = intake.take([trade(1), bad, trade(2)], NOW_NS)
    assert reasons(out) == [reason]
    assert [msgpack.unpackb(o.payload) for o in out if isinstance(o, Parked)] == [bad]
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
    assert reasons(intake.take([trade(2)], NOW_NS)) == ["symbol_unknown"]


def test_the_last_event_time_is_known_for_a_gap(intake):
    intake.take([trade(5), trade(3)], NOW_NS)
    assert intake.last_event_ns == NOW_NS + 5


_GOOD = st.builds(trade, st.integers(0, 30), st.sampled_from(["KO", "PEP", "XOM"]))
_BAD = st.one_of(st.sampled_from([bad for bad, _ in PARKED]), st.builds(trade, st.integers(0, 9), st.just("GM")))


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
