"""Who may use the recycler, and how it says no. Any key and secret that are not empty, unless it was started with its own."""

import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

CODE_UNAUTHORIZED, CODE_NOT_FOUND, CODE_PARAMETER = 40110000, 40410000, 40010001
Handler = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """An answer that is an error, in Alpaca's form: {"code", "message", ...}."""

    def __init__(self, status: int, code: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.document = {"code": code, "message": message, **details}
        self.response = JSONResponse(self.document, status_code=status)


class Keys:
    """The key and secret that are accepted."""

    def __init__(self, key: str = "", secret: str = "") -> None:
        self._key, self._secret = key, secret

    def accept(self, key: object, secret: object) -> bool:
        """Whether this pair may connect."""
        if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
            return False
        if not self._key:
            return True
        return hmac.compare_digest(key.encode(), self._key.encode()) and hmac.compare_digest(secret.encode(), self._secret.encode())

    def guard(self, handler: Handler) -> Handler:
        """The handler behind the check of a request's headers; it answers a Refusal."""

        async def guarded(request: Request) -> Response:
            if not self.accept(*_credentials(request)):
                return Refusal(401, CODE_UNAUTHORIZED, "request is not authorized").response
            try:
                return await handler(request)
            except Refusal as refusal:
                return refusal.response

        return guarded


def _credentials(request: Request) -> tuple[str, str]:
    """Key and secret from Alpaca's two headers, from Basic, or a token from Bearer as both."""
    headers = request.headers
    if "apca-api-key-id" in headers:
        return headers["apca-api-key-id"], headers.get("apca-api-secret-key", "")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value, value
    if scheme.lower() == "basic":
        try:
            key, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return key, secret
    return "", ""
