"""What a market tells besides trades, through the unmodified clients of alpaca-py: quotes, statuses, bands, corrections, bars."""

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import msgpack
import orjson
import pytest
import requests
from alpaca.data.enums import Adjustment
from alpaca.data.models import Bar, Quote, Trade, TradeCancel, TradeCorrection, TradingStatus
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame
from websockets.sync.client import connect

from free_ports import free_port
from recorded_cases import CONFIG, MINUTE_NS, OPEN_NS, SECOND_NS, events, quotes, steady_trades, trades
from recycler_server import HEADERS, LIMIT_S, MarketListener, running, serving, wait_until
from tandem.adapters.synthetic_twin import twin
from tandem.recycler.options import MAX_SPEED

OPEN = datetime.fromtimestamp(OPEN_NS / 1e9, UTC)


@pytest.fixture
def files(tmp_path):
    """Three minutes of trades of KO and PEP, their quotes, and what happened to them."""
    book = [
        (symbol, OPEN_NS + n * 20 * SECOND_NS + place, price - 0.01, price + 0.02)
        for n in range(9)
        for place, (symbol, price) in enumerate([("KO", 50.0 + n / 100), ("PEP", 100.0)])
    ]
    happened = [
        ("KO", OPEN_NS + 21 * SECOND_NS, "halt", {"reason": "News Pending"}),
        ("KO", OPEN_NS + 40 * SECOND_NS, "resume", {}),
        ("PEP", OPEN_NS + 41 * SECOND_NS, "short_restriction", {}),
        ("PEP", OPEN_NS + 42 * SECOND_NS, "band", {"low": 95.0, "high": 105.0}),
        ("KO", OPEN_NS + 75 * SECOND_NS, "correction", {"trade_id": 2, "price": 49.5, "size": 3}),
        ("PEP", OPEN_NS + 76 * SECOND_NS, "cancel", {"trade_id": 1}),
    ]
    return (
        steady_trades(tmp_path / "trades.parquet"),
        quotes(tmp_path / "quotes.parquet", book),
        events(tmp_path / "events.parquet", happened),
    )


def to_the_end(server, listener):
    with running(listener.stream):
        server.button("start")
        wait_until(lambda: listener.has_ended, "the end of the stream")


def test_every_channel_of_the_client_is_filled_and_parsed(files):
    found = []

    async def remember(message):
        found.append(message)

    with serving(*files) as server:
        listener = MarketListener(server)
        stream = listener.stream
        stream.subscribe_trades(remember, "KO", "PEP")
        stream.subscribe_quotes(remember, "*")
        stream.subscribe_bars(remember, "*")
        stream.subscribe_updated_bars(remember, "KO")
        stream.subscribe_daily_bars(remember, "KO")
        stream.subscribe_trading_statuses(remember, "*")
        stream.register_trade_corrections(remember)
        stream.register_trade_cancels(remember)
        to_the_end(server, listener)

    of = {kind: [m for m in found if type(m) is kind] for kind in (Trade, Quote, Bar, TradingStatus, TradeCorrection, TradeCancel)}
    assert {kind.__name__: len(messages) for kind, messages in of.items()} == {
        "Trade": 36, "Quote": 18, "Bar": 6 + 1 + 3, "TradingStatus": 3, "TradeCorrection": 1, "TradeCancel": 1,
    }  # fmt: skip
    assert [(q.symbol, q.bid_price, q.ask_price, q.bid_size) for q in of[Quote][:2]] == [
        ("KO", 49.99, 50.02, 100),
        ("PEP", 99.99, 100.02, 100),
    ]
    assert [(s.symbol, s.status_code, s.reason_message) for s in of[TradingStatus]] == [
        ("KO", "2", "News Pending"),
        ("KO", "3", ""),
        ("PEP", "E", "Short Sale Restriction Activated"),
    ]
    (correction,), (cancel,) = of[TradeCorrection], of[TradeCancel]
    assert (correction.original_id, correction.corrected_price, correction.corrected_size) == (2, 49.5, 3)
    assert (cancel.symbol, cancel.id, cancel.action) == ("PEP", 1, "C")


