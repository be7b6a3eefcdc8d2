"""The middleware between the recycler's application and its server that does wire faults, and the HTTP by which they are armed.

POST /tandem/faults takes one fault or a list (faults.py), GET tells what waits and what was done, DELETE forgets what waits. Wired in by
app.py; costs a look at an empty list when nothing is armed.
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tandem.domain.errors import BadSetting
from tandem.recycler import faults_rest
from tandem.recycler.access import Keys
from tandem.recycler.faults import Armory, faults_of
from tandem.recycler.faults_stream import Closed, FaultySend
from tandem.recycler.parameters import bad, document_of

_PATH = "/tandem/faults"


class WireFaults:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, armory: Armory) -> None:
        self._app, self._armory = app, armory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or websocket."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        fault = None
        if scope["type"] == "http" and self._armory.waiting and not scope["path"].startswith("/tandem/"):
            fault = self._armory.rest(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await faults_rest.do(fault, self._app, scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = FaultySend(send, self._armory, "updates" if scope["path"] == "/stream" else "market")
        gone = False

        async def told(message: Message) -> None:
            nonlocal gone
            if gone:
                return  # the client has gone: as a socket does, take what is still written, and lose it
            try:
                await sending(message)
            except Closed:
                gone = True

        async def heard() -> Message:
            if gone:
                return {"type": "websocket.disconnect", "code": 1006}
            return await receive()

        await self._app(scope, heard, told)


class FaultsApi:
    """The three requests."""

    def __init__(self, armory: Armory) -> None:
        self._armory = armory

    def routes(self, keys: Keys) -> list[Route]:
        """The routes, guarded."""
        table = {"GET": self.show, "POST": self.arm, "DELETE": self.disarm}
        return [Route(_PATH, keys.guard(handler), methods=[method]) for method, handler in table.items()]

    async def show(self, _: Request) -> Response:
        """What waits and what was done."""
        return self._answer()

    async def arm(self, request: Request) -> Response:
        """Add a fault or a list of them."""
        try:
            document = await document_of(request)
        except ValueError as error:
            raise bad(f"the body is no JSON: {error}") from error
        try:
            self._armory.arm(faults_of(document))
        except BadSetting as error:
            raise bad(str(error)) from error
        return self._answer()

    async def disarm(self, _: Request) -> Response:
        """Forget what waits."""
        self._armory.disarm()
        return self._answer()

    def _answer(self) -> Response:
        waiting: list[Mapping[str, Any]] = [fault.model_dump() for fault in self._armory.waiting]
        return JSONResponse({"waiting": waiting, "done": self._armory.done})
