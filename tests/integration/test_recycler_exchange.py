"""The paper exchange over the wire: every kind of order by alpaca-py, directives, corporate actions, the rate limit, and a kill -9."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from decimal import Decimal

import orjson
import pytest
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, OrderType, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetOrderByIdRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from free_ports import free_port
from recorded_cases import MINUTE_NS, OPEN_NS, steady_trades
from recycler_server import HEADERS, LIMIT_S, UpdateListener, running, serving, wait_until
from recycler_steps import PORTFOLIO, at_first_bar, to_next_bar

DAY = {"time_in_force": TimeInForce.DAY}


@pytest.fixture
def data(tmp_path):
    """KO at 50 and PEP at 100, a trade each ten seconds, for three minutes."""
    return steady_trades(tmp_path / "trades.parquet")


def direct(server, *directives):
    return server.post("/tandem/exchange/directives", list(directives) if len(directives) > 1 else directives[0])


def test_every_kind_of_order_is_what_the_client_parses(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        buy, sell = {"symbol": "KO", "qty": 10, "side": OrderSide.BUY}, {"symbol": "PEP", "qty": 10, "side": OrderSide.SELL}
        made = [
            client.submit_order(StopOrderRequest(**buy, **DAY, stop_price=70)),
            client.submit_order(StopLimitOrderRequest(**buy, **DAY, stop_price=70, limit_price=71)),
            client.submit_order(TrailingStopOrderRequest(**sell, **DAY, trail_percent=5)),
            client.submit_order(TrailingStopOrderRequest(**sell, time_in_force=TimeInForce.GTC, trail_price=4)),
            client.submit_order(MarketOrderRequest(symbol="KO", notional=100, side=OrderSide.BUY, **DAY)),
            client.submit_order(MarketOrderRequest(**buy, time_in_force=TimeInForce.CLS)),
        ]
        assert [order.type for order in made] == [
            OrderType.STOP,
            OrderType.STOP_LIMIT,
            OrderType.TRAILING_STOP,
            OrderType.TRAILING_STOP,
            OrderType.MARKET,
            OrderType.MARKET,
        ]
        trailing = client.get_order_by_id(made[2].id)
        last = Decimal(server.get("/v2/stocks/trades/latest", symbols="PEP")["trades"]["PEP"]["p"]).quantize(Decimal("0.01"))
        assert Decimal(trailing.hwm) == last
        assert Decimal(trailing.stop_price) == (last * Decimal("0.95")).quantize(Decimal("0.01"), rounding="ROUND_FLOOR")
        to_next_bar(server, 1)
        bought = client.get_order_by_id(made[4].id)
        assert (bought.status, bought.qty, bought.notional) == (OrderStatus.FILLED, None, "100")
        assert abs(Decimal(bought.filled_qty) * Decimal(bought.filled_avg_price) - 100) < Decimal("0.001")
        assert {str(order.id) for order in client.get_orders()} == {str(o.id) for n, o in enumerate(made) if n != 4}


def test_a_bracket_of_the_client_closes_what_it_opened(data):
    with serving(data, **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            order = client.submit_order(
                MarketOrderRequest(
                    symbol="KO",
                    qty=10,
                    side=OrderSide.BUY,
                    **DAY,
                    client_order_id="entry",
                    order_class=OrderClass.BRACKET,
                    take_profit=TakeProfitRequest(limit_price=45),  # below the market: it fills at once when it works
                    stop_loss=StopLossRequest(stop_price=40),
                )
            )
            assert [leg.status for leg in order.legs] == [OrderStatus.HELD, OrderStatus.HELD]
            to_next_bar(server, 1)
            nested = client.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
            wait_until(lambda: len(updates.updates) == 6, "six updates")
        assert [leg.status for leg in nested.legs] == [OrderStatus.FILLED, OrderStatus.CANCELED]
        assert [u.event for u in updates.updates] == ["new", "fill", "new", "new", "fill", "canceled"]
        assert client.get_all_positions() == []


def test_a_replacement_is_told_on_the_stream(data):
    with serving(data, **PORTFOLIO) as server:
        client, updates = server.trading(), UpdateListener(server)
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            old = client.submit_order(LimitOrderRequest(symbol="KO", qty=10, side=OrderSide.BUY, **DAY, limit_price=1))
            new = client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=4, limit_price=60.5))
            assert (new.replaces, new.qty, new.limit_price) == (old.id, "4", "60.5")
            with pytest.raises(APIError) as caught:
                client.replace_order_by_id(old.id, ReplaceOrderRequest(qty=5))
            assert (caught.value.status_code, 'already in "replaced" state' in caught.value.message) == (422, True)
            to_next_bar(server, 1)
            wait_until(lambda: len(updates.updates) == 4, "four updates")
        assert [u.event for u in updates.updates] == ["new", "replaced", "new", "fill"]
        replaced = client.get_order_by_id(old.id)
        assert (replaced.status, replaced.replaced_by) == (OrderStatus.REPLACED, new.id)
        assert client.get_open_position("KO").qty == "4"


def test_large_orders_fill_in_parts(data):
    """An order of what a tenth of the next bar's first three trades of KO comes to takes those three, or fewer where one is too small."""
    with serving(data, **PORTFOLIO, participation=Decimal("0.1")) as server:
        client, updates = server.trading(), UpdateListener(server)
        tape = server.recycler.market.tape
        places = tape.places["KO"][tape.event_ns[tape.places["KO"]] > OPEN_NS + MINUTE_NS][:3]
        parts = [tape.size(int(place)) // 10 for place in places if tape.size(int(place)) >= 10]
        with running(updates.stream):
            wait_until(lambda: updates.is_listening, "the stream")
            at_first_bar(server)
            order = client.submit_order(MarketOrderRequest(symbol="KO", qty=sum(parts), side=OrderSide.BUY, **DAY))
            to_next_bar(server, 1)
            wait_until(lambda: len(updates.updates) == 1 + len(parts), "the updates")
        assert len(parts) > 1
        assert [u.event for u in updates.updates] == ["new", *["partial_fill"] * (len(parts) - 1), "fill"]
        assert [int(u.qty) for u in updates.updates[1:]] == parts
        assert client.get_order_by_id(order.id).filled_qty == str(sum(parts))
        fills = client.get("/account/activities/FILL", {"direction": "asc"})
        assert [fill["type"] for fill in fills] == [*["partial_fill"] * (len(parts) - 1), "fill"]
        assert [int(fill["leaves_qty"]) for fill in fills] == [sum(parts[n + 1 :]) for n in range(len(parts))]


def test_directives_change_the_market_and_say_so(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        client.submit_order(MarketOrderRequest(symbol="PEP", qty=10, side=OrderSide.SELL, **DAY))
        to_next_bar(server, 1)
        answer = direct(server, {"halt": {"symbol": "KO"}}, {"asset": {"symbol": "PEP", "easy_to_borrow": False}})
        assert answer.status_code == 200
        assert [one["event_ns"] for one in answer.json()] == [OPEN_NS + 2 * MINUTE_NS] * 2
        assert direct(server, {"at": "bar 3", "dividend": {"symbol": "PEP", "usd_per_share": "0.5"}}).status_code == 202
        waiting = client.submit_order(MarketOrderRequest(symbol="KO", qty=1, side=OrderSide.BUY, **DAY))
        asset = server.get("/v2/assets/PEP")
        assert (asset["easy_to_borrow"], asset["borrow_status"]) == (False, "hard_to_borrow")
        to_next_bar(server, 2)
        server.button("ack", name="portfolio", watermark_ns=OPEN_NS + 3 * MINUTE_NS)
        server.until(state="ended")

        assert client.get_order_by_id(waiting.id).status is OrderStatus.NEW
        (dividend,) = client.get("/account/activities/DIV")
        assert (dividend["net_amount"], dividend["qty"], dividend["per_share_amount"]) == ("-5", "-10", "0.5")
        told = server.get("/tandem/exchange/directives")
        assert told["waiting"] == []
        assert [next(key for key in one if key not in {"directive_id", "event_ns"}) for one in told["done"]] == [
            "halt",
            "asset",
            "dividend",
        ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"halt": {"symbol": "XOM"}}, "does not hold XOM"),
        ({"explode": {}}, "must be exactly one of halt"),
        ([], "0 directives"),
        ({"at": "2020-01-01T00:00:00Z", "halt": {}}, "has passed"),
        ([{"halt": {}}, {"split": {"symbol": "KO"}}], "split.new_shares"),
    ],
)
def test_bad_directives_are_refused_and_change_nothing(data, body, message):
    with serving(data, **PORTFOLIO) as server:
        at_first_bar(server)
        answer = server.post("/tandem/exchange/directives", body)
        assert (answer.status_code, message in answer.json()["message"]) == (422, True), answer.text
        assert server.get("/tandem/exchange/directives") == {"waiting": [], "done": []}