def test_updated_and_daily_bars_hold_what_the_trades_say_after_the_correction(files):
    with serving(*files) as server:
        listener = MarketListener(server, raw_data=True)

        async def ignore(_):
            pass

        listener.stream.subscribe_trades(ignore, "KO")
        listener.stream.subscribe_bars(ignore, "KO")
        listener.stream.subscribe_updated_bars(ignore, "KO")
        listener.stream.subscribe_daily_bars(ignore, "KO")
        to_the_end(server, listener)

    prints = listener.of("t")
    first = [m for m in prints if m["t"].to_unix_nano() < OPEN_NS + MINUTE_NS]
    (updated,) = listener.of("u")
    assert updated["t"].to_unix_nano() == OPEN_NS
    assert updated["v"] == sum(m["s"] for m in first) - first[1]["s"] + 3
    assert updated["l"] == min(49.5, *(m["p"] for m in first if m["i"] != 2))
    assert [m["t"].to_unix_nano() for m in listener.of("b")] == [OPEN_NS + n * MINUTE_NS for n in range(3)]
    volumes = [sum(m["s"] for m in prints[:count]) for count in (6, 12, 18)]
    fixed = 3 - first[1]["s"]
    assert [m["v"] for m in listener.of("d")] == [volumes[0], volumes[1] + fixed, volumes[2] + fixed]
    order = [m["T"] for m in listener.messages if m["T"] in "btudc"]
    assert order == [*"tttttt", "b", "d", *"tt", "c", "t", "u", *"ttt", "b", "d", *"tttttt", "b", "d"]


@pytest.mark.parametrize(("packed", "moment"), [(True, OPEN_NS + 42 * SECOND_NS), (False, "2024-07-01T13:30:42.000000000Z")])
def test_bands_are_sent_to_who_asks_for_them_in_both_forms(files, packed, moment):
    headers = {"Content-Type": "application/msgpack"} if packed else {}
    pack, unpack = (msgpack.packb, msgpack.unpackb) if packed else (lambda m: orjson.dumps(m).decode(), orjson.loads)
    with serving(*files) as server, connect(f"{server.ws}/v2/sip", additional_headers=headers) as socket:
        socket.recv(LIMIT_S)
        socket.send(pack({"action": "auth", "key": "k", "secret": "s"}))
        socket.recv(LIMIT_S)
        socket.send(pack({"action": "subscribe", "lulds": ["*"]}))
        server.button("start")
        seen = []
        while not any(m.get("end_of_stream") for m in seen):
            seen += unpack(socket.recv(LIMIT_S))
    (band,) = [m for m in seen if m["T"] == "l"]
    assert {k: band[k] for k in ("S", "u", "d", "i", "z")} == {"S": "PEP", "u": 105.0, "d": 95.0, "i": "B", "z": ""}
    assert (band["t"].to_unix_nano() if packed else band["t"]) == moment


def test_a_halt_that_is_commanded_reaches_the_stream_before_the_next_heartbeat(files):
    with serving(files[0], lockstep=True, participants=("me",)) as server:
        listener = MarketListener(server, raw_data=True)

        async def ignore(_):
            pass

        listener.stream.subscribe_trades(ignore, "KO")
        listener.stream.subscribe_trading_statuses(ignore, "*")
        with running(listener.stream):
            planned = [{"at": "2024-07-01T13:31:30Z", "halt": {"symbol": "KO"}}, {"at": "bar 2", "resume": {"symbol": "KO"}}]
            assert server.post("/tandem/exchange/directives", planned).status_code == 202
            server.button("start")
            for minute in (1, 2, 3):
                server.until(state="waiting", watermark_ns=OPEN_NS + minute * MINUTE_NS)
                server.button("ack", name="me", watermark_ns=OPEN_NS + minute * MINUTE_NS)
            wait_until(lambda: listener.has_ended, "the end of the stream")
    order = [(m["T"], m.get("sc")) for m in listener.messages if m["T"] in {"s", "tandem.heartbeat"}]
    beat = ("tandem.heartbeat", None)
    assert order == [beat, ("s", "2"), ("s", "3"), beat, beat, beat]
    moments = [m["t"].to_unix_nano() for m in listener.messages if m["T"] in {"t", "s"}]
    assert moments == sorted(moments)


