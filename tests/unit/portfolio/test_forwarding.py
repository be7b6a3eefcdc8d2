"""A portfolio that stands by passes calls on to the one that writes, over a real socket, and never in a circle."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from free_ports import free_port
from service_process import wait_until
from tandem.adapters.postgres_views import PortfolioViews
from tandem.adapters.telemetry import HttpThread
from tandem.domain.control import TradingState
from tandem.local.probes import HOST, tcp_ready
from tandem.portfolio.api import make_app
from tandem.portfolio.api_parts import Parts
from tandem.portfolio.manager import PortfolioManager
from tandem.portfolio.session import Condition, address_of
from tandem.settings import Settings

from .test_api import ORDER, Broker, Client, NoCache


def parts(condition: Condition, published: list[TradingState]) -> Parts:
    """Of a process whose database is away."""
    return Parts(
        condition=condition,
        manager=PortfolioManager(Broker(), NoCache()),
        database=PortfolioViews("postgresql://u:p@127.0.0.1:1/x"),
        publish=published.append,
        token=SecretStr("t"),
    )


def standby(writer: str) -> Client:
    """A process that stands by; what it would publish itself is a fault."""

    def never(_: TradingState) -> None:
        raise AssertionError("one that stands by has acted itself")

    made = parts(Condition(reason="standing by: b/1 writes for the account", writer=writer), [])
    return Client(make_app(Parts(**{name: getattr(made, name) for name in ("condition", "manager", "database", "token")}, publish=never)))


@pytest.fixture
def published() -> list[TradingState]:
    """What the writer has told the control topic."""
    return []


@pytest.fixture
def writer(published: list[TradingState]) -> Iterator[str]:
    """host:port of a writer that is about to be ready."""
    port = free_port()
    thread = HttpThread(make_app(parts(Condition(reason="reconciling"), published)), HOST, port)
    thread.start()
    wait_until(lambda: tcp_ready(port) is None, "the writer listens")
    yield f"{HOST}:{port}"
    thread.stop()


def test_reading_gets_the_writers_answer(writer: str) -> None:
    """Also its reason why it cannot answer: not that of the one that was asked."""
    client = standby(writer)
    assert client.get("/v1/account").json()["cash"] == "1"
    answer = client.get("/v1/pairs?limit=3")
    assert (answer.status_code, answer.json()) == (503, {"detail": "not ready: reconciling"})


def test_the_kill_switch_works_at_any_of_them(writer: str, published: list[TradingState]) -> None:
    """With the token, which is passed on; without it the writer refuses."""
    client = standby(writer)
    assert client.post("/v1/trading-state", json=ORDER).status_code == 401
    assert published == []
    answer = client.post("/v1/trading-state", json=ORDER, headers={"Authorization": "Bearer t"})
    assert answer.status_code == 202, answer.text
    assert [state.mode for state in published] == ["halted"]


def test_nobody_passes_on_what_was_passed_on(writer: str) -> None:
    """Two that believe in each other for a moment must not play ball."""
    assert standby(writer).get("/livez").status_code == 200
    second = free_port()
    thread = HttpThread(make_app(parts(Condition(reason="standing by", writer=writer), [])), HOST, second)
    thread.start()
    try:
        wait_until(lambda: tcp_ready(second) is None, "the second listens")
        answer = standby(f"{HOST}:{second}").get("/v1/account")
    finally:
        thread.stop()
    assert answer.status_code == 503
    assert "does not write any more" in answer.json()["detail"]


def test_a_writer_that_is_gone_is_told() -> None:
    """With what happens next."""
    answer = standby(f"{HOST}:1").get("/v1/account")
    assert answer.status_code == 503
    assert "another takes over" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (Condition(reason="starting"), 503),
        (Condition(reason="standing by: b/1 writes for the account"), 503),  # it told no address: its calls could not be answered
        (Condition(reason="standing by: b/1 writes for the account", writer="10.0.0.2:8080"), 200),
    ],
    ids=["starts", "stands by without an address", "stands by"],
)
def test_a_replica_is_ready_when_it_trades_or_stands_by(condition: Condition, status: int) -> None:
    """/readyz itself stays the writer's: it is ready only where trading goes on."""
    client = Client(make_app(parts(condition, [])))
    assert client.get("/readyz/replica").status_code == status
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("host", "advertised", "address"),
    [
        ("127.0.0.1", "", "127.0.0.1:8080"),
        ("0.0.0.0", "10.0.0.2", "10.0.0.2:8080"),
        ("0.0.0.0", "fd00::2", "[fd00::2]:8080"),
        ("0.0.0.0", "", ""),
    ],
)
def test_the_address_that_others_use(host: str, advertised: str, address: str) -> None:
    """The pod's own; everything is no address."""
    assert address_of(Settings(host=host, advertised_host=advertised, port=8080)) == address
