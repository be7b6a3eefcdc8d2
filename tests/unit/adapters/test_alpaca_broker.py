"""The broker's REST over a real socket with scripted answers: every answer a broker may give, and none at all."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tandem.adapters import alpaca_broker
from tandem.adapters.alpaca_broker import AlpacaBroker, order_report
from tandem.domain.errors import BadRecord, Permanent, Transient
from tandem.domain.ids import PairId, Symbol
from tandem.domain.trading import Charge, Order, OrderStatus, Side

ORDER = Order(
    client_order_id="tdm-1",
    intent_id="i",
    pair=PairId("KO-PEP"),
    leg="a",
    attempt=0,
    symbol=Symbol("KO"),
    side=Side.BUY,
    qty=10,
    limit_usd=None,
    decided_ns=0,
)
TAKEN = {"id": "B1", "client_order_id": "tdm-1", "status": "new", "filled_qty": "0", "symbol": "KO"}
Answer = tuple[int, Any]


@dataclass
class Script:
    """What the server answers, by method and path; each list is used up, its last entry stays. A callable may do anything."""

    answers: dict[str, list[Answer | Callable[[BaseHTTPRequestHandler], None]]] = field(default_factory=dict)
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)  # whoever hangs may go

    def asked(self, method: str) -> int:
        return sum(1 for found, *_ in self.requests if found == method)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def broker(script: Script) -> Iterator[AlpacaBroker]:
    """A broker at a scripted server; alpaca-py's own waits between its repetitions are left out."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            script.requests.append((self.command, self.path, json.loads(body) if body else None))
            entries = script.answers.get(f"{self.command} {path}", [(404, {"code": 40410000, "message": "not found"})])
            entry = entries.pop(0) if len(entries) > 1 else entries[0]
            if callable(entry):
                entry(self)
                return
            status, content = entry
            data = content.encode() if isinstance(content, str) else b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    made = AlpacaBroker(key_id="k", secret_key="s", url=f"http://127.0.0.1:{server.server_port}")
    made._client._retry_wait = 0
    yield made
    script.is_over.set()
    made.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_environment_names_a_proxy_once(broker: AlpacaBroker, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read when the connection is made: looking through it again takes a fifth of an order's way."""
    script.answers["GET http://broker.example/v2/positions"] = [(200, [])]
    with monkeypatch.context() as environment:
        environment.setenv("HTTP_PROXY", broker._place)
        environment.setenv("REQUESTS_CA_BUNDLE", "/certificates.pem")
        behind = AlpacaBroker(key_id="k", secret_key="s", url="http://broker.example")
        environment.setenv("NO_PROXY", "broker.example")
        beside = AlpacaBroker(key_id="k", secret_key="s", url="http://broker.example")

    assert behind.positions() == ()
    assert behind._client._session.verify == "/certificates.pem"
    assert beside._client._session.proxies == {}
    behind.close()
    beside.close()


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(2)


def test_an_order_is_sent_with_text_for_numbers_and_its_id(broker: AlpacaBroker, script: Script) -> None:
    script.answers["POST /v2/orders"] = [(200, TAKEN)]

    report = broker.submit(ORDER)

    assert (report.status, report.broker_order_id) == (OrderStatus.ACCEPTED, "B1")
    assert script.requests[0][2] == {
        "symbol": "KO",
        "qty": "10",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "tdm-1",
    }


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ((403, {"code": 40310000, "message": "insufficient buying power"}), OrderStatus.REJECTED, "403: insufficient buying power"),
        ((422, {"code": 42210000, "message": "asset KO cannot be sold short"}), OrderStatus.REJECTED, "422: asset KO cannot be sold short"),
        ((401, "unauthorized."), OrderStatus.REJECTED, "401: unauthorized."),
        ((500, {"code": 1, "message": "internal"}), OrderStatus.UNKNOWN, "500: internal"),
        ((502, "<html>bad gateway</html>\nmore"), OrderStatus.UNKNOWN, "502: <html>bad gateway</html>"),
        ((429, {"message": "too many requests"}), OrderStatus.UNKNOWN, "429: too many requests"),
        ((504, None), OrderStatus.UNKNOWN, "504: no message"),
        ((200, "not json"), OrderStatus.UNKNOWN, "JSONDecodeError"),
        ((200, {**TAKEN, "status": "brand_new_word"}), OrderStatus.UNKNOWN, "BadRecord"),
        ((200, {**TAKEN, "client_order_id": "tdm-2"}), OrderStatus.UNKNOWN, "tdm-2"),
        ((200, [TAKEN]), OrderStatus.UNKNOWN, "BadRecord"),
        ((200, None), OrderStatus.UNKNOWN, "BadRecord"),
        (hang_up, OrderStatus.UNKNOWN, "ConnectionError"),
    ],
)
def test_only_a_clear_refusal_is_a_refusal(broker: AlpacaBroker, script: Script, answer: Answer, status: OrderStatus, reason: str) -> None:
    """Everything that leaves the outcome open is UNKNOWN, never failed."""
    script.answers["POST /v2/orders"] = [answer]

    report = broker.submit(ORDER)

    assert report.status is status
    assert reason in report.reason


