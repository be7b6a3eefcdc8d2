"""The recycler's market data against the unmodified StockDataStream: trades and bars, subscriptions, errors, modes and lockstep."""

import itertools
import threading

import msgpack
import numpy as np
import orjson
import pytest
import requests
from alpaca.data.live import StockDataStream
from alpaca.data.models import Bar, Trade
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from recorded_cases import DAY_NS, MINUTE_NS, OPEN_NS, closes, shared_data, steady_trades, times, trades, write
from recycler_server import HEADERS, LIMIT_S, MarketListener, running, serving, wait_until
from tandem.adapters.market_file import load_market_data
from tandem.flow.replay import Mode


@pytest.fixture
def data(tmp_path):
    """KO and PEP, a trade each ten seconds, for three minutes."""
    return steady_trades(tmp_path / "trades.parquet")


async def ignore(_):
    pass


def listen(server, *symbols, bars=(), **options):
    listener = MarketListener(server, raw_data=True, **options)
    if symbols:
        listener.stream.subscribe_trades(ignore, *symbols)
    if bars:
        listener.stream.subscribe_bars(ignore, *bars)
    return listener


def test_parsed_trades_arrive_complete_and_in_order(data):
    found = []

    async def remember(trade):
        found.append(trade)

    with serving(data) as server:
        listener = MarketListener(server)
        listener.stream.subscribe_trades(remember, "KO", "PEP")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    expected = load_market_data(data)
    assert all(isinstance(trade, Trade) for trade in found)
    assert [(t.symbol, t.id, t.price, t.size) for t in found] == [
        (expected.symbols[t["symbol"]], int(t["trade_id"]), float(t["price"]), float(t["size"])) for t in expected.ticks
    ]
    assert [t.timestamp.timestamp() for t in found] == pytest.approx((expected.ticks["event_ns"] / 1e9).tolist(), abs=1e-6)


def test_raw_trades_keep_nanoseconds(data):
    with serving(data) as server:
        listener = listen(server, "*")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    assert [m["t"].to_unix_nano() for m in listener.of("t")] == load_market_data(data).ticks["event_ns"].tolist()


def test_every_tick_is_before_the_heartbeat_of_its_bar_and_the_end_is_said_last(data):
    with serving(data, lockstep=True) as server:
        listener = listen(server, "KO", "PEP")
        with running(listener.stream):
            status = server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    hello = {"T": "tandem.replay", "replay_id": status["replay_id"], "source": "recycled", "lockstep": True}
    hello["start_ns"] = listener.of("t")[0]["t"].to_unix_nano()
    assert listener.of("tandem.replay") == [hello, hello]  # at the subscription, and when the replay begins
    watermark_ns = 0
    for message in listener.messages:
        if message["T"] == "tandem.heartbeat":
            assert message["watermark_ns"] > watermark_ns
            watermark_ns = message["watermark_ns"]
        elif message["T"] == "t":
            assert message["t"].to_unix_nano() >= watermark_ns
    beats = [(m["watermark_ns"] - OPEN_NS, m["end_of_stream"]) for m in listener.of("tandem.heartbeat")]
    assert beats == [(MINUTE_NS, False), (2 * MINUTE_NS, False), (3 * MINUTE_NS, False), (3 * MINUTE_NS + 1, True)]
    assert listener.messages[-1]["end_of_stream"] is True


