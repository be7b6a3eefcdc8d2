"""The feed without sockets: whatever the blocks in which a replay goes on, each subscriber gets its part of one order, once."""

import asyncio

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from recorded_cases import MINUTE_NS, OPEN_NS, SECOND_NS, events, quotes, steady_trades
from tandem.adapters.calendar import session_grid
from tandem.adapters.tick_store import open_store
from tandem.recycler.encoding import Wire
from tandem.recycler.feed import CHANNELS, Announcement, Feed, Subscriber, refused
from tandem.recycler.history import History

KINDS = {"trades": "tcx", "quotes": "q", "bars": "b", "updatedBars": "u", "dailyBars": "d", "statuses": "s", "lulds": "l"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three minutes of two symbols with quotes, a halt, a band, a correction and a cancel."""
    folder = tmp_path_factory.mktemp("feed")
    book = [("KO" if n % 2 else "PEP", OPEN_NS + n * SECOND_NS, 10.0, 10.5) for n in range(0, 180, 3)]
    happened = [
        ("KO", OPEN_NS + 21 * SECOND_NS, "halt", {}),
        ("KO", OPEN_NS + 40 * SECOND_NS, "resume", {}),
        ("PEP", OPEN_NS + 42 * SECOND_NS, "band", {"low": 95.0, "high": 105.0}),
        ("KO", OPEN_NS + 75 * SECOND_NS, "correction", {"trade_id": 2, "price": 49.5, "size": 3}),
        ("PEP", OPEN_NS + 76 * SECOND_NS, "cancel", {"trade_id": 1}),
    ]
    files = [steady_trades(folder / "t.parquet"), quotes(folder / "q.parquet", book), events(folder / "e.parquet", happened)]
    return open_store(files, folder=folder)


class Client:
    """Remembers what it was sent."""

    def __init__(self, **channels):
        self.seen, self.was_dismissed = [], False
        self.subscriber = Subscriber(wire=Wire.MSGPACK, send=self.send, dismiss=self.dismiss)
        for channel, names in channels.items():
            self.subscriber.channels[channel] = set(names)

    async def send(self, payload):
        self.seen += msgpack.unpackb(payload)

    async def dismiss(self):
        self.was_dismissed = True


def feed_of(store, *clients, **options):
    grid = session_grid("1min", int(store.event_ns[0]), int(store.event_ns[-1]) + MINUTE_NS)
    feed = Feed(store, History(store, grid), **options)
    feed.subscribers += [client.subscriber for client in clients]
    feed.begin(0, int(store.event_ns[0]) - 1)
    return feed


async def play(feed, store, cuts=(), *, end_ns=OPEN_NS + 4 * MINUTE_NS):
    """The whole tape in blocks that end at these places, then a watermark."""
    start = 0
    for stop in [*sorted({feed.whole(cut) for cut in cuts if 0 < cut < len(store.event_ns)}), len(store.event_ns)]:
        if stop > start:
            await feed.send(start, stop, int(store.event_ns[stop - 1]))
            start = stop
    await feed.send(start, start, end_ns)


def told(messages):
    """What a message says; the average price is left out, as it is a quotient of sums."""
    return [{name: value for name, value in message.items() if name != "vw"} for message in messages]


@given(
    cuts=st.lists(st.integers(1, 250), max_size=30),
    channels=st.dictionaries(st.sampled_from(CHANNELS), st.sampled_from([["*"], ["KO"], ["PEP"], ["KO", "PEP"]]), min_size=1),
)
@settings(deadline=None, max_examples=80)
def test_each_gets_its_part_of_the_whole_in_its_order_whatever_the_blocks(store, cuts, channels):
    """Ticks, bars, updated bars and the running day."""
    everything, one = Client(**{channel: ["*"] for channel in CHANNELS}), Client(**channels)
    asyncio.run(play(feed_of(store, everything), store))
    asyncio.run(play(feed_of(store, one), store, cuts))

    wanted = {kind: set(names) for channel, names in channels.items() for kind in KINDS[channel]}
    expected = [m for m in everything.seen if "*" in (names := wanted.get(m["T"], set())) or m["S"] in names]
    assert told(one.seen) == told(expected)


def test_ticks_that_went_to_somebody_are_counted_once(store):
    first, second = Client(trades=["KO"]), Client(trades=["*"], quotes=["PEP"])
    feed = feed_of(store, first, second)
    asyncio.run(play(feed, store))
    ticks = store.data.ticks
    of_trades = np.isin(ticks["kind"], (1, 4, 5))
    assert feed.sent_by_symbol.tolist() == [
        int(np.sum(of_trades & (ticks["symbol"] == 0))),
        int(np.sum((of_trades | np.isin(ticks["kind"], (2, 3))) & (ticks["symbol"] == 1))),
    ]


def test_an_announcement_stands_at_its_time_among_the_ticks(store):
    client = Client(trades=["*"], statuses=["*"])
    feed = feed_of(store, client)
    document = {"T": "s", "S": "KO", "sc": "2", "sm": "Trading Halt", "rc": "", "rm": "", "z": ""}
    feed.announce(Announcement(channel="statuses", symbol="KO", event_ns=OPEN_NS + 100 * SECOND_NS, document=document))
    asyncio.run(play(feed, store))
    moments = [m["t"].to_unix_nano() for m in client.seen]
    assert moments == sorted(moments)
    assert sum(m["T"] == "s" for m in client.seen) == 3


def test_who_has_gone_or_takes_nothing_is_forgotten_and_the_others_get_everything(store):
    gone, slow, good = Client(trades=["*"]), Client(trades=["*"]), Client(trades=["*"])

    async def disconnected(_):
        raise WebSocketDisconnect(1006)

    async def stuck(_):
        await asyncio.Event().wait()

    gone.subscriber.send, slow.subscriber.send = disconnected, stuck
    feed = feed_of(store, gone, slow, good, send_limit_s=0.01)
    asyncio.run(play(feed, store))
    assert feed.subscribers == [good.subscriber]
    assert (gone.was_dismissed, slow.was_dismissed, good.was_dismissed) == (False, True, False)
    assert sum(m["T"] == "t" for m in good.seen) == 36


def test_what_the_recording_cannot_fill_is_refused_by_name(store, tmp_path):
    silent = feed_of(open_store([steady_trades(tmp_path / "t.parquet")], folder=tmp_path))
    assert list(refused({"trades": ["KO"], "quotes": ["*"], "statuses": ["*"]}, feed_of(store))) == []
    assert [code for code, _ in refused({"trades": ["XOM"], "quotes": ["KO"]}, silent)] == [405, 410]
    assert list(refused({"quotes": []}, silent)) == []