def test_no_answer_in_time_is_no_refusal(broker: AlpacaBroker, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpaca_broker, "_READ_TIMEOUT_S", 0.3)
    script.answers["POST /v2/orders"] = [lambda _: script.is_over.wait()]

    report = broker.submit(ORDER)

    assert report.status is OrderStatus.UNKNOWN
    assert "ReadTimeout" in report.reason


def test_an_order_that_was_taken_behind_a_504_is_found_when_its_repetition_is_refused(broker: AlpacaBroker, script: Script) -> None:
    """alpaca-py repeats the POST after 504; the broker refuses the second one because it has the first."""
    script.answers["POST /v2/orders"] = [(504, None), (422, {"code": 40010001, "message": "client_order_id must be unique"})]
    script.answers["GET /v2/orders:by_client_order_id"] = [(200, {**TAKEN, "status": "filled", "filled_qty": "10"})]

    report = broker.submit(ORDER)

    assert (report.status, report.filled_qty) == (OrderStatus.FILLED, "10")
    assert script.asked("POST") == 2


def test_alpaca_pys_own_repetitions_are_bounded(broker: AlpacaBroker, script: Script) -> None:
    script.answers["POST /v2/orders"] = [(504, None)]
    broker.submit(ORDER)

    assert script.asked("POST") == 4


def test_not_found_is_none_and_away_is_not(broker: AlpacaBroker, script: Script) -> None:
    assert broker.find("tdm-1") is None

    script.answers["GET /v2/orders:by_client_order_id"] = [(503, {"message": "maintenance"})]
    with pytest.raises(Transient, match="503: GET /orders:by_client_order_id: maintenance"):
        broker.find("tdm-1")


def test_a_failed_question_for_positions_is_never_read_as_flat(broker: AlpacaBroker, script: Script) -> None:
    script.answers["GET /v2/positions"] = [hang_up]
    with pytest.raises(Transient):
        broker.positions()

    script.answers["GET /v2/positions"] = [(403, {"message": "forbidden"})]
    with pytest.raises(Permanent, match="forbidden"):
        broker.positions()


NO_LISTS = [{}, {"message": "maintenance"}, None, "", ["KO"], 7]


@pytest.mark.parametrize("body", NO_LISTS)
@pytest.mark.parametrize(
    "ask", [AlpacaBroker.positions, AlpacaBroker.positions_view, lambda broker: broker.fills(0), lambda broker: broker.fees(0)]
)
def test_a_200_that_is_no_list_is_never_read_as_nothing(broker: AlpacaBroker, script: Script, ask: Any, body: object) -> None:
    """A proxy's page says nothing of what is held, and nothing of what was executed."""
    for path in ("/v2/positions", "/v2/account/activities", "/v2/account/activities/FILL"):
        script.answers[f"GET {path}"] = [(200, body)]
    with pytest.raises(Transient):
        ask(broker)