def test_minute_bars_come_after_their_last_trade_and_hold_the_trades(data):
    parsed = []

    async def remember(bar):
        parsed.append(bar)

    with serving(data) as server:
        listener = MarketListener(server)
        listener.stream.subscribe_trades(ignore, "KO")
        listener.stream.subscribe_bars(remember, "KO", "PEP")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    recorded = load_market_data(data)
    ticks = recorded.ticks[recorded.ticks["symbol"] == 0]
    bars = [bar for bar in parsed if bar.symbol == "KO"]
    assert all(isinstance(bar, Bar) for bar in bars)
    for minute, bar in enumerate(bars):
        inside = ticks[(ticks["event_ns"] - OPEN_NS) // MINUTE_NS == minute]
        assert bar.timestamp.timestamp() == (OPEN_NS + minute * MINUTE_NS) / 1e9
        assert (bar.open, bar.high, bar.low, bar.close) == (
            inside["price"][0],
            inside["price"].max(),
            inside["price"].min(),
            inside["price"][-1],
        )
        assert (bar.volume, bar.trade_count) == (inside["size"].sum(), len(inside))
    assert len(bars) == 3
    seen = [m for m in listener.messages if m["T"] in {"t", "b"} and m["S"] == "KO"]
    assert [m["T"] for m in seen] == (["t"] * 6 + ["b"]) * 3


def test_a_file_of_bars_is_sent_as_its_own_bars_with_their_open_high_and_low(tmp_path):
    columns = {"open": [10.0, 11.0], "high": [12.0, 13.0], "low": [9.0, 8.0], "close": [11.0, 12.5], "volume": [700, 0]}
    path = write(tmp_path / "b.parquet", symbol=["KO"] * 2, ts=times([OPEN_NS, OPEN_NS + 5 * MINUTE_NS]), **columns)
    with serving(path, bar="5min") as server:
        listener = listen(server, "KO", bars=["*"])
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    bars = [(m["t"].to_unix_nano() - OPEN_NS, m["o"], m["h"], m["l"], m["c"], m["v"], m["n"]) for m in listener.of("b")]
    assert bars == [(0, 10.0, 12.0, 9.0, 11.0, 700, None), (5 * MINUTE_NS, 11.0, 13.0, 8.0, 12.5, 0, None)]
    assert [(m["p"], m["s"]) for m in listener.of("t")] == [(11.0, 700), (12.5, 1)]


def test_subscriptions_add_up_and_every_reply_holds_the_full_lists(data):
    with serving(data) as server:
        listener = listen(server, "KO")
        with running(listener.stream):
            wait_until(lambda: len(listener.of("subscription")) == 1, "the first reply")
            listener.stream.subscribe_trades(ignore, "PEP")
            wait_until(lambda: len(listener.of("subscription")) == 2, "the second reply")
            listener.stream.unsubscribe_trades("KO")
            wait_until(lambda: len(listener.of("subscription")) == 3, "the third reply")
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    assert [m["trades"] for m in listener.of("subscription")] == [["KO"], ["KO", "PEP"], ["PEP"]]
    assert listener.of("subscription")[1]["corrections"] == ["KO", "PEP"]
    assert {m["S"] for m in listener.of("t")} == {"PEP"}


def test_a_symbol_that_is_not_recorded_is_refused_by_name_and_the_others_go_on(data):
    with serving(data) as server:
        listener = listen(server, "KO", "XOM")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    (error,) = listener.of("error")
    assert error["code"] == 405
    assert "holds no XOM" in error["msg"]
    assert listener.of("subscription")[0]["trades"] == ["KO"]
    assert {m["S"] for m in listener.of("t")} == {"KO"}


def test_a_subscription_larger_than_a_frame_is_put_together(tmp_path):
    """alpaca-py cuts a subscribe of more than 32768 bytes into fragments of one message."""
    names = ["".join(letters) for letters in itertools.islice(itertools.product("ABCDEFGHIJKLMNOP", repeat=8), 4_000)]
    path = trades(tmp_path / "wide.parquet", [(name, OPEN_NS + 1, 10.0, 1) for name in names])
    with serving(path) as server:
        listener = listen(server, *names)
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")

    assert len(listener.of("subscription")[0]["trades"]) == 4_000
    assert sorted(m["S"] for m in listener.of("t")) == names


class Raw:
    """A market-data socket without a client library: JSON unless told to speak MessagePack."""

    def __init__(self, server, *, feed="iex", packed=False):
        headers = {"Content-Type": "application/msgpack"} if packed else {}
        self.pack, self.unpack = (msgpack.packb, msgpack.unpackb) if packed else (lambda m: orjson.dumps(m).decode(), orjson.loads)
        self.socket = connect(f"{server.ws}/v2/{feed}", additional_headers=headers)
        self.hello = self.recv()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, **message):
        self.socket.send(self.pack(message))

    def recv(self):
        return self.unpack(self.socket.recv(LIMIT_S))

    def auth(self, key="k", secret="s"):
        self.send(action="auth", key=key, secret=secret)
        return self.recv()


def error(code, text):
    return [{"T": "error", "code": code, "msg": text}]


@pytest.mark.parametrize("packed", [False, True])
def test_the_handshake_is_alpacas_in_both_forms(data, packed):
    with serving(data) as server, Raw(server, packed=packed) as raw:
        assert raw.hello == [{"T": "success", "msg": "connected"}]
        assert raw.auth() == [{"T": "success", "msg": "authenticated"}]
        raw.send(action="subscribe", trades=["KO"], bars=["*"])
        expected = {"trades": ["KO"], "bars": ["*"], "corrections": ["KO"], "cancelErrors": ["KO"]}
        assert raw.recv() == [
            {"T": "subscription", "quotes": [], "updatedBars": [], "dailyBars": [], "statuses": [], "lulds": [], **expected}
        ]


