"""The HTTP API while there is no engine, and who may change anything."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tandem.adapters.postgres_views import PortfolioViews
from tandem.domain.control import TradingState
from tandem.domain.errors import Permanent, Transient
from tandem.domain.trading import TradingMode
from tandem.portfolio.api import make_app
from tandem.portfolio.api_parts import Parts
from tandem.portfolio.manager import PortfolioManager
from tandem.portfolio.session import Condition


class Broker:
    """Answers with an account, or fails as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def account_view(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"id": "a", "cash": "1", "equity": "2", "buying_power": "3", "a_field_of_tomorrow": "kept"}

    def positions_view(self) -> list[dict[str, Any]]:
        return []

    def orders_view(self, limit: int) -> list[dict[str, Any]]:
        return []


class NoCache:
    """A cache that is away."""

    def get(self, name: str) -> bytes | None:
        raise Transient("away")

    def put(self, name: str, value: bytes, ttl_s: int) -> None:
        raise Transient("away")

    def drop(self, *names: str) -> None:
        raise Transient("away")


class Client:
    """Questions to the app without a socket."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._ask("GET", path))

    def post(self, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **more))

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.request(method, path, **more)


def client(published: list[TradingState], token: str = "t", error: Exception | None = None) -> Client:
    parts = Parts(
        condition=Condition(reason="reconciling"),
        manager=PortfolioManager(Broker(error), NoCache()),
        database=PortfolioViews("postgresql://u:p@127.0.0.1:1/x"),
        publish=published.append,
        token=SecretStr(token),
    )
    return Client(make_app(parts))


ORDER = {"scope": "pair/KO-PEP", "mode": "halted", "reason": "test"}


@pytest.mark.parametrize("path", ["pairs", "positions", "orders", "summary", "fills", "pnl"])
def test_without_an_engine_the_answer_is_503_with_the_reason(path: str) -> None:
    answer = client([]).get(f"/v1/{path}")

    assert answer.status_code == 503
    assert answer.json() == {"detail": "not ready: reconciling"}


def test_readiness_tells_the_same_reason_and_the_process_lives() -> None:
    made = client([])

    assert (made.get("/readyz").status_code, made.get("/readyz").json()["reason"]) == (503, "reconciling")
    assert made.get("/livez").text == "ok"
    assert "python_info" in made.get("/metrics").text


def test_the_account_needs_no_engine_and_keeps_fields_that_we_do_not_know() -> None:
    assert client([]).get("/v1/account").json()["a_field_of_tomorrow"] == "kept"


@pytest.mark.parametrize(("error", "status"), [(Transient("broker away"), 503), (Permanent("forbidden"), 502)])
def test_the_brokers_failure_is_told_and_not_hidden(error: Exception, status: int) -> None:
    answer = client([], error=error).get("/v1/account")

    assert (answer.status_code, answer.json()) == (status, {"detail": str(error)})


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    answer = client([]).get("/v1/trading-state")

    assert answer.status_code == 503
    assert "127.0.0.1:1/x" in answer.json()["detail"]
    assert "u:p" not in answer.text


@pytest.mark.parametrize(
    ("token", "header", "status"),
    [("t", None, 401), ("t", "Bearer wrong", 401), ("t", "Basic dDp0", 401), ("", "Bearer ", 403), ("", None, 403), ("t", "Bearer t", 202)],
)
def test_only_the_token_opens_the_kill_switch(token: str, header: str | None, status: int) -> None:
    published: list[TradingState] = []
    answer = client(published, token).post("/v1/trading-state", json=ORDER, headers={"Authorization": header} if header else {})

    assert answer.status_code == status
    expected = [TradingState(scope="pair/KO-PEP", mode=TradingMode.HALTED, reason="test")] if status == 202 else []
    assert published == expected


@pytest.mark.parametrize(
    "change",
    [{"scope": "all"}, {"scope": "pair/KO"}, {"scope": "sector/"}, {"mode": "off"}, {"reason": ""}, {"reason": "a\0b"}, {"more": 1}],
    ids=str,
)
def test_an_order_that_names_nothing_is_refused(change: dict[str, object]) -> None:
    published: list[TradingState] = []
    answer = client(published).post("/v1/trading-state", json=ORDER | change, headers={"Authorization": "Bearer t"})

    assert (answer.status_code, published) == (422, [])


def test_refresh_without_a_cache_is_no_error() -> None:
    answer = client([]).post("/v1/cache/refresh", headers={"Authorization": "Bearer t"})

    assert (answer.status_code, answer.json()["refreshes"]) == (200, 1)


WRITES = [
    ("/v1/trading-state", ORDER),
    ("/v1/cache/refresh", None),
    ("/v1/pairs/KO-PEP/release", {"reason": "looked at it"}),
    ("/v1/breakers/daily_loss/reset", None),
]


def test_the_calls_that_change_something_are_these_and_each_asks_for_the_token_in_its_description() -> None:
    """A new one without the token would show here."""
    document = client([]).get("/openapi.json").json()

    writes = {path: verbs["post"] for path, verbs in document["paths"].items() if set(verbs) - {"get"}}
    assert sorted(writes) == ["/v1/breakers/{breaker}/reset", "/v1/cache/refresh", "/v1/pairs/{pair}/release", "/v1/trading-state"]
    assert all(call["security"] == [{"HTTPBearer": []}] for call in writes.values())
    assert all({"401", "403"} <= set(call["responses"]) for call in writes.values())


@pytest.mark.parametrize(("path", "body"), WRITES)
@pytest.mark.parametrize(
    ("token", "header", "status"), [("t", None, 401), ("t", "Bearer tt", 401), ("t", "Bearer \u00e9", 401), ("", "Bearer t", 403)]
)
def test_nothing_is_writable_without_the_token(
    path: str, body: dict[str, object] | None, token: str, header: str | None, status: int
) -> None:
    published: list[TradingState] = []
    headers = {"Authorization": header.encode()} if header else {}
    answer = client(published, token).post(path, json=body, headers=headers)

    assert (answer.status_code, published) == (status, [])


@pytest.mark.parametrize("path", ["attribution", "risk"])
def test_reports_of_the_book_wait_for_the_engine(path: str) -> None:
    assert client([]).get(f"/v1/{path}").status_code == 503


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/attribution?by=leg", 422),
        ("/v1/equity?limit=0", 422),
        ("/v1/signals?pair=KO", 422),
        ("/v1/fills?pair=%00", 422),
        ("/v1/orders?limit=501", 422),
        ("/v1/audit/" + "x" * 129, 422),
    ],
)
def test_a_question_outside_its_limits_is_refused(path: str, status: int) -> None:
    assert client([]).get(path).status_code == status


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_end_is_refused_before_it_is_in_memory(announced: bool) -> None:
    """Announced or streamed in pieces."""
    body = b"x" * 200_000

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    headers = {"Authorization": "Bearer t", "content-type": "application/json"}
    answer = client([]).post("/v1/trading-state", content=body if announced else pieces(), headers=headers)

    assert (answer.status_code, answer.json()) == (413, {"detail": "the body is longer than 16384 bytes"})
