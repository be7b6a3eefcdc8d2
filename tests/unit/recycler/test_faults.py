"""Wire faults: read strictly, taken in their order and number, and each seen by a client as what it is told to be."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

import msgpack
import orjson
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Message

from tandem.domain.conditions import sale_flags
from tandem.domain.errors import BadSetting
from tandem.recycler.access import Keys
from tandem.recycler.faults import Armory, RestFault, StreamFault, faults_by_seed, faults_from, faults_of
from tandem.recycler.faults_stream import Closed, FaultySend, bad_messages
from tandem.recycler.faults_wire import FaultsApi, WireFaults

KEYS = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
TRADES = [{"T": "t", "S": "KO", "i": n, "p": 50.0 + n, "s": 100, "t": "2024-07-01T13:30:00Z"} for n in range(1, 6)]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"rest": "explode"}, "rest"),
        ({"stream": "drop", "count": 0}, "count"),
        ({"stream": "drop", "socket": "elsewhere"}, "socket"),
        ({"rest": "slow", "seconds": 1e9}, "seconds"),
        ({"rest": "torn", "unknown": 1}, "unknown"),
        ([{"rest": "torn"}, {"stream": "late", "seconds": -1}], "fault 2: seconds"),
        ("drop", "fault 1"),
        (None, "fault 1"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_place(document: Any, named: str) -> None:
    with pytest.raises(BadSetting, match=named):
        faults_of(document)


def test_faults_come_from_a_file_or_a_seed(tmp_path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("- {rest: lost_504, after: 2}\n- {stream: drop, socket: updates, count: 3}\n")
    assert faults_from(str(path)) == (RestFault(rest="lost_504", after=2), StreamFault(stream="drop", socket="updates", count=3))
    assert faults_from("seed:7") == faults_by_seed(7) != faults_by_seed(8)
    assert faults_from("") == ()
    for wrong in ("seed:x", str(tmp_path / "none.yaml")):
        with pytest.raises(BadSetting, match="--faults"):
            faults_from(wrong)


def test_a_fault_waits_for_what_it_fits_lets_some_pass_and_is_done_so_often() -> None:
    armory = Armory([RestFault(rest="torn", after=1, count=2), StreamFault(stream="drop", socket="updates")])
    asked = [("GET", "/v2/orders"), ("POST", "/v2/positions"), *[("POST", "/v2/orders")] * 4]
    assert [fault and fault.rest for fault in (armory.rest(*one) for one in asked)] == [None, None, None, "torn", "torn", None]
    assert armory.stream("market") is None
    assert armory.waits_for("updates")
    assert armory.stream("updates") == StreamFault(stream="drop", socket="updates")
    assert armory.waiting == ()
    assert armory.done == {"torn": 2, "drop": 1}


class Answer:
    """What a server would have written."""

    def __init__(self, messages: list[Message], seconds: float) -> None:
        self.seconds, self.status = seconds, messages[0]["status"]
        self.headers = {name.decode().lower(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    def json(self) -> Any:
        return orjson.loads(self.body)


class Client:
    """Requests to an application, without a server in between."""

    def __init__(self, app: WireFaults) -> None:
        self._app = app

    def __call__(self, method: str, path: str, body: Any = None, headers: dict[str, str] = KEYS) -> Answer:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        asked: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        told: list[Message] = []

        async def receive() -> Message:
            if asked:
                return asked.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            told.append(message)

        rows = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": rows}
        began_s = time.monotonic()
        asyncio.run(self._app({**scope, "http_version": "1.1", "root_path": "", "scheme": "http"}, receive, send))
        return Answer(told, time.monotonic() - began_s)


@pytest.fixture
def desk() -> tuple[Client, list[str]]:
    """An application that counts the orders that reach it, behind the middleware, and its client."""
    taken: list[str] = []

    async def order(request: Request) -> JSONResponse:
        taken.append((await request.json())["client_order_id"])
        return JSONResponse({"id": "1", "client_order_id": taken[-1]})

    armory = Armory()
    app = Starlette(routes=[Route("/v2/orders", order, methods=["POST"]), *FaultsApi(armory).routes(Keys())])
    return Client(WireFaults(app, armory)), taken


@pytest.mark.parametrize(
    ("rest", "reaches", "seen"),
    [
        ("lost_504", True, lambda a: a.status == 504),
        ("lost_502", True, lambda a: a.status == 502 and a.headers["content-type"].startswith("text/html")),
        ("refused_502", False, lambda a: a.status == 502 and b"<html>" in a.body),
        ("error_500", False, lambda a: a.status == 500 and a.json()["code"] == 50010000),
        ("limited", False, lambda a: a.status == 429 and a.headers["x-ratelimit-remaining"] == "0"),
        ("garbled", True, lambda a: a.status == 200 and not a.body.endswith(b"}")),
        ("empty", True, lambda a: a.status == 200 and a.json() == {}),
        ("torn", True, lambda a: int(a.headers["content-length"]) > len(a.body)),
        ("slow", True, lambda a: a.status == 200 and a.seconds > 0.05),
        ("hang", False, lambda a: int(a.headers["content-length"]) > len(a.body)),
    ],
)
def test_an_answer_is_wrong_as_told_and_the_order_is_taken_or_not(desk, rest: str, reaches: bool, seen: Callable[[Any], bool]) -> None:
    client, taken = desk
    assert client("POST", "/tandem/faults", {"rest": rest, "seconds": 0.1}).status == 200
    assert seen(client("POST", "/v2/orders", {"client_order_id": "a"}))
    assert taken == (["a"] if reaches else [])
    assert client("POST", "/v2/orders", {"client_order_id": "b"}).json()["client_order_id"] == "b", "one fault, one request"
    assert client("GET", "/tandem/faults").json() == {"waiting": [], "done": {rest: 1}}


def test_arming_is_guarded_checked_and_bounded(desk) -> None:
    client, _ = desk
    assert client("POST", "/tandem/faults", {"rest": "torn"}, headers={"APCA-API-KEY-ID": ""}).status == 401
    assert client("POST", "/tandem/faults", {"rest": "explode"}).status == 422
    assert client("POST", "/tandem/faults", b"{").status == 422
    assert client("POST", "/tandem/faults", [{"rest": "torn"}] * 1001).status == 422
    client("POST", "/tandem/faults", [{"rest": "torn"}] * 3)
    assert client("DELETE", "/tandem/faults").json()["waiting"] == []


def frames(fault: StreamFault, *contents: Any, pack: Callable[[Any], bytes] = msgpack.packb) -> tuple[list[Any], bool]:
    """What a client gets of these frames, and whether the stream was closed."""
    sent: list[Any] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def play() -> bool:
        faulty = FaultySend(send, Armory([fault]), fault.socket)
        for content in contents:
            try:
                await faulty({"type": "websocket.send", "bytes": pack(content)})
            except Closed:
                return True
        return False

    closed = asyncio.run(play())
    return sent, closed


def contents_of(sent: list[Any]) -> list[Any]:
    return [msgpack.unpackb(message["bytes"]) for message in sent if message["type"] == "websocket.send"]


BEAT = [{"T": "tandem.heartbeat", "watermark_ns": 1}]
FIRST, SECOND = TRADES[:2], TRADES[2:]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("drop", [BEAT, SECOND, BEAT]),
        ("duplicate", [BEAT, FIRST, FIRST, SECOND, BEAT]),
        ("swap", [BEAT, SECOND, FIRST, BEAT]),
        ("late", [BEAT, FIRST, SECOND, BEAT]),
    ],
)
def test_frames_of_data_come_as_told_and_what_steers_the_stream_as_ever(kind: str, expected: list[Any]) -> None:
    sent, closed = frames(StreamFault(stream=kind, seconds=0.01), BEAT, FIRST, SECOND, BEAT)
    assert contents_of(sent) == expected
    assert not closed


def test_nothing_overtakes_a_heartbeat() -> None:
    """A watermark says that everything before it was sent; a fault that broke that would be one of the recycler."""
    sent, _ = frames(StreamFault(stream="swap"), FIRST, BEAT, SECOND)
    assert contents_of(sent) == [FIRST, BEAT, SECOND]


def test_messages_change_their_order_within_a_frame() -> None:
    (changed,) = contents_of(frames(StreamFault(stream="shuffle"), TRADES)[0])
    assert changed != TRADES
    assert sorted(row["i"] for row in changed) == [row["i"] for row in TRADES]


def test_unknown_kinds_and_fields_come_with_the_known() -> None:
    (changed,) = contents_of(frames(StreamFault(stream="unknown"), TRADES)[0])
    assert [row["i"] for row in changed if row["T"] == "t"] == [row["i"] for row in TRADES]
    assert [row["T"] for row in changed if row["T"] != "t"] == ["zz"]


def test_bad_values_come_beside_the_good_ones_under_ids_of_their_own() -> None:
    (changed,) = contents_of(frames(StreamFault(stream="bad_values"), TRADES)[0])
    good = [row for row in changed if row in TRADES]
    assert good == TRADES
    assert len(changed) - len(good) == len(bad_messages(TRADES[0]))
    assert not {row.get("i") for row in changed if row not in TRADES} & {row["i"] for row in TRADES}


def test_a_trade_that_never_was_is_cancelled_in_the_same_frame() -> None:
    """Without the trade that the cancel names the frame tells what happened."""
    (changed,) = contents_of(frames(StreamFault(stream="bust"), TRADES)[0])
    cancel = changed[-1]
    assert cancel["T"] == "x"
    (never,) = [row for row in changed if row["T"] == "t" and row["i"] == cancel["i"]]
    assert (never["S"], never["p"], never["s"]) == (cancel["S"], cancel["p"], cancel["s"])
    assert [row for row in changed if row not in (never, cancel)] == TRADES


def test_a_trade_at_a_wrong_price_is_corrected_in_the_same_frame() -> None:
    """With the correction's price in the place of the wrong one the frame tells what happened."""
    (changed,) = contents_of(frames(StreamFault(stream="misprint"), TRADES)[0])
    *trades, correction = changed
    assert correction["T"] == "c"
    (wrong,) = [row for row in trades if row not in TRADES]
    assert (wrong["i"], wrong["p"]) == (correction["oi"], correction["op"])
    assert [row | {"p": correction["cp"]} if row is wrong else row for row in trades] == TRADES