def test_trades_in_json_are_sent_as_text_with_nanoseconds(data):
    with serving(data) as server, Raw(server) as raw:
        raw.auth()
        raw.send(action="subscribe", trades=["*"])
        server.button("start")
        seen = []
        while not any(m.get("end_of_stream") for m in seen):
            seen += raw.recv()
    first = next(m for m in seen if m["T"] == "t")
    assert first["t"] == "2024-07-01T13:30:05.000000000Z"
    assert len([m for m in seen if m["T"] == "t"]) == 36


def test_what_a_client_does_wrong_is_answered_with_alpacas_code(data):
    with serving(data) as server, Raw(server) as raw:
        raw.send(action="subscribe", trades=["KO"])
        assert raw.recv() == error(401, "not authenticated")
        raw.socket.send("{")
        assert raw.recv() == error(400, "invalid syntax")
        raw.auth()
        assert raw.auth() == error(403, "already authenticated")
        for wrong in ({"action": "dance"}, {"action": "subscribe", "trades": "KO"}, {"action": "subscribe", "prices": ["KO"]}):
            raw.send(**wrong)
            assert raw.recv() == error(400, "invalid syntax")
        raw.send(action="subscribe", quotes=["KO"])
        assert raw.recv() == error(410, "invalid subscribe action for this feed: the recording holds no quotes")


@pytest.mark.parametrize(("key", "secret"), [("", "s"), ("k", ""), ("other", "s"), ("k", "other")])
def test_wrong_keys_are_refused_and_the_connection_is_closed(data, key, secret):
    with serving(data, key="k", secret="s") as server, Raw(server) as raw:
        assert raw.auth(key, secret) == error(402, "auth failed")
        with pytest.raises(ConnectionClosed):
            raw.recv()


def test_an_unknown_feed_ends_the_clients_run(data):
    with serving(data) as server:
        listener = listen(server, "KO", feed="otc")
        listener.stream.run()  # returns by itself: alpaca-py gives up on "insufficient subscription"
        with Raw(server, feed="otc") as raw:
            assert raw.auth() == error(409, "insufficient subscription")


def test_too_many_connections_are_refused(data):
    with serving(data, connections_max=1) as server, Raw(server) as first, Raw(server) as second:
        first.auth()
        assert second.auth() == error(406, "connection limit exceeded")


def test_who_does_not_authenticate_in_time_is_sent_away(data):
    with serving(data, auth_limit_s=0.05) as server, Raw(server) as raw:
        assert raw.recv() == error(404, "auth timeout")


def test_a_client_that_leaves_in_the_middle_does_not_stop_the_replay(data):
    with serving(data) as server:
        raw = Raw(server)
        raw.auth()
        raw.send(action="subscribe", trades=["*"])
        raw.socket.close()
        server.button("start")
        assert server.until(state="ended")["ticks_replayed"] == 36


def standing(server):
    """Whether the replay has not moved for many answers in a row, each of which let it go on if it could."""
    places = []

    def has_stopped():
        places.append(server.status()["ticks_replayed"])
        return len(places) > 20 and len(set(places[-20:])) == 1

    return has_stopped


def trade_ids(raw, count):
    """The ids of the next so many trades."""
    ids = []
    while len(ids) < count:
        ids += [message["i"] for message in raw.recv() if message["T"] == "t"]
    return ids


def test_a_slow_client_holds_the_replay_up_and_misses_nothing(tmp_path):
    """More trades than all buffers on the way hold, to a client that does not read until the replay has come to a stop."""
    count = 300_000
    ticks = write(
        tmp_path / "many.parquet",
        symbol=["KO"] * count,
        ts=times(OPEN_NS + np.arange(count) * 1_000_000),
        price=[50.0] * count,
        size=[1] * count,
    )
    with serving(ticks) as server, Raw(server, packed=True) as raw:
        raw.auth()
        raw.send(action="subscribe", trades=["KO"])
        server.button("start")
        wait_until(standing(server), "the replay to stand still")
        assert 0 < server.status()["ticks_replayed"] < count
        ids = trade_ids(raw, count)
        assert server.until(state="ended")["ticks_sent"] == count
    assert ids == list(range(1, count + 1))