@pytest.mark.parametrize("name", ["20240703::a", None], ids=["the same page again", "no id"])
def test_pages_of_activities_without_a_way_on_end_the_question(broker: AlpacaBroker, script: Script, name: str | None) -> None:
    """It would be asked for ever."""
    row = {"id": name, "activity_type": "FEE", "net_amount": "-0.01", "date": "2024-07-03"}
    script.answers["GET /v2/account/activities"] = [(200, [row] * 100)]
    with pytest.raises(Transient, match="no way on"):
        broker.fees(0)
    assert script.asked("GET") <= 2


@pytest.mark.parametrize("body", [*NO_LISTS, [TAKEN], {**TAKEN, "client_order_id": "tdm-2"}, {**TAKEN, "status": "brand_new_word"}])
def test_a_200_that_does_not_tell_of_the_order_is_never_read_as_its_absence(broker: AlpacaBroker, script: Script, body: object) -> None:
    """An order that was thought to be absent would count as canceled while it works."""
    script.answers["GET /v2/orders:by_client_order_id"] = [(200, body)]
    with pytest.raises(Transient):
        broker.find("tdm-1")

    script.answers["POST /v2/orders"] = [(422, {"code": 40010001, "message": "client_order_id must be unique"})]
    assert broker.submit(ORDER).status is OrderStatus.UNKNOWN


@pytest.mark.parametrize("body", [{}, [], None, {"id": "a"}, {"id": "a", "cash": "much", "equity": "1", "buying_power": "1"}])
def test_an_account_without_its_money_is_none(broker: AlpacaBroker, script: Script, body: object) -> None:
    script.answers["GET /v2/account"] = [(200, body)]
    with pytest.raises((Transient, BadRecord)):
        broker.account()


def test_nothing_is_canceled_without_an_id(broker: AlpacaBroker, script: Script) -> None:
    """The address would be that of all orders."""
    with pytest.raises(AssertionError):
        broker.cancel("")
    assert script.asked("DELETE") == 0


@pytest.mark.parametrize(("qty", "side", "expected"), [("5", "long", 5), ("-7", "short", -7), ("7", "short", -7)])
def test_a_short_position_is_negative_whichever_sign_the_broker_writes(
    broker: AlpacaBroker, script: Script, qty: str, side: str, expected: int
) -> None:
    script.answers["GET /v2/positions"] = [
        (200, [{"symbol": "KO", "qty": qty, "side": side}, {"symbol": "PEP", "qty": "0", "side": "long"}])
    ]

    assert [(p.symbol, p.qty) for p in broker.positions()] == [("KO", Decimal(expected))]


@pytest.mark.parametrize(("status", "canceled"), [(204, True), (404, False), (422, False)])
def test_cancel_says_whether_it_was_taken(broker: AlpacaBroker, script: Script, status: int, canceled: bool) -> None:
    script.answers["DELETE /v2/orders/B1"] = [(status, None if status == 204 else {"message": "no"})]

    assert broker.cancel("B1") is canceled


def test_executions_are_read_page_by_page_and_tied_to_our_ids(broker: AlpacaBroker, script: Script) -> None:
    """Alpaca's activities name only the broker's order id, and put the execution's id behind the time."""
    base = {"side": "sell_short", "symbol": "KO", "qty": "10", "price": "50.25", "order_id": "B1"}
    rows = [{**base, "id": f"20190524113406977::e{n}", "transaction_time": f"2022-03-01T14:30:00.{n:09d}Z"} for n in range(150)]
    script.answers["GET /v2/account/activities/FILL"] = [(200, rows[:100]), (200, rows[100:])]
    script.answers["GET /v2/orders/B1"] = [(200, TAKEN)]

    fills = broker.fills(0)

    assert len(fills) == 150
    assert (fills[7].execution_id, fills[7].client_order_id, fills[7].side, fills[7].price_usd) == (
        "e7",
        "tdm-1",
        Side.SELL,
        Decimal("50.25"),
    )
    assert fills[7].event_ns % 1_000_000_000 == 7
    assert "page_token=20190524113406977%3A%3Ae99" in script.requests[-1][1] or "page_token=20190524113406977%3A%3Ae99" in " ".join(
        path for _, path, _ in script.requests
    )
    assert sum(path == "/v2/orders/B1" for _, path, _ in script.requests) == 1


