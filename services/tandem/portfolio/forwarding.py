"""Passes the API's calls on from a portfolio that stands by to the one that writes, so that a Service may choose any of them.

Health and series are each process's own and are never passed on. Used by api.py.
"""

from collections.abc import Callable

import httpx
import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.get_logger()
_TIMEOUT_S = 30.0  # the longest answer of the API, a release that waits for the decision thread, takes less
_ONCE = "x-tandem-forwarded"  # a call that was passed on is not passed on again: for a moment nobody may write
_PASSED_ON = ("authorization", "content-type", "accept")


class Forwarding:
    """Answers with the writer's words while this process stands by. writer: host:port of the writer, "" while this process is it."""

    def __init__(self, app: ASGIApp, writer: Callable[[], str]) -> None:
        self._app, self._writer = app, writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or answer here."""
        writer = self._writer() if scope["type"] == "http" and scope["path"].startswith("/v1/") else ""
        if not writer:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = await _ask(request, writer) if _ONCE not in request.headers else _away(f"{writer} does not write any more")
        await answer(scope, receive, send)


async def _ask(request: Request, writer: str) -> Response:
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers} | {_ONCE: "1"}
    url = request.url.replace(scheme="http", netloc=writer)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client:
            told = await client.request(request.method, str(url), headers=headers, content=await request.body())
    except httpx.TransportError as error:
        log.warning("forwarding_failed", writer=writer, error=repr(error))
        return _away(f"{writer} writes for the account and does not answer; another takes over within ten seconds")
    return Response(told.content, status_code=told.status_code, media_type=told.headers.get("content-type"))


def _away(detail: str) -> Response:
    return JSONResponse({"detail": f"standing by: {detail}"}, status_code=503)