def test_corporate_actions_of_the_script_are_what_the_client_parses(data, tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text(
        "- {at: 2024-07-02T08:00:00Z, split: {symbol: KO, new_shares: 4, old_shares: 1}}\n"
        "- {at: 2024-07-03T13:30:00Z, split: {symbol: KO, new_shares: 1, old_shares: 8}}\n"
        "- {at: 2024-07-02T08:00:00Z, dividend: {symbol: PEP, usd_per_share: '1.265'}}\n"
    )
    with serving(data, script=script, **PORTFOLIO) as server:
        client = CorporateActionsClient("key", "secret", url_override=server.http)
        found = client.get_corporate_actions(CorporateActionsRequest(start=date(2024, 7, 1), end=date(2024, 7, 2))).data
        assert {kind: len(rows) for kind, rows in found.items()} == {"forward_splits": 1, "cash_dividends": 1}
        assert (found["cash_dividends"][0].symbol, found["cash_dividends"][0].rate) == ("PEP", 1.265)
        split = found["forward_splits"][0]
        assert (split.new_rate, split.old_rate, split.ex_date) == (4.0, 1.0, date(2024, 7, 2))
        only = client.get_corporate_actions(CorporateActionsRequest(symbols=["KO"], start=date(2024, 7, 1))).data
        assert set(only) == {"forward_splits", "reverse_splits"}


def test_halts_reach_subscribers_of_statuses(data):
    from recycler_server import MarketListener

    with serving(data, **PORTFOLIO) as server:
        listener = MarketListener(server)

        async def nothing(_):
            return None

        listener.stream.subscribe_trading_statuses(nothing, "KO")
        with running(listener.stream):
            wait_until(lambda: listener.of("subscription"), "the subscription")
            at_first_bar(server)
            direct(server, {"halt": {"symbol": "KO", "reason": "T1"}})
            to_next_bar(server, 1)
            (status,) = wait_until(lambda: listener.of("s"), "the status")
    assert (status["S"], status["sc"], status["rm"]) == ("KO", "2", "T1")


def test_the_rate_limit_is_told_and_kept(data):
    """Alpaca's headers on every answer; the request too many is a 429 that says when to come again. Market data do not count."""
    with serving(data, rate_limit=3) as server:
        path = server.http + "/v2/account"
        for attempt in range(60):  # until all requests of an account fall into one minute of the wall clock
            mine = {**HEADERS, "APCA-API-KEY-ID": f"key-{attempt}"}
            answers = [requests.get(path, headers=mine, timeout=LIMIT_S) for _ in range(3)]
            asked_s = time.time()
            answers.append(requests.get(path, headers=mine, timeout=LIMIT_S))
            if [a.status_code for a in answers] == [200, 200, 200, 429]:
                break
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
        assert {a.headers["X-RateLimit-Limit"] for a in answers} == {"3"}
        assert 0 <= int(answers[-1].headers["X-RateLimit-Reset"]) - asked_s <= 60
        assert answers[-1].json() == {"code": 42910000, "message": "too many requests."}
        assert requests.get(server.http + "/tandem/v1/replay", headers=HEADERS, timeout=LIMIT_S).ok
        other = {**HEADERS, "APCA-API-KEY-ID": "other"}
        assert requests.get(path, headers=other, timeout=LIMIT_S).ok


def test_closing_a_position_by_percentage_and_all_of_them(data):
    with serving(data, **PORTFOLIO) as server:
        client = server.trading()
        at_first_bar(server)
        client.submit_order(MarketOrderRequest(symbol="KO", qty=10, side=OrderSide.BUY, **DAY))
        client.submit_order(MarketOrderRequest(symbol="PEP", qty=6, side=OrderSide.SELL, **DAY))
        to_next_bar(server, 1)
        assert client.close_position("KO", ClosePositionRequest(percentage="50")).qty == "5"
        answers = client.get_all_positions()
        assert {p.symbol: p.qty_available for p in answers} == {"KO": "5", "PEP": "-6"}
        assert [a.status for a in client.close_all_positions(cancel_orders=True)] == [200, 200]
        to_next_bar(server, 2)
        server.button("ack", name="portfolio", watermark_ns=OPEN_NS + 3 * MINUTE_NS)
        server.until(state="ended")
        assert client.get_all_positions() == []


class Process:
    """A recycler as a process of its own, which may be killed."""

    def __init__(self, data, folder):
        self.port = free_port()
        options = ["--data", data, "--port", self.port, "--speed", "max", "--lockstep", "--participants", "portfolio"]
        command = [sys.executable, "-m", "tandem.recycler.main", *options, "--state-dir", folder, "--participation", "0.1"]
        self.http = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        wait_until(self.is_ready, "the process")

    def is_ready(self):
        try:
            return requests.get(f"{self.http}/readyz", timeout=LIMIT_S).ok
        except requests.ConnectionError:
            return False

    def call(self, method, path, body=None):
        return requests.request(method, self.http + path, json=body, headers=HEADERS, timeout=LIMIT_S)

    def status(self):
        return self.call("GET", "/tandem/v1/replay").json()

    def until(self, **fields):
        return wait_until(lambda: (s := self.status()) and all(s[k] == v for k, v in fields.items()) and s, f"{fields}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)

    def orders(self, minute):
        """What a client sends at a bar."""
        for symbol, side in (("KO", "buy"), ("PEP", "sell")):
            order = {"symbol": symbol, "qty": 25 * minute, "side": side, "type": "market", "time_in_force": "day"}
            self.call("POST", "/v2/orders", {**order, "client_order_id": f"{symbol}-{minute}"})

    def view(self):
        paths = ("/v2/orders?status=all&limit=500", "/v2/account/activities", "/v2/positions", "/v2/account")
        return [self.call("GET", path).json() for path in paths]


def played(data, folder, *, kill_at=()):
    """A whole replay with orders at each bar, killed and started again at some bars before or after the acknowledgement."""
    server = Process(data, folder)
    try:
        for minute in (1, 2, 3):
            watermark_ns = OPEN_NS + minute * MINUTE_NS
            server.until(state="waiting", watermark_ns=watermark_ns)
            server.orders(minute)
            if minute in kill_at:
                server.kill()
                server = Process(data, folder)
                assert server.until(watermark_ns=watermark_ns)["bars"] == minute
                server.orders(minute)  # a client that heard nothing sends again: its ids are taken
            server.call("POST", "/tandem/v1/replay/ack", {"name": "portfolio", "watermark_ns": watermark_ns})
        server.until(state="ended")
        replay_id = server.status()["replay_id"]
        return replay_id, server.view()
    finally:
        server.kill()


def test_a_killed_recycler_goes_on_with_the_same_account(data, tmp_path):
    whole = played(data, tmp_path / "whole")
    cut = played(data, tmp_path / "cut", kill_at=(1, 2))

    assert cut == whole
    assert len(whole[1][0]) == 6

    def lines(folder):  # the orders that were sent twice were refused before the exchange saw them
        return [orjson.loads(line) for line in (tmp_path / folder / "exchange.jsonl").read_bytes().splitlines()]

    assert lines("cut") == lines("whole")
    again = Process(data, tmp_path / "whole")
    try:
        assert again.until(state="ended")["replay_id"] == whole[0]
        assert again.view() == whole[1]
    finally:
        again.kill()


def test_a_log_of_other_options_is_refused(data, tmp_path):
    played(data, tmp_path / "log")
    command = [sys.executable, "-m", "tandem.recycler.main", "--data", str(data), "--state-dir", str(tmp_path / "log"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=dict(os.environ))
    assert done.returncode == 2
    assert "start with those of the log, or with another state-dir" in done.stderr


def test_orders_from_many_threads_are_each_taken_once(data):
    with serving(data, **PORTFOLIO) as server:
        at_first_bar(server)
        body = {"symbol": "KO", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
        codes = []

        def send(number):
            codes.append(server.post("/v2/orders", {**body, "client_order_id": f"o{number % 10}"}).status_code)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert sorted(codes) == [200] * 10 + [422] * 20