@pytest.mark.parametrize(
    ("activity_type", "description", "net_amount", "expected"),
    [
        ("FEE", "TAF fee", "-0.05", (Charge.FEE, "0.05")),
        ("FEE", "BORROW: 100 KO", "-1.25", (Charge.BORROW, "1.25")),
        ("DIV", "", "12.50", (Charge.DIVIDEND, "-12.50")),
        ("DIVNRA", "tax withheld", "-1.87", (Charge.DIVIDEND, "1.87")),
        ("DIVWH", "tax withheld", "-0.31", (Charge.DIVIDEND, "0.31")),
        ("SPLIT", "3 for 2", "122.10", (Charge.DIVIDEND, "-122.10")),
        ("CIL", "half a share", "-7.05", (Charge.DIVIDEND, "7.05")),
        ("INT", "margin", "-3", (Charge.INTEREST, "3")),
    ],
)
def test_a_charge_is_known_by_its_kind(  # noqa: PLR0917  (a row of a table)
    broker: AlpacaBroker, script: Script, activity_type: str, description: str, net_amount: str, expected: tuple[Charge, str]
) -> None:
    row = {"id": "a", "date": "2022-03-01", "net_amount": net_amount, "description": description, "activity_type": activity_type}
    script.answers["GET /v2/account/activities"] = [(200, [row])]

    (charge,) = broker.fees(0)

    assert (charge.charge, charge.amount_usd) == (expected[0], Decimal(expected[1]))


@pytest.mark.parametrize("money", [{}, {"net_amount": None}, {"net_amount": "0"}])
def test_a_split_without_a_fraction_charges_nothing(broker: AlpacaBroker, script: Script, money: dict[str, str | None]) -> None:
    """Most splits move shares only."""
    script.answers["GET /v2/account/activities"] = [(200, [{"id": "a", "date": "2022-03-01", "activity_type": "SPLIT", **money}])]
    assert broker.fees(0) == ()


def test_a_fee_is_what_the_account_lost(broker: AlpacaBroker, script: Script) -> None:
    """Alpaca's fees have a date and no time."""
    script.answers["GET /v2/account/activities"] = [
        (200, [{"id": "a::1", "date": "2022-03-01", "net_amount": "-0.05", "description": "TAF fee", "activity_type": "FEE"}])
    ]

    (fee,) = broker.fees(0)

    assert (fee.activity_id, fee.symbol, fee.amount_usd, fee.description) == ("a::1", None, Decimal("0.05"), "TAF fee")
    assert fee.event_ns == 1_646_092_800_000_000_000


@pytest.mark.parametrize("change", [{"price": "NaN"}, {"price": "0"}, {"qty": "x"}, {"side": "hold"}, {"transaction_time": "yesterday"}])
def test_an_execution_that_a_ledger_cannot_take_is_refused(broker: AlpacaBroker, script: Script, change: dict[str, str]) -> None:
    row = {"id": "t::e", "side": "buy", "symbol": "KO", "qty": "1", "price": "5", "transaction_time": "2022-03-01T14:30:00Z"}
    script.answers["GET /v2/account/activities/FILL"] = [(200, [{**row, "client_order_id": "c", "order_id": "B", **change}])]

    with pytest.raises(BadRecord):
        broker.fills(0)


def test_all_of_alpacas_order_statuses_are_known() -> None:
    """The list of Alpaca's documentation (orders, order status)."""
    words = (
        "new partially_filled filled done_for_day canceled expired replaced pending_cancel pending_replace accepted pending_new "
        "accepted_for_bidding stopped rejected suspended calculated held"
    )
    for word in words.split():
        assert order_report({**TAKEN, "status": word}).status is not OrderStatus.UNKNOWN