class TestHistory:
    """The data REST, through StockHistoricalDataClient."""

    @pytest.fixture
    def server(self, files):
        """At the end of the recording."""
        with serving(*files) as server:
            server.button("start")
            server.until(state="ended")
            yield server

    def test_quotes_and_their_pages(self, server):
        page = server.history().get_stock_quotes(StockQuotesRequest(symbol_or_symbols=["KO", "PEP"], start=OPEN))
        assert {name: len(rows) for name, rows in page.data.items()} == {"KO": 9, "PEP": 9}
        assert all(isinstance(quote, Quote) for quote in page["KO"])
        assert [q.bid_price for q in page["KO"]] == pytest.approx([49.99 + n / 100 for n in range(9)])
        seen, token = [], None
        while not seen or token:
            query = {"symbols": "KO,PEP", "limit": 4, "start": "2024-07-01", "sort": "desc", **({"page_token": token} if token else {})}
            answer = server.get("/v2/stocks/quotes", **query)
            seen += [(name, row["t"]) for name, rows in answer["quotes"].items() for row in rows]
            token = answer["next_page_token"]
        assert len(seen) == len(set(seen)) == 18
        assert seen == sorted(seen[:9], key=lambda one: one[1], reverse=True) + sorted(seen[9:], key=lambda one: one[1], reverse=True)

    def test_the_latest_of_everything_and_snapshots(self, server):
        client = server.history()
        quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="KO"))["KO"]
        trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="KO"))["KO"]
        bar = client.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="KO"))["KO"]
        shot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["KO", "PEP"]))["KO"]
        assert (quote.bid_price, trade.id, bar.timestamp) == (50.07, 18, datetime.fromtimestamp((OPEN_NS + 2 * MINUTE_NS) / 1e9, UTC))
        assert (shot.latest_trade, shot.latest_quote, shot.minute_bar) == (trade, quote, bar)
        trades_of_ko = server.get("/v2/stocks/trades", symbols="KO", start="2024-07-01", limit=100)["trades"]["KO"]
        standing = [row["s"] for row in trades_of_ko if row.get("u") != "incorrect"]
        assert (shot.daily_bar.volume, shot.daily_bar.trade_count) == (sum(standing), 18)

    def test_trades_say_what_became_of_them(self, server):
        found = server.get("/v2/stocks/trades", symbols="KO,PEP", start="2024-07-01", limit=100)["trades"]
        assert [(row["i"], row.get("u")) for row in found["KO"][:4]] == [(1, None), (2, "incorrect"), (2, "corrected"), (3, None)]
        assert (found["KO"][2]["p"], found["KO"][2]["s"], found["KO"][2]["t"]) == (49.5, 3, found["KO"][1]["t"])
        assert found["PEP"][0]["u"] == "canceled"
        parsed = server.history().get_stock_trades(StockTradesRequest(symbol_or_symbols="PEP", start=OPEN))
        assert [trade.id for trade in parsed["PEP"]] == list(range(1, 19))

    def test_bars_are_in_shares_of_now_when_asked(self, server):
        raw, same = (self.bars(server, kind) for kind in (Adjustment.RAW, Adjustment.SPLIT))
        assert raw == same
        assert server.post("/tandem/exchange/directives", {"split": {"symbol": "KO", "new_shares": 2, "old_shares": 1}}).status_code == 200
        assert self.bars(server, Adjustment.RAW) == raw
        assert self.bars(server, Adjustment.DIVIDEND) == raw
        for kind in (Adjustment.SPLIT, Adjustment.ALL):
            assert self.bars(server, kind) == [(pytest.approx(close / 2), volume * 2) for close, volume in raw]

    @staticmethod
    def bars(server, adjustment):
        wanted = StockBarsRequest(symbol_or_symbols="KO", timeframe=TimeFrame.Minute, start=OPEN, adjustment=adjustment)
        return [(bar.close, bar.volume) for bar in server.history().get_stock_bars(wanted)["KO"]]

    @pytest.mark.parametrize(
        ("path", "query"),
        [
            ("bars", {"symbols": "KO", "timeframe": "1Min", "adjustment": "none"}),
            ("bars", {"symbols": "KO", "timeframe": "1Min", "asof": "yesterday"}),
            ("quotes", {"symbols": "KO", "page_token": "KO"}),
            ("quotes", {"symbols": "XOM"}),
            ("snapshots", {}),
        ],
    )
    def test_what_cannot_be_answered_is_refused_by_name(self, server, path, query):
        answer = requests.get(f"{server.http}/v2/stocks/{path}", params=query, headers=HEADERS, timeout=LIMIT_S)
        assert answer.status_code == 422
        assert answer.json()["code"] == 40010001

    def test_every_answer_says_which_replay_it_is_of(self, server):
        answer = requests.get(f"{server.http}/v2/stocks/trades", params={"symbols": "KO"}, headers=HEADERS, timeout=LIMIT_S)
        assert (answer.headers["Tandem-Replay-Id"], answer.headers["Tandem-Source"]) == (server.status()["replay_id"], "recycled")
        with connect(f"{server.ws}/v2/iex") as socket:
            assert socket.response.headers["Tandem-Source"] == "recycled"


