"""What `tandem deadletter show` says of a letter: whatever was parked can be looked at."""

import msgpack
import pytest

from tandem.adapters import topics
from tandem.adapters.deadletter import MARKET_DATA, Letter
from tandem.cli.deadletter import _content

TRADE = {"T": "t", "S": "KO", "p": 60.0}


def letter(payload: bytes, topic: str = MARKET_DATA) -> Letter:
    return Letter(
        offset=1, parked_ms=0, service="ingestor", topic=topic, reason="r", detail="d", payload=payload, payload_bytes=len(payload)
    )


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (msgpack.packb(TRADE), TRADE),
        (msgpack.packb(TRADE | {"p": float("nan")}), TRADE | {"p": None}),
        (msgpack.packb({7: 1}), None),
        (msgpack.packb(TRADE | {"x": msgpack.ExtType(5, b"a")}), TRADE | {"x": "ExtType(code=5, data=b'a')"}),
        (msgpack.packb(TRADE | {"x": b"\xff"}), TRADE | {"x": "b'\\xff'"}),
        (msgpack.packb({b"key": 1}), None),
        (b"\xc1", None),
        (b"", None),
    ],
    ids=["a trade", "NaN", "a number as key", "a type of their own", "bytes", "bytes as key", "no MessagePack", "nothing"],
)
def test_a_parked_message_can_be_looked_at(payload: bytes, content: object) -> None:
    assert _content(letter(payload)) == content


@pytest.mark.parametrize("topic", [topics.FORECASTS, topics.CONTROL, topics.ticks("staples"), "trade-updates"])
@pytest.mark.parametrize(
    ("payload", "content"),
    [(b"", None), (b"{", "{"), (b"\x00" * 40, None), (b'{"a": NaN}', '{"a": NaN}'), (b"[" * 9_000, "[" * 2_000)],
    ids=["nothing", "half", "zeros", "NaN", "very deep"],
)
def test_a_parked_record_of_any_topic_can_be_looked_at(topic: str, payload: bytes, content: str | None) -> None:
    assert _content(letter(payload, topic)) == content
