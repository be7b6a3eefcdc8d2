"""The trade stream over real sockets: alpaca-py connects, subscribes and reconnects; payloads and losses come in order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from alpaca_server import Market, Session, scripted_market
from tandem.adapters.alpaca_market import MESSAGE_BYTES_MAX, Connected, Disconnected, Payload, StreamEvent, TradeStream, Unreadable
from tandem.domain.errors import BadSetting

STAMP = 1_763_999_999_123_456_789
_LIMIT_S = 120
TRADE = {"T": "t", "S": "KO", "i": 1, "p": 60.0, "s": 1, "t": STAMP}


def stream(url: str, events: "asyncio.Queue[StreamEvent]", *, mute_s_max: float | None = None, feed: str = "iex") -> TradeStream:
    made = TradeStream(
        events, key_id="key", secret_key="secret", feed=feed, url=url, mute_s_max=mute_s_max, expects_data=lambda: True, compress=False
    )
    made._reconnect_min_backoff = made._reconnect_max_backoff = 0.05  # alpaca-py waits 1 to 30 s, which a test need not
    return made


def collect(
    market: Market, until: Callable[[list[StreamEvent]], bool], *, mute_s_max: float | None = None, follow=("KO",)
) -> list[StreamEvent]:
    """Events until the condition holds. mute_s_max: for the first connection; a busy machine must not lose the next one, too."""

    async def run() -> list[StreamEvent]:
        events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        made = stream(market.url, events, mute_s_max=mute_s_max)
        await made.follow(follow)
        running = asyncio.create_task(made.run_until_stopped())
        seen: list[StreamEvent] = []
        async with asyncio.timeout(_LIMIT_S):
            while not until(seen):
                seen.append(await events.get())
                if isinstance(seen[-1], Disconnected):
                    made._data_timeout = None
            await made.stop_now()
            await running
        return seen

    return asyncio.run(run())


def payloads(events: list[StreamEvent], kind: str = "t") -> list[list[object]]:
    return [e.messages for e in events if isinstance(e, Payload) and e.messages and e.messages[0].get("T") == kind]


async def one_trade(session: Session) -> None:
    await session.send(TRADE)


def test_a_payload_arrives_whole_with_nanoseconds_after_connect_and_subscription():
    with scripted_market(one_trade) as market:
        events = collect(market, lambda seen: bool(payloads(seen)))
    assert [type(e) for e in events] == [Connected, Payload, Payload]
    assert payloads(events, "subscription")[0][0]["trades"] == ["KO"]
    assert payloads(events) == [[TRADE]]


def test_a_cut_connection_is_reported_and_made_again():
    async def script(session: Session) -> None:
        await session.send(TRADE | {"i": session.number})
        if session.number == 0:
            await session.drop()

    with scripted_market(script) as market:
        events = collect(market, lambda seen: len(payloads(seen)) == 2)
    kinds = [type(e) for e in events if not (isinstance(e, Payload) and e.messages[0]["T"] == "subscription")]
    assert kinds == [Connected, Payload, Disconnected, Connected, Payload]


def test_a_mute_socket_is_left():
    """Connected and answering pings, but no data: after the limit it counts as lost."""

    async def script(session: Session) -> None:
        if session.number == 1:
            await session.send(TRADE)

    with scripted_market(script) as market:
        events = collect(market, lambda seen: bool(payloads(seen)), mute_s_max=0.5)
    assert [e.reason for e in events if isinstance(e, Disconnected)] == ["no data for 0.5 s"]


@pytest.mark.parametrize(
    ("raw", "detail"),
    [("[]", "a text message"), (b"\xc1", "not msgpack"), (b"\x81\xa1a\x01", "a dict where a list")],
    ids=["text", "garbage", "map"],
)
def test_what_is_no_list_is_handed_over_as_unreadable_and_the_stream_goes_on(raw, detail):
    async def script(session: Session) -> None:
        await session.send_raw(raw)
        await session.send(TRADE)

    with scripted_market(script) as market:
        events = collect(market, lambda seen: bool(payloads(seen)))
    (bad,) = [e for e in events if isinstance(e, Unreadable)]
    assert bad.detail.startswith(detail)
    assert bad.payload == (raw.encode() if isinstance(raw, str) else raw)


@pytest.mark.parametrize("deaf", [False, True], ids=["the server says goodbye", "the server does not hear of it"])
def test_a_message_larger_than_is_taken_is_told_and_ends_the_connection_only(deaf):
    async def script(session: Session) -> None:
        if session.number == 0:
            if deaf:
                session.connection.transport.pause_reading()
            await session.send({"T": "zz", "zz": "z" * MESSAGE_BYTES_MAX})
        await session.send(TRADE)

    with scripted_market(script) as market:
        events = collect(market, lambda seen: bool(payloads(seen)))
    kinds = [type(e) for e in events if not (isinstance(e, Payload) and e.messages[0]["T"] == "subscription")]
    assert kinds == [Connected, Unreadable, Disconnected, Connected, Payload]
    (bad,) = [e for e in events if isinstance(e, Unreadable)]
    assert bad.detail == "a message of more than 1048576 bytes, which ends the connection"


@pytest.mark.parametrize(
    ("code", "reason"), [(402, "auth failed"), (404, "auth timeout"), (406, "connection limit exceeded"), (0, "something new")]
)
def test_a_refused_authentication_gives_its_reason_and_is_tried_again(code, reason):
    """Wrong keys, a second connection of the account: never a process that runs without data and without a word."""
    refusal = {"T": "error", "code": code, "msg": reason}
    with scripted_market(one_trade, greeting_error=refusal) as market:
        events = collect(market, lambda seen: len(seen) == 2)
    assert [(e.reason, e.code) for e in events if isinstance(e, Disconnected)] == [(f"cannot connect: {reason}", code)] * 2


def test_an_account_that_may_not_subscribe_ends_the_stream():
    """409: alpaca-py gives up for good; run_until_stopped returns without being asked to."""

    async def run(url: str) -> list[StreamEvent]:
        events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        made = stream(url, events)
        await made.follow(["KO"])
        async with asyncio.timeout(_LIMIT_S):
            await made.run_until_stopped()
        return [events.get_nowait() for _ in range(events.qsize())]

    with scripted_market(one_trade, greeting_error={"T": "error", "code": 409, "msg": "insufficient subscription"}) as market:
        events = asyncio.run(run(market.url))
    assert [e.reason for e in events if isinstance(e, Disconnected)] == ["cannot connect: insufficient subscription"]


def test_following_other_symbols_changes_the_subscription_while_connected():
    async def script(session: Session) -> None:
        await session.subscribed_to("PEP", "XOM")
        await session.send(TRADE)

    async def run(url: str) -> list[StreamEvent]:
        events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        made = stream(url, events)
        await made.follow(["KO", "PEP"])
        running = asyncio.create_task(made.run_until_stopped())
        seen: list[StreamEvent] = []
        async with asyncio.timeout(_LIMIT_S):
            while not payloads(seen, "subscription"):
                seen.append(await events.get())
            await made.follow(["PEP", "XOM"])
            while not payloads(seen):
                seen.append(await events.get())
            await made.stop_now()
            await running
        return seen

    with scripted_market(script) as market:
        events = asyncio.run(run(market.url))
    assert payloads(events, "subscription")[-1][0]["trades"] == ["PEP", "XOM"]


def test_a_server_that_is_away_is_reported():
    async def run() -> StreamEvent:
        events: asyncio.Queue[StreamEvent] = asyncio.Queue()
        made = stream("ws://127.0.0.1:9", events)
        await made.follow(["KO"])
        running = asyncio.create_task(made.run_until_stopped())
        async with asyncio.timeout(_LIMIT_S):
            event = await events.get()
            await made.stop_now()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        return event

    event = asyncio.run(run())
    assert isinstance(event, Disconnected)
    assert event.reason.startswith("cannot connect: ")


def test_an_unknown_feed_is_refused():
    with pytest.raises(BadSetting, match="iex and sip"):
        stream("ws://127.0.0.1:9", asyncio.Queue(), feed="opra")