@pytest.mark.parametrize("tape", ["A", "C", "", None])
def test_a_trade_at_a_wrong_price_comes_with_conditions_that_let_it_set_none(tape: str | None) -> None:
    """Under an id of its own after the right one, and by another condition for each trade; without them the frame tells what happened."""
    told = [row if tape is None else row | {"z": tape} for row in TRADES]
    (changed,) = contents_of(frames(StreamFault(stream="unpriced"), told)[0])
    odd = [row for row in changed if row not in told]
    assert [row for row in changed if row in told] == told
    assert [changed[place + 1] for place in range(0, len(changed), 2)] == odd
    assert all(sale_flags(row.get("z"), row["c"]) for row in odd)
    assert len({row["c"][-1] for row in odd}) == len(odd)
    assert not {row["i"] for row in odd} & {row["i"] for row in told}
    assert all(one["p"] != row["p"] for one, row in zip(odd, told, strict=True))


@pytest.mark.parametrize("kind", ["bust", "misprint", "unpriced"])
def test_a_frame_without_a_trade_and_an_update_have_no_print_that_could_be_wrong(kind: str) -> None:
    quote = [{"T": "q", "S": "KO", "bp": 1.0, "ap": 1.1, "t": "2024-07-01T13:30:00Z"}]
    assert contents_of(frames(StreamFault(stream=kind), quote)[0]) == [quote]
    update = {"stream": "trade_updates", "data": {"event": "fill", "order": {"id": "o"}}}
    assert contents_of(frames(StreamFault(stream=kind, socket="updates"), update)[0]) == [update]


