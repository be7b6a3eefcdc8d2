"""Every HTTP answer, and the handshake of every websocket, says which replay it is of and that its data is recycled."""

from collections.abc import Callable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.domain.market import Source

REPLAY_ID, SOURCE = "Tandem-Replay-Id", "Tandem-Source"


class ReplayHeaders:
    """ASGI middleware: adds the two headers."""

    def __init__(self, app: ASGIApp, replay_id: Callable[[], str]) -> None:
        self._app, self._replay_id = app, replay_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""

        async def labelled(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.accept"}:
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers[REPLAY_ID], headers[SOURCE] = self._replay_id(), Source.RECYCLED.value
            await send(message)

        await self._app(scope, receive, labelled)
