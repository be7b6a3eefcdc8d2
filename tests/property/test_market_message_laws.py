"""One wrong thing in any message of the market's stream or of history: it is parked, refused or harmless, and never ends the process."""

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.adapters.alpaca_market import Payload, unpacked
from tandem.adapters.codec import decode_tick_record, encode_frame, encode_heartbeat
from tandem.domain.errors import BadSetting
from tandem.domain.ids import SectorId, Symbol
from tandem.domain.market import Source, TickFrame
from tandem.ingestor.frames import StampedFrame
from tandem.ingestor.intake import Intake
from tandem.ingestor.outputs import Output, StampedHeartbeat

_NOW_NS = 1_720_000_000_000_000_000
_MOMENT = msgpack.Timestamp.from_unix_nano(_NOW_NS - 1)
_SAME = {"S": "KO", "t": _MOMENT, "z": "A"}
_TRADE = {"T": "t", "i": 1, "p": 50.1, "s": 100, "x": "V", "c": ["@"], **_SAME}
_MESSAGES: dict[str, dict[str, Any]] = {
    "trade": _TRADE,
    "quote": {"T": "q", "bp": 50.0, "bs": 1, "ap": 50.1, "as": 2, "bx": "V", "ax": "V", "c": ["R"], **_SAME},
    "correction": {"T": "c", "oi": 1, "op": 50.1, "os": 100, "ci": 3, "cp": 50.2, "cs": 100, **_SAME},
    "cancel": {"T": "x", "i": 1, "p": 50.1, "s": 100, "a": "C", **_SAME},
    "status": {"T": "s", "sc": "H", "sm": "Halt", "rc": "T1", "rm": "News", **_SAME},
    "band": {"T": "l", "u": 51.0, "d": 49.0, "i": "B", **_SAME},
    "error": {"T": "error", "code": 406, "msg": "connection limit exceeded"},
    "subscription": {"T": "subscription", "trades": ["KO"], "quotes": []},
    "heartbeat": {"T": "tandem.heartbeat", "replay_id": "r1", "watermark_ns": _NOW_NS, "lockstep": True, "end_of_stream": False},
    "replay": {"T": "tandem.replay", "replay_id": "r2", "source": "recycled", "lockstep": True, "start_ns": _NOW_NS},
}
_TIMES = st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=4) | st.binary(max_size=4) | _TIMES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _intake(source: Source) -> Intake:
    """One that follows KO and knows of which replay its stream is."""
    intake = Intake(source)
    intake.route({SectorId("consumer"): (Symbol("KO"), Symbol("PEP"))})
    if source is Source.RECYCLED:
        intake.take([_MESSAGES["replay"] | {"replay_id": "r1"}], _NOW_NS)
    return intake


def _published(outputs: tuple[Output, ...]) -> list[int]:
    """The trade ids in frames. Whatever goes to Kafka is what its readers take."""
    ids: list[int] = []
    for out in outputs:
        if isinstance(out, StampedFrame):
            frame = decode_tick_record(encode_frame(out.frame))
            assert isinstance(frame, TickFrame)
            ids.extend(frame.ticks["trade_id"].tolist())
        elif isinstance(out, StampedHeartbeat):
            assert decode_tick_record(encode_heartbeat(out.heartbeat)) == out.heartbeat
    return ids


@pytest.mark.parametrize("source", [Source.LIVE, Source.RECYCLED])
@pytest.mark.parametrize("name", sorted(_MESSAGES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_trades_beside_it_are_published(name: str, source: Source, data: st.DataObject) -> None:
    """Anything in any field, or nothing there; over the wire's own coding."""
    wrong = _with_one_wrong_thing(_MESSAGES[name], data)
    payload = unpacked(msgpack.packb([_TRADE | {"i": 8}, wrong, _TRADE | {"i": 9}]), _NOW_NS)
    assert isinstance(payload, Payload)
    intake = _intake(source)

    try:
        outputs = intake.take(payload.messages, _NOW_NS)
    except BadSetting:
        assert (name, source) == ("replay", Source.LIVE)  # a replay under the settings of a live feed ends the process on purpose
        return
    ids = _published((*outputs, *intake.drain()))

    assert [number for number in ids if number in (8, 9)] == [8, 9]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_the_trades_beside_it_are_taken_from_history(data: st.DataObject) -> None:
    """JSON has whole numbers of any length."""
    wrong = (
        _TRADE
        | {"t": _NOW_NS - 1}
        | {data.draw(st.sampled_from("tips")): data.draw(st.integers(-(2**90), 2**90) | st.just(2**1100) | st.text(max_size=3))}
    )
    intake = _intake(Source.LIVE)

    outputs = intake.fill([_TRADE | {"i": 8, "t": _NOW_NS - 1}, wrong, _TRADE | {"i": 9, "t": _NOW_NS - 1}], _NOW_NS)

    assert [number for number in _published((*outputs, *intake.drain())) if number in (8, 9)] == [8, 9]


def _with_one_wrong_thing(message: dict[str, Any], data: st.DataObject) -> Any:
    if data.draw(st.integers(0, 9)) == 0:
        return data.draw(_ANYTHING.filter(lambda each: not isinstance(each, msgpack.Timestamp)))
    field = data.draw(st.sampled_from(sorted(message)))
    if data.draw(st.booleans()):
        return {key: value for key, value in message.items() if key != field}
    return message | {field: data.draw(_ANYTHING)}
