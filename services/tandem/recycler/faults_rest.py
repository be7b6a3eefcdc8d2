"""REST answers that are not what happened: done by running the request, or not, and answering something else. Called by faults_wire.py."""

import asyncio

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.recycler.faults import RestFault

_LIMIT = 200  # Alpaca's requests a minute and account
_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)
_ANNOUNCED = 4_096  # bytes that a torn answer says it has


async def do(fault: RestFault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer this request wrongly."""
    match fault.rest:
        case "lost_504":
            await _run(app, scope, receive)
            await JSONResponse({"message": "upstream request timeout"}, status_code=504)(scope, receive, send)
        case "lost_502":
            await _run(app, scope, receive)
            await HTMLResponse(_PAGE, status_code=502)(scope, receive, send)
        case "refused_502":
            await HTMLResponse(_PAGE, status_code=502)(scope, receive, send)
        case "error_500":
            await JSONResponse({"code": 50010000, "message": "internal server error occurred"}, status_code=500)(scope, receive, send)
        case "limited":
            await _limited()(scope, receive, send)
        case "garbled":
            await _run(app, scope, receive)
            await Response(b'{"id": "61e6', media_type="application/json")(scope, receive, send)
        case "empty":
            await _run(app, scope, receive)
            await JSONResponse({})(scope, receive, send)
        case "torn":
            await _run(app, scope, receive)
            await _torn(send)
        case "slow":
            await app(scope, receive, _after(fault.seconds, send))
        case "hang":
            await _hang(fault.seconds, receive, send)


async def _run(app: ASGIApp, scope: Scope, receive: Receive) -> None:
    """Let it happen, and throw the answer away."""

    async def nowhere(_: Message) -> None:
        return

    await app(scope, receive, nowhere)


def _limited() -> Response:
    headers = {"X-RateLimit-Limit": str(_LIMIT), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0", "Retry-After": "1"}
    return JSONResponse({"code": 42910000, "message": "rate limit exceeded"}, status_code=429, headers=headers)


async def _torn(send: Send) -> None:
    """Less than was announced: the server closes the connection, and the client has half an answer."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(_ANNOUNCED).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"id": "61e6', "more_body": True})


async def _hang(seconds: float, receive: Receive, send: Send) -> None:
    """No answer, until the client has gone or it has been long enough."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        await _torn(send)


def _after(seconds: float, send: Send) -> Send:
    """Sends late: it happened at once, but who asked hears of it afterwards."""
    begun = False

    async def late(message: Message) -> None:
        nonlocal begun
        if not begun:
            begun = True
            await asyncio.sleep(seconds)
        await send(message)

    return late
