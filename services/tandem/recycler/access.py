"""Who may use the recycler, and how it says no. Any key and secret that are not empty, unless it was started with its own."""

import base64
import binascii
import hmac
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tandem.recycler.rate_limit import RateLimit

CODE_UNAUTHORIZED, CODE_NOT_FOUND, CODE_PARAMETER, CODE_TOO_MANY = 40110000, 40410000, 40010001, 42910000
Handler = Callable[[Request], Awaitable[Response]]


class Refusal(Exception):
    """An answer that is an error, in Alpaca's form: {"code", "message", ...}."""

    def __init__(self, status: int, code: int, message: str, **details: str) -> None:
        super().__init__(message)
        self.document = {"code": code, "message": message, **details}
        self.response = JSONResponse(self.document, status_code=status)


class Keys:
    """The key and secret that are accepted, and how often each key may ask the trading API."""

    def __init__(self, key: str = "", secret: str = "", *, rate_per_min: int = 0) -> None:
        """rate_per_min: 0 for any number."""
        self._key, self._secret = key, secret
        self._rate = RateLimit(rate_per_min)

    def accept(self, key: object, secret: object) -> bool:
        """Whether this pair may connect."""
        if not (isinstance(key, str) and isinstance(secret, str) and key and secret):
            return False
        if not self._key:
            return True
        return hmac.compare_digest(key.encode(), self._key.encode()) and hmac.compare_digest(secret.encode(), self._secret.encode())

    def guard(self, handler: Handler, *, is_limited: bool = False) -> Handler:
        """The handler behind the check of a request's headers; it answers a Refusal. is_limited: it counts against the rate."""

        async def guarded(request: Request) -> Response:
            key, secret = _credentials(request)
            if not self.accept(key, secret):
                return Refusal(401, CODE_UNAUTHORIZED, "request is not authorized").response
            headers = self._rate.headers(key, time.time()) if is_limited else {}
            if headers is None:
                refused = Refusal(429, CODE_TOO_MANY, "too many requests.").response
                refused.headers.update(self._rate.refused_headers(time.time()))
                return refused
            try:
                answer = await handler(request)
            except Refusal as refusal:
                answer = refusal.response
            answer.headers.update(headers)
            return answer

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
