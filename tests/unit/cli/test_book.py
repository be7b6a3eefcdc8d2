"""What the commands show of a service's answer, against an HTTP server on this machine that answers as the services do."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner, Result

from tandem.cli.main import app

FORECAST = {
    "pair": "KO-PEP",
    "leg_a": "KO",
    "leg_b": "PEP",
    "price_a": 50.0,
    "price_b": 100.0,
    "z": -2.5,
    "variance": 1e-4,
    "reversion_probability": 0.71,
    "half_life_bars": 12.0,
    "sector": "consumer",
    "model": {"name": "pairs_trading_gru_garch_consumer_v1", "version": "3", "digest": "d"},
}
ORDERS = [
    {
        "client_order_id": "tdm-1",
        "pair": "KO-PEP",
        "symbol": "KO",
        "side": "buy",
        "qty": "12",
        "type": "market",
        "limit_price": None,
        "status": "filled",
        "filled_qty": "12",
        "filled_avg_price": "50.01",
        "decided_ns": 1_500_000_000_000_000_000,
        "legs": None,
    }
]
PAIRS = [
    {
        "pair": "KO-PEP",
        "sector": "consumer",
        "state": "hedged",
        "direction": -1,
        "legs": [{"symbol": "KO", "held": "-12"}, {"symbol": "PEP", "held": "9"}],
        "forecast": {"z": -2.5, "reversion_probability": 0.71, "version": "3"},
        "pnl": {"total_usd": "12.30"},
        "waiting": None,
    },
    {
        "pair": "HD-WMT",
        "sector": "consumer",
        "state": "flat",
        "direction": 0,
        "legs": [{"symbol": "HD", "held": "0"}, {"symbol": "WMT", "held": "0"}],
        "forecast": None,
        "pnl": {"total_usd": "0"},
        "waiting": "PairNotInModel",
    },
]
POSITIONS = [{"symbol": "KO", "qty": "-12", "market_value": "-600.12", "pairs": [{"pair": "KO-PEP", "qty": "-12"}]}]
Answers = dict[str, tuple[int, object]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answers], str]]:
    """Start a server that gives a status and a JSON document for each "METHOD path?query"; any other request is a 404."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                status, document = answers.get(f"{self.command} {self.path}", (404, {"detail": f"no {self.path}"}))
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(document if isinstance(document, bytes) else json.dumps(document).encode())

            do_GET = do_POST = answer  # noqa: N815  (the names that http.server calls)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        servers.append(server := ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def tandem(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, arguments)


def test_orders_are_shown_as_a_table_with_times_in_utc(serve: Callable[[Answers], str]) -> None:
    """The limit and the pair are asked of the API."""
    url = serve({"GET /v1/orders?limit=20&pair=KO-PEP": (200, ORDERS)})
    result = tandem("orders", "--pair", "ko-pep", "--url", url)
    assert result.exit_code == 0, result.stderr
    assert "2017-07-14 02:40:00" in result.stdout
    assert "50.01" in result.stdout


def test_pairs_are_shown_with_what_they_hold_and_why_they_wait(serve: Callable[[Answers], str]) -> None:
    """One row for a held pair, one for a pair that no version holds."""
    held, waiting = tandem("pairs", "--url", serve({"GET /v1/pairs": (200, PAIRS)})).stdout.splitlines()[3:5]
    assert held.split() == ["KO-PEP", "consumer", "hedged", "short", "-12", "KO,", "+9", "PEP", "-2.50", "0.710", "3", "12.30"]
    assert waiting.split() == ["HD-WMT", "consumer", "flat", "0", "PairNotInModel"]


def test_positions_are_shown_with_the_pairs_they_belong_to(serve: Callable[[Answers], str]) -> None:
    """A field that the broker does not send is left empty."""
    assert "KO-PEP -12" in tandem("positions", "--url", serve({"GET /v1/positions": (200, POSITIONS)})).stdout


def test_orders_as_json_are_what_the_api_answers(serve: Callable[[Answers], str]) -> None:
    """Nothing is rounded or left out."""
    url = serve({"GET /v1/orders?limit=5": (200, ORDERS)})
    assert json.loads(tandem("orders", "--limit", "5", "--json", "--url", url).stdout) == ORDERS


def test_an_empty_list_says_so(serve: Callable[[Answers], str]) -> None:
    """No positions is an answer, not an error; JSON stays JSON."""
    url = serve({"GET /v1/positions": (200, [])})
    assert tandem("positions", "--url", url).stderr == "no positions\n"
    assert json.loads(tandem("positions", "--json", "--url", url).stdout) == []


def test_a_forecast_is_shown_with_the_version_that_made_it(serve: Callable[[Answers], str]) -> None:
    """Name, version, z, probability."""
    url = serve({"POST /forecast": (200, FORECAST)})
    output = tandem("forecast", "ko-pep", "--url", url).stdout
    assert all(text in output for text in ("pairs_trading_gru_garch_consumer_v1", "-2.50", "0.710", "KO 50.00, PEP 100.00"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            (404, [{"error": "pair 'KO-PEP' is not in this model; it holds HD-WMT"}]),
            ": pair 'KO-PEP' is not in this model; it holds HD-WMT",
        ),
        ((404, {"error": "no forecast yet"}), "no forecast yet"),
        ((503, {"error": "rebuilding"}), "answers 503: rebuilding"),
        ((422, {"detail": "pair is missing"}), "answers 422: pair is missing"),
        ((200, b"<html>"), "does not answer in JSON"),
        ((200, []), "answers with a list, must be an object"),
    ],
)
def test_a_refusal_is_told_in_the_services_own_words(serve: Callable[[Answers], str], answer: tuple[int, object], reason: str) -> None:
    """Exit code 1 and the reason."""
    result = tandem("forecast", "KO-PEP", "--url", serve({"POST /forecast": answer}))
    assert result.exit_code == 1
    assert reason in result.stderr


def test_a_service_that_does_not_answer_is_named(serve: Callable[[Answers], str]) -> None:
    """The address that was tried, and what to do next."""
    result = tandem("pairs", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1/v1/pairs does not answer" in result.stderr
    assert "tandem status" in result.stderr


@pytest.mark.parametrize(
    ("servers", "reason"),
    [("127.0.0.1:1", "Kafka is not there: 127.0.0.1:1"), ("localhost", "found 'localhost', must be host:port")],
)
def test_a_kafka_that_is_away_is_told_at_once(servers: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the client's own half minute of asking; a setting that is none is told with its form."""
    monkeypatch.setenv("TANDEM_KAFKA_BOOTSTRAP_SERVERS", servers)
    result = tandem("delete", "pair", "KO-PEP")
    assert result.exit_code == 1
    assert reason in result.stderr


def test_a_pair_that_is_none_is_refused_before_asking() -> None:
    """The form is told."""
    assert "expected two symbols joined by '-'" in tandem("orders", "--pair", "KO").stderr