@pytest.mark.parametrize(("kind", "length"), [("garbled", None), ("truncated", len(msgpack.packb(TRADES)) // 2)])
def test_bytes_that_are_no_message_come_before_the_frame(kind: str, length: int | None) -> None:
    (noise, frame), closed = frames(StreamFault(stream=kind), TRADES)
    assert noise["bytes"] != frame["bytes"]
    assert length in (None, len(noise["bytes"]))
    assert msgpack.unpackb(frame["bytes"]) == TRADES
    assert not closed


@pytest.mark.parametrize(
    ("on", "pack", "document"),
    [("market", msgpack.packb, TRADES), ("updates", orjson.dumps, {"stream": "trade_updates", "data": {"event": "fill", "order": {}}})],
)
def test_a_frame_that_no_client_takes_comes_before_the_frame(on: Literal["market", "updates"], pack: Any, document: Any) -> None:
    (large, frame), closed = frames(StreamFault(stream="oversized", socket=on), document, pack=pack)
    assert len(large["bytes"]) > 1_048_576  # where the websocket library ends the connection
    assert frame["bytes"] == pack(document)
    assert not closed


@pytest.mark.parametrize(
    ("kind", "code", "closes", "seen"), [("close", 0, True, 1), ("error", 405, False, 2), ("error", 406, True, 2), ("error", 407, True, 2)]
)
def test_errors_and_ends_of_a_stream(kind: str, code: int, closes: bool, seen: int) -> None:
    sent, closed = frames(StreamFault(stream=kind, code=code), TRADES)
    assert closed == closes
    assert len(sent) == seen
    if kind == "error":
        assert msgpack.unpackb(sent[0]["bytes"])[0] == {"T": "error", "code": code, "msg": "injected"}
    assert (sent[-1]["type"] == "websocket.close") == closes


def test_updates_are_touched_in_their_own_form() -> None:
    update = {"stream": "trade_updates", "data": {"event": "fill", "execution_id": "e", "price": "1", "qty": "2", "order": {"id": "o"}}}
    listening = {"stream": "listening", "data": {"streams": []}}
    sent, _ = frames(StreamFault(stream="bad_values", socket="updates"), listening, update, pack=orjson.dumps)
    told = [orjson.loads(message["bytes"]) for message in sent]
    assert told[0] == listening
    assert told[1]["data"]["price"] == "NaN"
    assert [
        orjson.loads(m["bytes"])["data"]["order"]["zz"]
        for m in frames(StreamFault(stream="unknown", socket="updates"), update, pack=orjson.dumps)[0]
    ] == [None]