def authenticated(server):
    socket = connect(f"{server.ws}/v2/iex", additional_headers={"Content-Type": "application/msgpack"})
    socket.recv(LIMIT_S)
    socket.send(msgpack.packb({"action": "auth", "key": "k", "secret": "s"}))
    socket.recv(LIMIT_S)
    return socket


def asked(socket, **channels):
    """The answer to a subscription; what else is told is passed over."""
    socket.send(msgpack.packb({"action": "subscribe", **channels}))
    while (answer := msgpack.unpackb(socket.recv(LIMIT_S))[0])["T"] not in {"subscription", "error"}:
        pass
    return answer


def test_more_symbols_than_the_feed_allows_are_refused_and_nothing_changes(files):
    with serving(*files, symbols_max=1) as server, authenticated(server) as socket:
        assert asked(socket, trades=["KO", "PEP"])["code"] == 405
        assert asked(socket, quotes=["*"])["msg"] == "symbol limit exceeded"
        assert asked(socket, trades=["KO"], quotes=["KO"], bars=["*"])["trades"] == ["KO"]
        assert asked(socket, quotes=["PEP"])["code"] == 405


def test_a_client_that_takes_nothing_is_sent_away_when_a_limit_is_set(tmp_path):
    count = 300_000
    path = trades(tmp_path / "many.parquet", [("KO", OPEN_NS + n * 10_000_000, 50.0, 1) for n in range(count)])
    with serving(path, send_limit_s=0.2) as server, authenticated(server) as socket:
        assert asked(socket, trades=["KO"])["T"] == "subscription"
        server.button("start")
        assert server.until(state="ended")["ticks_replayed"] == count
        assert server.status()["subscribers"] == 0
        seen = [message for payload in socket for message in msgpack.unpackb(payload)]  # until the connection is closed
    assert seen[-1] == {"T": "error", "code": 407, "msg": "slow client"}


def test_a_twin_is_replayed_and_labelled(files):
    with serving(files[0], twins=(twin("KO=KO.SYN"),)) as server:
        listener = MarketListener(server, raw_data=True)

        async def ignore(_):
            pass

        listener.stream.subscribe_trades(ignore, "*")
        to_the_end(server, listener)
        assert server.status()["synthetic"] == {"KO.SYN": "KO"}
        asset = server.get("/v2/assets/KO.SYN")
    assert listener.of("tandem.replay")[0]["synthetic"] == {"KO.SYN": "KO"}
    assert [m["i"] for m in listener.of("t") if m["S"] == "KO.SYN"] == list(range(1, 19))
    assert asset["symbol"] == "KO.SYN"


def test_only_the_session_is_replayed_when_asked(tmp_path):
    path = trades(
        tmp_path / "t.parquet", [("KO", OPEN_NS - 1, 1.0, 1), ("KO", OPEN_NS, 2.0, 1), ("KO", OPEN_NS + 24_000 * SECOND_NS, 3.0, 1)]
    )
    with serving(path, session_only=True, hold=False) as server:
        assert server.until(state="ended")["ticks_replayed"] == 1


