"""Atheris on what reads the market's and the broker's bytes: `PYTHONPATH=tests python -m fuzz.wire CORPUS_FOLDER -runs=100000`

The first byte chooses the reader: M a frame of market data, through the ingestor's whole intake; U a trade update; O the body of an order
for the paper exchange; R a request on its stream; W a wire fault. Whatever the bytes, a reader answers, parks, or raises what it says that
it raises.
"""

from typing import Any

import atheris

from fuzz.corpus import fuzz

with atheris.instrument_imports(include=["tandem.ingestor", "tandem.adapters.alpaca_trade_stream", "tandem.recycler"]):
    import msgpack
    import orjson

    from tandem.adapters.alpaca_market import Payload, unpacked
    from tandem.adapters.alpaca_trade_stream import parse
    from tandem.adapters.codec import decode_tick_record, encode_frame
    from tandem.domain.errors import BadSetting
    from tandem.domain.ids import SectorId, Symbol
    from tandem.domain.market import Source
    from tandem.ingestor.frames import StampedFrame
    from tandem.ingestor.intake import Intake
    from tandem.recycler.access import Refusal
    from tandem.recycler.encoding import Wire, decode_request
    from tandem.recycler.faults import faults_of
    from tandem.recycler.order_body import order_body

_NOW_NS = 1_720_000_000_000_000_000


def one_input(data: bytes) -> None:
    """Read, and use what came out. Anything else that is raised is a finding."""
    body = data[1:]
    match data[:1]:
        case b"M":
            _market(body)
        case b"U":
            if (document := _json(body)) is not None:
                parse(document)
        case b"O":
            if isinstance(document := _json(body), dict):
                _order(document)
        case b"W":
            _fault(_json(body))
        case _:
            for wire in Wire:
                _request(wire, body)


def _market(body: bytes) -> None:
    payload = unpacked(body, _NOW_NS)
    if not isinstance(payload, Payload):
        return
    intake = Intake(Source.LIVE)
    intake.route({SectorId("consumer"): (Symbol("KO"), Symbol("PEP"))})
    try:
        outputs = (*intake.take(payload.messages, _NOW_NS), *intake.drain())
    except BadSetting:
        return  # the stream is a replay, the settings say that it is not
    for output in outputs:
        if isinstance(output, StampedFrame):
            decode_tick_record(encode_frame(output.frame))  # what reaches Kafka is what its readers take


def _order(document: dict[str, Any]) -> None:
    try:
        order_body(document)
    except Refusal:
        return


def _fault(document: Any) -> None:
    try:
        faults_of(document)
    except BadSetting:
        return


def _request(wire: Wire, body: bytes) -> None:
    try:
        decode_request(wire, body)
    except ValueError:
        return


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def seeds() -> dict[str, bytes]:
    """One of each kind, from which the fuzzer begins."""
    moment = msgpack.Timestamp.from_unix_nano(_NOW_NS - 1)
    same = {"S": "KO", "x": "V", "c": ["@"], "z": "A", "t": moment}
    trade = {"T": "t", "i": 1, "p": 50.1, "s": 100, **same}
    rows = [
        [trade, trade | {"i": 2, "S": "PEP"}],
        [{"T": "q", "bp": 50.0, "bs": 1, "ap": 50.1, "as": 2, "bx": "V", "ax": "V", **same}],
        [
            {"T": "c", "oi": 1, "op": 50.1, "os": 100, "ci": 3, "cp": 50.2, "cs": 100, **same},
            {"T": "x", "i": 2, "p": 1.0, "s": 1, "a": "C", **same},
        ],
        [{"T": "s", "sc": "H", "sm": "Halt", "rc": "T1", "rm": "News", **same}, {"T": "l", "u": 51.0, "d": 49.0, "i": "B", **same}],
        [{"T": "error", "code": 406, "msg": "connection limit exceeded"}],
        [{"T": "subscription", "trades": ["KO"], "quotes": []}],
    ]
    order = {
        "symbol": "KO",
        "qty": "10",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "limit_price": "50.1",
        "client_order_id": "a",
    }
    report = {"id": "o", "client_order_id": "a", "status": "filled", "symbol": "KO", "side": "buy", "qty": "10", "filled_qty": "10"}
    update = {"event": "fill", "execution_id": "e", "price": "50.1", "qty": "10", "timestamp": "2024-07-03T09:46:40Z", "order": report}
    return {
        **{f"market-{number}": b"M" + msgpack.packb(row) for number, row in enumerate(rows)},
        "update": b"U" + orjson.dumps({"stream": "trade_updates", "data": update}),
        "order": b"O" + orjson.dumps(order),
        "request": b"R" + orjson.dumps({"action": "subscribe", "trades": ["KO"]}),
        "fault": b"W" + orjson.dumps({"rest": "torn", "after": 1, "count": 2}),
    }


if __name__ == "__main__":
    fuzz(one_input, seeds())
