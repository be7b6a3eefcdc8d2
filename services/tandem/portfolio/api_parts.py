"""What the parts of the portfolio's HTTP API share: what they answer from, and the limits on what may be asked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Query
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.adapters.postgres_views import PortfolioViews
from tandem.domain.control import TradingState
from tandem.domain.errors import Transient
from tandem.portfolio.engine import Engine
from tandem.portfolio.manager import ORDERS_MAX, PortfolioManager
from tandem.portfolio.session import Condition

BODY_BYTES_MAX = 16_384  # the longest order of the kill switch is below 1 KiB
PAIR_PATTERN = r"^[A-Z][A-Z0-9.]{0,9}-[A-Z][A-Z0-9.]{0,9}$"
Limit = Annotated[int, Query(ge=1, le=ORDERS_MAX, description="At most so many, the newest.")]
PairName = Annotated[str, Query(description="Only this pair's, e.g. KO-PEP.", pattern=rf"^$|{PAIR_PATTERN}")]
PairPath = Annotated[str, Path(description="The pair, e.g. KO-PEP.", pattern=PAIR_PATTERN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the API answers from. publish: writes a trading state to the control topic durably."""

    condition: Condition
    manager: PortfolioManager
    database: PortfolioViews
    publish: Callable[[TradingState], None]
    token: SecretStr


def engine_of(parts: Parts) -> Engine:
    """The running engine. Raises Transient with the reason while there is none."""
    engine = parts.condition.engine
    if engine is None:
        raise Transient(f"not ready: {parts.condition.why_not_ready()}")
    return engine


class BodyLimit:
    """Takes a request's body before anybody else does, and refuses one that is longer than the limit, announced or not."""

    def __init__(self, app: ASGIApp, bytes_max: int = BODY_BYTES_MAX) -> None:
        self._app, self._bytes_max = app, bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer 413."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        taken: list[Message] = []
        size = 0
        while not taken or taken[-1].get("more_body", False):
            taken.append(await receive())
            size += len(taken[-1].get("body", b""))
            if size > self._bytes_max:
                await _refuse(send, self._bytes_max)
                return
        taken.reverse()

        async def again() -> Message:
            return taken.pop() if taken else await receive()

        await self._app(scope, again, send)


async def _refuse(send: Send, bytes_max: int) -> None:
    body = b'{"detail":"the body is longer than %d bytes"}' % bytes_max
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