def test_who_subscribes_while_others_are_being_sent_a_block_finds_in_the_rest_what_it_was_too_late_for(tmp_path):
    """The replay stands in the midst of a block, because a client does not read: stream and REST together have no hole."""
    count = 300_000
    ts = times(OPEN_NS + np.arange(count) * 1_000_000)
    ticks = write(tmp_path / "many.parquet", symbol=["KO"] * count, ts=ts, price=[50.0] * count, size=[1] * count)
    with serving(ticks) as server, Raw(server, packed=True) as slow, Raw(server, packed=True) as late:
        slow.auth()
        slow.send(action="subscribe", trades=["KO"])
        server.button("start")
        wait_until(standing(server), "the replay to stand still")
        late.auth()
        late.send(action="subscribe", trades=["KO"])
        assert late.recv()[0]["T"] == "subscription"
        page = {"symbols": "KO", "limit": 1, "sort": "desc", "start": "2024-07-01"}
        known = server.get("/v2/stocks/trades", **page)["trades"]["KO"][0]["i"]
        reader = threading.Thread(target=lambda: trade_ids(slow, count))
        reader.start()
        seen = []
        while not seen:
            seen = [message["i"] for message in late.recv() if message["T"] == "t"]
        trade_ids(late, count - seen[-1])
        reader.join(LIMIT_S)
    assert seen[0] <= known + 1


def test_start_on_subscribe_waits_for_the_first_subscription(data):
    with serving(data, hold=False, start_on_subscribe=True) as server:
        assert server.status()["state"] == "held"
        listener = listen(server, "KO", "PEP")
        with running(listener.stream):
            wait_until(lambda: listener.has_ended, "the end of the stream")
        assert len(listener.of("t")) == 36


def test_without_hold_the_replay_starts_at_once(data):
    with serving(data, hold=False) as server:
        status = server.until(state="ended")
        assert (status["ticks_replayed"], status["ticks_sent"], status["progress"]) == (36, 0, 1.0)


def test_where_the_replay_is_counts_what_was_sent_to_somebody(data):
    with serving(data) as server:
        held = server.status()
        assert (held["state"], held["ticks_total"], held["watermark_ns"], held["bars_total"]) == ("held", 36, 0, 3)
        listener = listen(server, "KO")
        with running(listener.stream):
            server.button("start")
            status = server.until(state="ended")
    assert (status["ticks_sent"], status["ticks_by_symbol"], status["ticks_replayed"]) == (18, {"KO": 18, "PEP": 0}, 36)
    assert (status["bars"], status["speed"], status["mode"]) == (3, "max", "single_pass")


def test_step_mode_plays_one_bar_at_a_time(data):
    with serving(data, mode=Mode.STEP, hold=False) as server:
        assert server.until(state="paused")["ticks_replayed"] == 12
        server.button("step", bars=1)
        assert server.until(state="paused", bars=2)["ticks_replayed"] == 24
        server.button("step", bars=2)
        assert server.until(state="ended")["ticks_replayed"] == 36


def test_loop_mode_replays_everything_again_under_another_id(data):
    with serving(data, mode=Mode.LOOP) as server:
        listener = listen(server, "*")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: sum(m.get("end_of_stream", False) for m in listener.messages) >= 3, "three passes")
        ids = list(dict.fromkeys(m["replay_id"] for m in listener.of("tandem.replay")))

    assert len(ids) >= 3
    ends = [place for place, m in enumerate(listener.messages) if m.get("end_of_stream")]
    passes = [listener.messages[start:end] for start, end in itertools.pairwise([0, *ends[:3]])]
    counts = [[m["t"].to_unix_nano() for m in one if m["T"] == "t"] for one in passes]
    assert counts[0] == counts[1] == counts[2]
    assert len(counts[0]) == 36


def test_a_date_range_replays_its_days_only(tmp_path):
    days = [np.datetime64("2024-07-01") + n for n in range(3)]
    path = closes(tmp_path / "c.parquet", [day.item() for day in days], KO=[60.0, 61.0, 62.0])
    with serving(path, mode=Mode.DATE_RANGE, bar="1d", from_ns=OPEN_NS + DAY_NS, to_ns=OPEN_NS + 2 * DAY_NS) as server:
        listener = listen(server, "KO")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")
    assert [m["p"] for m in listener.of("t")] == [61.0]


def test_seeking_begins_a_new_replay_at_the_bar_after_a_time(data):
    with serving(data) as server:
        listener = listen(server, "*")
        with running(listener.stream):
            server.button("start")
            wait_until(lambda: listener.has_ended, "the end of the stream")
            first = server.status()["replay_id"]
            listener.messages.clear()
            server.button("seek", to="2024-07-01T13:32:00Z")
            wait_until(lambda: listener.has_ended, "the end of the stream")
        again = server.status()["replay_id"]

    assert first != again
    assert [m["replay_id"] for m in listener.of("tandem.replay")] == [again]
    assert min(m["t"].to_unix_nano() for m in listener.of("t")) >= OPEN_NS + 2 * MINUTE_NS
    assert len(listener.of("t")) == 12


