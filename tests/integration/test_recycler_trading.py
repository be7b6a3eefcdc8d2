"""The recycler's paper exchange against the unmodified TradingClient, TradingStream and StockHistoricalDataClient."""

import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import orjson
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.requests import StockBarsRequest, StockLatestTradeRequest, StockTradesRequest
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.enums import OrderSide, OrderStatus, OrderType, PositionSide, QueryOrderStatus, TimeInForce, TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    StopOrderRequest,
)
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from free_ports import free_port
from recorded_cases import MINUTE_NS, OPEN_NS, steady_trades, trades
from recycler_server import HEADERS, LIMIT_S, UpdateListener, running, serving, wait_until
from recycler_steps import PORTFOLIO, at_first_bar, to_next_bar
from tandem.adapters.alpaca_broker import AlpacaBroker
from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Order, Side
from tandem.domain.trading import OrderStatus as OurStatus
from tandem.flow.replay import Mode


@pytest.fixture
def data(tmp_path):
    """KO at 50 and PEP at 100, a trade each ten seconds, for three minutes."""
    return steady_trades(tmp_path / "trades.parquet")


def market(symbol, qty, side=OrderSide.BUY, **more):
    return MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=TimeInForce.DAY, **more)


def test_an_order_is_accepted_at_the_bar_and_fills_on_a_later_trade(data):
    with serving(data, **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            order = client.submit_order(market("KO", 10, client_order_id="one"))
            to_next_bar(server, 1)
            done = client.get_order_by_client_id("one")
            wait_until(lambda: len(updates.updates) == 2, "two updates")

    assert (order.status, order.type, order.qty, order.filled_qty) == (OrderStatus.ACCEPTED, OrderType.MARKET, "10", "0")
    first_bar = datetime.fromtimestamp((OPEN_NS + MINUTE_NS) / 1e9, UTC)
    assert order.submitted_at == first_bar
    assert (done.id, done.status, done.filled_qty) == (order.id, OrderStatus.FILLED, "10")
    assert done.filled_at == first_bar + timedelta(seconds=5)  # the next trade of KO
    new, fill = updates.updates
    assert all(isinstance(update, TradeUpdate) for update in (new, fill))
    assert (new.event, fill.event, fill.qty, fill.position_qty) == (TradeEvent.NEW, TradeEvent.FILL, 10.0, 10.0)
    assert (fill.price, fill.timestamp, fill.order.id) == (float(done.filled_avg_price), done.filled_at, order.id)
    assert isinstance(fill.execution_id, UUID)


def test_updates_of_a_bar_come_before_its_heartbeat(data):
    with serving(data, **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            client.submit_order(market("KO", 1, client_order_id="a"))
            client.submit_order(market("PEP", 1, client_order_id="b"))
            to_next_bar(server, 1)
            wait_until(lambda: len(updates.events()) == 6, "two heartbeats and four updates")

    assert updates.events() == [
        ("heartbeat", OPEN_NS + MINUTE_NS),
        ("new", "a"),
        ("new", "b"),
        ("fill", "a"),
        ("fill", "b"),
        ("heartbeat", OPEN_NS + 2 * MINUTE_NS),
    ]


def test_who_begins_to_listen_while_the_replay_waits_is_told_where_it_is(data):
    with serving(data, **PORTFOLIO) as server:
        at_first_bar(server)
        updates = UpdateListener(server)
        with running(updates.stream):
            wait_until(updates.events, "the heartbeat that has passed")
    assert updates.events() == [("heartbeat", OPEN_NS + MINUTE_NS)]


def test_an_order_during_a_step_waits_for_the_bar_in_lockstep(data):
    """At a crawl a step takes for ever; an order given in it is accepted at its end, when somebody hurries the replay."""
    with serving(data, speed=0.001, **PORTFOLIO) as server:
        server.button("start")
        server.until(ticks_replayed=2)
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(server.trading().submit_order(market("KO", 1))))
        waiting.start()
        assert server.status()["ticks_replayed"] == 2
        assert answers == []
        server.button("speed", speed="max")
        server.until(state="waiting")
        waiting.join(LIMIT_S)
    assert answers[0].submitted_at == datetime.fromtimestamp((OPEN_NS + MINUTE_NS) / 1e9, UTC)


def test_free_running_orders_fill_on_later_trades_at_real_time(tmp_path):
    path = trades(tmp_path / "t.parquet", [("KO", OPEN_NS + i * 10_000_000, 50.0, 1) for i in range(2_000)])
    with serving(path, speed=1.0, hold=False) as server:
        client = server.trading()
        server.until(state="running")
        wait_until(lambda: server.status()["ticks_replayed"] > 0, "the first trade")
        order = client.submit_order(market("KO", 1))
        done = wait_until(lambda: (o := client.get_order_by_id(order.id)).status is OrderStatus.FILLED and o, "the fill")
    assert order.submitted_at < done.filled_at <= order.submitted_at + timedelta(seconds=1)


def test_a_client_order_id_is_taken_once_for_ever(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        order = client.submit_order(market("KO", 1, client_order_id="same"))
        client.cancel_order_by_id(order.id)
        with pytest.raises(APIError) as caught:
            client.submit_order(market("KO", 1, client_order_id="same"))
    assert (caught.value.status_code, caught.value.code, caught.value.message) == (422, 40010001, "client_order_id must be unique")


def test_positions_the_account_and_closing(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        assert client.get_all_positions() == []
        with pytest.raises(APIError) as caught:
            client.get_open_position("KO")
        assert (caught.value.status_code, caught.value.code) == (404, 40410000)
        client.submit_order(market("KO", 10))
        client.submit_order(market("PEP", 4, OrderSide.SELL))
        to_next_bar(server, 1)

        ko, pep = client.get_all_positions()
        assert (ko.symbol, ko.qty, ko.side, ko.qty_available) == ("KO", "10", PositionSide.LONG, "10")
        assert (pep.symbol, pep.qty, pep.side) == ("PEP", "-4", PositionSide.SHORT)
        assert client.get_open_position(ko.asset_id) == client.get_open_position("KO")
        account = client.get_account()
        fees = [Decimal(fee["net_amount"]) for fee in client.get("/account/activities/FEE")]
        cash = 1_000_000 - 10 * Decimal(ko.avg_entry_price) + 4 * Decimal(pep.avg_entry_price) + sum(fees)
        assert Decimal(account.cash) == cash
        assert Decimal(account.equity) == cash + Decimal(ko.market_value) + Decimal(pep.market_value)
        gross = Decimal(ko.market_value) - Decimal(pep.market_value)
        assert Decimal(account.buying_power) == (2 * Decimal(account.equity) - gross).quantize(Decimal("0.01"))

        half = client.close_position("KO", ClosePositionRequest(percentage="50"))
        assert (half.side, half.qty) == (OrderSide.SELL, "5")
        assert client.get_open_position("KO").qty_available == "5"
        assert [(row.symbol, row.status) for row in client.close_all_positions(cancel_orders=True)] == [("KO", 200), ("PEP", 200)]
        to_next_bar(server, 2)
        assert client.get_all_positions() == []


def test_orders_are_listed_by_status_side_symbol_time_and_limit(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        client.submit_order(market("KO", 1, client_order_id="filled"))
        to_next_bar(server, 1)
        low = LimitOrderRequest(
            symbol="PEP", qty=2, side=OrderSide.BUY, time_in_force=TimeInForce.GTC, limit_price=1.5, client_order_id="open"
        )
        client.submit_order(low)

        def found(**query):
            return [order.client_order_id for order in client.get_orders(GetOrdersRequest(**query))]

        assert found() == ["open"]
        assert found(status=QueryOrderStatus.CLOSED) == ["filled"]
        assert found(status=QueryOrderStatus.ALL) == ["open", "filled"]
        assert found(status=QueryOrderStatus.ALL, direction="asc") == ["filled", "open"]
        assert found(status=QueryOrderStatus.ALL, limit=1) == ["open"]
        assert found(status=QueryOrderStatus.ALL, symbols=["KO"]) == ["filled"]
        assert found(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []
        first_bar = datetime.fromtimestamp((OPEN_NS + MINUTE_NS) / 1e9, UTC)
        assert found(status=QueryOrderStatus.ALL, after=first_bar) == ["open"]
        assert found(status=QueryOrderStatus.ALL, until=first_bar, nested=True) == ["filled"]
        assert client.get_orders()[0].limit_price == "1.5"


def test_orders_are_paged_by_the_id_of_an_order(data):
    """As Alpaca has it: without a gap or a double among orders of one moment, in both directions."""
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        ids = [str(client.submit_order(market("KO", 1, client_order_id=f"o{number}")).id) for number in range(5)]

        def found(**query):
            return [row["client_order_id"] for row in server.get("/v2/orders", status="all", **query)]

        assert found(direction="asc", limit=2) == ["o0", "o1"]
        assert found(direction="asc", limit=2, after_order_id=ids[1]) == ["o2", "o3"]
        assert found(direction="asc", after_order_id=ids[4]) == []
        assert found(limit=2, before_order_id=ids[3]) == ["o2", "o1"]
        assert found(after_order_id=ids[2]) == ["o4", "o3"]
        assert found(direction="asc", before_order_id=ids[1]) == ["o0"]
        for query in ({"after_order_id": "nobody"}, {"after_order_id": ids[0], "before_order_id": ids[1]}):
            with pytest.raises(requests.HTTPError, match=r"400|422"):
                found(**query)


def test_orders_can_be_canceled_once_and_all_together(data):
    with serving(data, **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            ids = [client.submit_order(market("KO", 1, client_order_id=name)).id for name in "abc"]
            client.cancel_order_by_id(ids[0])
            with pytest.raises(APIError) as caught:
                client.cancel_order_by_id(ids[0])
            assert caught.value.status_code == 422
            with pytest.raises(APIError) as caught:
                client.cancel_order_by_id(UUID(int=0))
            assert caught.value.status_code == 404
            assert [(str(r.id), r.status) for r in client.cancel_orders()] == [(str(ids[1]), 200), (str(ids[2]), 200)]
            wait_until(lambda: len(updates.updates) == 6, "three cancellations")
        assert [u.event for u in updates.updates[3:]] == [TradeEvent.CANCELED] * 3
        assert client.get_order_by_id(ids[0]).canceled_at is not None


def test_a_day_order_expires_with_its_session(tmp_path):
    """A limit far away, over the close of 2024-07-01: the order is gone at 16:00 New York, before the trade of the next day."""
    close_ns = OPEN_NS + 390 * MINUTE_NS
    rows = [("KO", OPEN_NS + 1, 50.0, 1), ("KO", close_ns - 1, 50.0, 1), ("KO", OPEN_NS + 24 * 60 * MINUTE_NS + 1, 1.0, 1)]
    with serving(trades(tmp_path / "t.parquet", rows), **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            server.button("start")
            server.until(state="waiting")
            limit = LimitOrderRequest(symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=2)
            client.submit_order(limit)
            server.button("ack", name="portfolio", watermark_ns=2**62)
            wait_until(lambda: len(updates.updates) == 2, "the expiry")
    assert updates.updates[1].event == TradeEvent.EXPIRED
    assert updates.updates[1].timestamp == datetime.fromtimestamp(close_ns / 1e9, UTC)


@pytest.mark.parametrize(
    ("order", "status", "code", "message"),
    [
        (market("XOM", 1), 422, 40010001, "the recording does not hold it"),
        (market("KO", 1_000_000), 403, 40310000, "insufficient buying power"),
        (market("KO", 1.5, OrderSide.SELL), 422, 42210000, "fractional orders cannot be sold short"),
        (
            LimitOrderRequest(symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, limit_price=50.001),
            422,
            42210000,
            "sub-penny increment",
        ),
        (
            StopOrderRequest(symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, stop_price=60.001),
            422,
            42210000,
            "invalid stop_price 60.001",
        ),
        (
            MarketOrderRequest(symbol="KO", notional=0.5, side=OrderSide.BUY, time_in_force=TimeInForce.DAY),
            422,
            40010001,
            "notional must be >= 1",
        ),
        (MarketOrderRequest(symbol="KO", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.OPG), 422, 42210000, "opg orders cannot be"),
    ],
)
def test_what_the_exchange_refuses_is_an_error_in_alpacas_form(data, order, status, code, message):
    with serving(data, **PORTFOLIO) as server:
        at_first_bar(server)
        with pytest.raises(APIError) as caught:
            server.trading().submit_order(order)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert message in caught.value.message


@pytest.mark.parametrize(
    "body", [{}, {"symbol": "KO"}, {"symbol": "KO", "qty": "x", "side": "buy", "type": "market", "time_in_force": "day"}]
)
def test_an_incomplete_order_is_refused(data, body):
    with serving(data) as server:
        answer = server.post("/v2/orders", body)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_an_unknown_path_is_an_error_in_json(data):
    with serving(data) as server, pytest.raises(APIError) as caught:
        server.trading().get("/watchlists")
    assert (caught.value.status_code, caught.value.message) == (404, "endpoint not found")


def test_a_body_that_is_no_json_is_refused(data):
    with serving(data) as server:
        bodies = (b"{", b"[" * 100_000, b" " * 2_000_000)
        answers = [requests.post(f"{server.http}/v2/orders", data=body, headers=HEADERS, timeout=LIMIT_S) for body in bodies]
    assert [answer.status_code for answer in answers] == [400, 400, 400]


@pytest.mark.parametrize(
    "headers", [{}, {"APCA-API-KEY-ID": "key"}, {"Authorization": "Basic !"}, {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "x"}]
)
def test_rest_needs_keys(data, headers):
    with serving(data, key="key", secret="secret") as server:
        answer = requests.get(f"{server.http}/v2/account", headers=headers, timeout=LIMIT_S)
        assert (answer.status_code, answer.json()["code"]) == (401, 40110000)
        assert server.trading().get_account().currency == "USD"


def test_wrong_keys_are_refused_on_the_stream_and_the_connection_is_closed(data):
    with serving(data, key="k", secret="s") as server, connect(f"{server.ws}/stream") as raw:
        raw.send('{"action":"authenticate","data":{"key_id":"k","secret_key":"other"}}')
        assert orjson.loads(raw.recv(LIMIT_S)) == {
            "stream": "authorization",
            "data": {"status": "unauthorized", "action": "authenticate"},
        }
        with pytest.raises(ConnectionClosed):
            raw.recv(LIMIT_S)


def test_assets_clock_and_calendar_are_what_the_client_parses(data):
    with serving(data, **PORTFOLIO) as server:
        client, raw = server.trading(), server.trading(raw_data=True)
        at_first_bar(server)

        assert [asset.symbol for asset in client.get_all_assets()] == ["KO", "PEP"]
        asset = client.get_asset("KO")
        assert (asset.shortable, asset.easy_to_borrow, client.get_asset(asset.id).symbol) == (True, True, "KO")
        assert raw.get_asset("KO")["borrow_status"] == "easy_to_borrow"
        with pytest.raises(APIError) as caught:
            client.get_asset("XOM")
        assert caught.value.status_code == 404

        clock = client.get_clock()
        assert clock.is_open is True
        assert clock.timestamp == datetime.fromtimestamp((OPEN_NS + MINUTE_NS) / 1e9, UTC)
        assert clock.timestamp.utcoffset() == timedelta(hours=-4)
        assert (clock.next_close.isoformat(), clock.next_open.isoformat()) == ("2024-07-01T16:00:00-04:00", "2024-07-02T09:30:00-04:00")

        days = client.get_calendar(GetCalendarRequest(start=date(2024, 7, 2), end=date(2024, 7, 5)))
        assert [(f"{d.date}", f"{d.open:%H:%M}", f"{d.close:%H:%M}") for d in days] == [
            ("2024-07-02", "09:30", "16:00"),
            ("2024-07-03", "09:30", "13:00"),
            ("2024-07-05", "09:30", "16:00"),
        ]
        assert len(client.get_calendar(GetCalendarRequest(start=date(2019, 1, 1), end=date(2019, 12, 31)))) == 252


def test_activities_are_paged_and_hold_every_fill_and_fee(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        for number in range(5):
            client.submit_order(market("KO", number + 1, OrderSide.SELL, client_order_id=f"s{number}"))
        to_next_bar(server, 1)

        def page(kind, **query):
            return client.get(f"/account/activities/{kind}", {"direction": "asc", **query})

        fills = page("FILL")
        assert [(f["client_order_id"], f["qty"], f["side"], f["type"]) for f in fills] == [
            (f"s{number}", str(number + 1), "sell", "fill") for number in range(5)
        ]
        assert [f["order_id"] for f in fills] == [str(client.get_order_by_client_id(f"s{n}").id) for n in range(5)]
        first = page("FILL", page_size=2)
        second = page("FILL", page_size=2, page_token=first[-1]["id"])
        assert first + second == fills[:4]
        assert page("FILL", after=fills[0]["transaction_time"]) == []
        assert page("FILL", after="2024-07-01T13:31:00Z") == fills
        assert list(reversed(client.get("/account/activities/FILL"))) == fills
        fees = page("FEE")
        assert {fee["description"].split(":")[0] for fee in fees} == {"SEC", "TAF"}
        assert {fee["date"] for fee in fees} == {"2024-07-01"}
        assert [len(page("FILL", date=day)) for day in ("2024-06-30", "2024-07-01", "2024-07-02")] == [0, 5, 0]
        # Both fees of the day are rounded up once: 15 shares at 50 USD and 27.80 a million are 0.0208, at 0.000166 a share 0.0025.
        assert {
            kind: sum(Decimal(fee["net_amount"]) for fee in fees if fee["description"].startswith(kind)) for kind in ("SEC", "TAF")
        } == {
            "SEC": Decimal("-0.03"),
            "TAF": Decimal("-0.01"),
        }
        assert len(client.get("/account/activities", {"activity_types": "FILL,FEE"})) == 5 + len(fees)


def test_history_ends_at_the_replays_clock(data):
    with serving(data, **PORTFOLIO) as server:
        client, start = server.history(), datetime(2024, 7, 1, tzinfo=UTC)
        assert client.get_stock_trades(StockTradesRequest(symbol_or_symbols=["KO"], start=start)).data == {}
        at_first_bar(server)

        found = client.get_stock_trades(StockTradesRequest(symbol_or_symbols=["KO", "PEP"], start=start))
        assert {symbol: [t.id for t in rows] for symbol, rows in found.data.items()} == {
            "KO": [1, 2, 3, 4, 5, 6],
            "PEP": [1, 2, 3, 4, 5, 6],
        }
        last = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=["KO"]))["KO"]
        assert (last.id, last.price) == (6, found.data["KO"][-1].price)
        to_next_bar(server, 1)

        def bars(frame):
            return client.get_stock_bars(StockBarsRequest(symbol_or_symbols="KO", timeframe=frame, start=start)).data.get("KO", [])

        minutes = bars(TimeFrame.Minute)
        assert [b.timestamp.timestamp() for b in minutes] == [OPEN_NS / 1e9, (OPEN_NS + MINUTE_NS) / 1e9]
        assert (minutes[0].open, minutes[0].close) == (found.data["KO"][0].price, found.data["KO"][-1].price)
        assert [b.trade_count for b in bars(TimeFrame(2, TimeFrameUnit.Minute))] == [12]
        assert bars(TimeFrame.Day) == []  # the session has not ended


def test_history_is_paged_by_symbol_then_time_without_a_gap_or_a_double(data):
    with serving(data) as server:
        server.button("start")
        server.until(state="ended")
        for order in ("asc", "desc"):
            seen, token = [], None
            while True:
                page = server.get("/v2/stocks/trades", symbols="PEP,KO", start="2024-07-01", limit=7, page_token=token, sort=order)
                seen += [(symbol, row["i"]) for symbol, rows in page["trades"].items() for row in rows]
                if (token := page["next_page_token"]) is None:
                    break
            numbers = list(range(1, 19)) if order == "asc" else list(range(18, 0, -1))
            assert seen == [(symbol, number) for symbol in ("KO", "PEP") for number in numbers]
        whole = StockTradesRequest(symbol_or_symbols=["KO", "PEP"], start=datetime(2024, 7, 1, tzinfo=UTC), limit=20)
        assert {s: len(rows) for s, rows in server.history().get_stock_trades(whole).data.items()} == {"KO": 18, "PEP": 2}


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("trades", {"symbols": "XOM"}, "does not hold XOM"),
        ("trades", {"symbols": ""}, "symbols: none given"),
        ("trades", {"symbols": "KO", "start": "soon"}, "start: time 'soon"),
        ("trades", {"symbols": "KO", "limit": "10001"}, "limit: found '10001'"),
        ("bars", {"symbols": "KO", "timeframe": "7Parsec"}, "timeframe '7Parsec'"),
        ("quotes", {"symbols": "KO"}, "holds no quotes"),
    ],
)
def test_history_that_cannot_be_is_refused(data, path, query, message):
    with serving(data) as server:
        answer = requests.get(f"{server.http}/v2/stocks/{path}", params=query, headers=HEADERS, timeout=LIMIT_S)
    assert answer.status_code == 422
    assert message in answer.json()["message"]


def play(path, **options):
    """Ids, prices and times of all orders of one run: at each bar buy one more KO and sell one more PEP."""
    with serving(path, **PORTFOLIO, **options) as server:
        client = server.trading(raw_data=True)
        server.button("start")
        for minute in (1, 2, 3):
            server.until(state="waiting", watermark_ns=OPEN_NS + minute * MINUTE_NS)
            for symbol, side in (("KO", OrderSide.BUY), ("PEP", OrderSide.SELL)):
                client.submit_order(market(symbol, minute, side, client_order_id=f"{symbol}-{minute}"))
            server.button("ack", name="portfolio", watermark_ns=OPEN_NS + minute * MINUTE_NS)
        server.until(state="ended")
        return client.get("/orders", {"status": "all"}), client.get("/account/activities"), client.get("/positions")


def test_the_same_replay_and_orders_give_the_same_bytes_at_any_speed(data):
    first = play(data)
    assert play(data) == first
    assert play(data, speed=600.0) == first
    assert len(first[0]) == 6
    assert play(data, label="another")[0][0]["id"] != first[0][0]["id"]


def test_our_own_broker_adapter_agrees_with_the_exchange(data):
    """The portfolio's adapter over the same wire: submit, find, fills, fees, positions and account."""
    with serving(data, **PORTFOLIO) as server:
        broker = AlpacaBroker(key_id="key", secret_key="secret", url=server.http)
        at_first_bar(server)
        order = Order(
            client_order_id="tdm-1",
            intent_id="i",
            pair=PairId("KO-PEP"),
            leg="a",
            attempt=0,
            symbol=Symbol("KO"),
            side=Side.SELL,
            qty=7,
            limit_usd=None,
            decided_ns=OPEN_NS + MINUTE_NS,
        )
        assert broker.submit(order).status is OurStatus.ACCEPTED
        again = broker.submit(order)
        assert (again.status, again.client_order_id) == (OurStatus.ACCEPTED, "tdm-1")
        to_next_bar(server, 1)

        (fill,) = broker.fills(0)
        fees = broker.fees(0)
        account = broker.account()
        position = broker.positions()[0]
        broker.close()
    assert (fill.client_order_id, fill.qty, fill.side, position.qty) == ("tdm-1", 7, Side.SELL, -7)
    assert fill.event_ns == OPEN_NS + MINUTE_NS + 5_000_000_000
    assert Decimal(account.cash) == 1_000_000 + 7 * fill.price_usd - sum(fee.amount_usd for fee in fees)


def test_the_step_mode_fills_between_two_steps(data):
    with serving(data, mode=Mode.STEP, hold=False) as server:
        server.until(state="paused", bars=1)
        order = server.trading().submit_order(market("KO", 1))
        server.button("step")
        server.until(state="paused", bars=2)
        assert server.trading().get_order_by_id(order.id).status is OrderStatus.FILLED


def command(*options):
    return [sys.executable, "-m", "tandem.recycler.main", *map(str, options)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_and_stops_cleanly(data, tmp_path, number):
    port = free_port()
    process = subprocess.Popen(command("--data", data, "--port", port, "--hold"), stderr=subprocess.DEVNULL)
    try:

        def ready():
            try:
                return requests.get(f"http://127.0.0.1:{port}/readyz", timeout=LIMIT_S).ok
            except requests.ConnectionError:
                return False

        wait_until(ready, "the process")
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait(LIMIT_S)


def test_a_taken_port_is_one_line_and_exit_code_2(data):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            command("--data", data, "--port", taken.getsockname()[1]), capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("recycler: cannot listen on 127.0.0.1:")
    assert done.stderr.endswith("Address already in use; choose another port with --port\n")
    assert done.stderr.count("\n") == 1