def test_with_gaps_a_night_takes_its_time_without_them_none(tmp_path):
    """At 200 times real time the night of 17.5 hours is 315 s; the session's last and the next one's first minute are 0.6 s."""
    day = 86_400 * SECOND_NS
    path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS + 23_340 * SECOND_NS, 1.0, 1), ("KO", OPEN_NS + day, 2.0, 1)])
    with serving(path, speed=200.0, hold=False) as server:
        server.until(state="ended")
    with serving(path, speed=200.0, gaps=True) as server:
        server.button("start")
        assert server.until(ticks_replayed=1)["state"] == "running"
        server.button("speed", speed="max")
        assert server.until(state="ended")["ticks_replayed"] == 2


def test_streams_of_several_clients_are_the_same_in_content(files):
    """Two at once, one of them only for quotes: what each gets is its part of one order."""
    with serving(*files, speed=MAX_SPEED) as server:
        seen = {"all": [], "quotes": []}

        def read(name, socket):
            while not any(m.get("end_of_stream") for m in seen[name]):
                seen[name] += msgpack.unpackb(socket.recv(LIMIT_S))

        with authenticated(server) as first, authenticated(server) as second:
            asked(first, trades=["*"], quotes=["*"], statuses=["*"])
            asked(second, quotes=["PEP"])
            readers = [threading.Thread(target=read, args=one) for one in (("all", first), ("quotes", second))]
            for reader in readers:
                reader.start()
            server.button("start")
            for reader in readers:
                reader.join(LIMIT_S)
    part = [m for m in seen["all"] if m["T"] == "q" and m["S"] == "PEP"]
    assert [m for m in seen["quotes"] if m["T"] == "q"] == part
    times = [m["t"].to_unix_nano() for m in seen["all"] if m["T"] in "tqscx"]
    assert times == sorted(times)


class Process:
    """A recycler as a process of its own, which may be killed."""

    def __init__(self, port, *options):
        command = [sys.executable, "-m", "tandem.recycler.main", "--port", port, "--speed", "max", "--config-dir", CONFIG, *options]
        self.http, self.ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        wait_until(self.is_ready, "the process")

    def is_ready(self):
        try:
            return requests.get(f"{self.http}/readyz", timeout=LIMIT_S).ok
        except requests.ConnectionError:
            return False

    def call(self, method, path, body=None):
        return requests.request(method, self.http + path, json=body, headers=HEADERS, timeout=LIMIT_S).json()

    def acknowledge(self, minute):
        """Play on to the next bar."""
        watermark_ns = OPEN_NS + minute * MINUTE_NS
        wait_until(lambda: self.call("GET", "/tandem/v1/replay")["watermark_ns"] == watermark_ns, f"bar {minute}")
        self.call("POST", "/tandem/v1/replay/ack", {"name": "me", "watermark_ns": watermark_ns})

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)


def test_after_kill_9_the_stream_and_the_past_together_hold_every_trade_once(files, tmp_path):
    """Two bars were played; the same replay goes on with the third, and REST still knows the first two."""
    port = free_port()
    options = ["--data", files[0], "--state-dir", tmp_path / "log", "--lockstep", "--participants", "me"]
    first = Process(port, *options)
    try:
        first.acknowledge(1)
        wait_until(lambda: first.call("GET", "/tandem/v1/replay")["bars"] == 2, "the second bar")
        replay_id = first.call("GET", "/tandem/v1/replay")["replay_id"]
    finally:
        first.kill()
    again = Process(port, *options)
    try:
        listener = MarketListener(again, raw_data=True)

        async def ignore(_):
            pass

        listener.stream.subscribe_trades(ignore, "*")
        with running(listener.stream):
            wait_until(lambda: listener.of("tandem.heartbeat"), "where it is")
            past = again.call("GET", "/v2/stocks/trades?symbols=KO,PEP&start=2024-07-01&limit=100")["trades"]
            again.acknowledge(2)
            again.acknowledge(3)
            wait_until(lambda: listener.has_ended, "the end of the stream")
    finally:
        again.kill()
    assert {m["replay_id"] for m in listener.of("tandem.replay")} == {replay_id}
    assert listener.of("tandem.heartbeat")[0]["watermark_ns"] == OPEN_NS + 2 * MINUTE_NS
    known = [(name, row["i"]) for name, rows in past.items() for row in rows]
    streamed = [(m["S"], m["i"]) for m in listener.of("t")]
    assert sorted(known + streamed) == [(name, n) for name in ("KO", "PEP") for n in range(1, 19)]
    assert len(streamed) == 12