def test_a_paced_replay_keeps_its_speed_can_be_paused_and_hurried(data):
    with serving(data, speed=0.001) as server:
        server.button("start")
        # The first trade is due at once, the second, of PEP, a nanosecond later, the third after 10 s of market time.
        assert server.until(ticks_replayed=2)["state"] == "running"
        assert server.button("pause")["state"] == "paused"
        server.button("speed", speed="max")
        assert server.status()["ticks_replayed"] == 2
        server.button("resume")
        assert server.until(state="ended")["ticks_replayed"] == 36


def test_lockstep_waits_at_every_bar_for_every_participant(data):
    with serving(data, lockstep=True, participants=("portfolio",)) as server:
        server.button("participants", name="audit")
        listener = listen(server, "*")
        with running(listener.stream):
            server.button("start")
            for minute in (1, 2, 3):
                watermark_ns = OPEN_NS + minute * MINUTE_NS
                status = server.until(state="waiting", watermark_ns=watermark_ns)
                assert status["waiting_for"] == ["portfolio", "audit"]
                assert status["ticks_replayed"] == 12 * minute
                assert server.button("ack", name="audit", watermark_ns=watermark_ns)["waiting_for"] == ["portfolio"]
                server.button("ack", name="portfolio", watermark_ns=watermark_ns)
            assert server.until(state="ended")["waiting_for"] == []


def test_a_late_participant_is_named_and_still_waited_for(data):
    with serving(data, lockstep=True, participants=("portfolio",), ack_limit_s=0.05) as server:
        server.button("start")
        assert server.until(late=["portfolio"])["state"] == "waiting"
        metrics = requests.get(f"{server.http}/metrics", timeout=LIMIT_S).text
        assert 'tandem_recycler_participant_late{participant="portfolio"} 1.0' in metrics

        requests.delete(f"{server.http}/tandem/v1/replay/participants/portfolio", headers=HEADERS, timeout=LIMIT_S)
        assert server.until(state="ended")["late"] == []


def test_who_subscribes_while_the_replay_waits_is_told_where_it_is(data):
    with serving(data, lockstep=True, participants=("portfolio",)) as server:
        server.button("start")
        server.until(state="waiting")
        listener = listen(server, "*")
        with running(listener.stream):
            beat = wait_until(lambda: listener.of("tandem.heartbeat"), "the heartbeat that has passed")[0]
        assert (beat["watermark_ns"], beat["end_of_stream"]) == (OPEN_NS + MINUTE_NS, False)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("ack", {"name": "nobody", "watermark_ns": 1}, 404),
        ("ack", {"name": "nobody", "watermark_ns": "1"}, 422),
        ("ack", {"name": "nobody", "watermark_ns": 1, "replay_id": 1}, 422),
        ("participants", {"name": ""}, 422),
        ("seek", {"to": "tomorrow"}, 422),
        ("speed", {"speed": 0}, 422),
        ("step", {"bars": 0}, 422),
    ],
)
def test_a_wrong_button_is_refused(data, path, body, status):
    with serving(data) as server:
        assert server.post(f"/tandem/v1/replay/{path}", body).status_code == status


def test_health_and_metrics_need_no_keys(data):
    with serving(data) as server:
        assert requests.get(f"{server.http}/livez", timeout=LIMIT_S).text == "ok"
        assert requests.get(f"{server.http}/readyz", timeout=LIMIT_S).json() == {"ready": True, "reason": None}
        assert requests.get(f"{server.http}/tandem/v1/replay", timeout=LIMIT_S).status_code == 401


def test_half_a_million_recorded_trades_arrive_complete_when_the_shared_file_is_there():
    """All trades of AIG and BAC in three days, each exactly once and in order, through alpaca-py's client."""
    path = shared_data("ticks_trades_2013-10-07_09.parquet")
    ids, event_ns = [], []

    async def remember(trade):
        ids.append(trade["i"])
        event_ns.append(trade["t"].to_unix_nano())

    with serving(path, start_on_subscribe=True, hold=False) as server:
        stream = StockDataStream("key", "secret", raw_data=True, url_override=f"{server.ws}/v2/iex")
        stream.subscribe_trades(remember, "AIG", "BAC")
        with running(stream):
            status = server.until(state="ended")
            wait_until(lambda: len(ids) >= status["ticks_sent"], "the last trade")

    ticks = load_market_data(path, symbols=["AIG", "BAC"]).ticks
    assert ids == ticks["trade_id"].tolist()
    assert event_ns == ticks["event_ns"].tolist()
