"""The registry's webhook: something has changed in MLflow, look now instead of at the next poll. It only shortens the wait.

MLflow signs each delivery (HMAC-SHA256 over id.timestamp.body) with a secret of the webhook's. What is not signed by it, or is old, is
refused, so that nobody can make the operator busy. The body is believed for the name of a model only. Served by process.py.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

PATH = "/webhooks/mlflow"
AGE_S_MAX = 300.0  # of a delivery; MLflow tries again three times within seconds
_BODY_BYTES_MAX = 65_536
_VERSION = "v1"


def webhook_route(secret: str, wake: Callable[[str], None], *, clock: Callable[[], float] = time.time) -> Iterable[Route]:
    """The route, or none without a secret. wake: told the name of the registered model that has changed, "" where it is not said."""
    if not secret:
        return ()

    async def receive(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return PlainTextResponse(f"at most {_BODY_BYTES_MAX} bytes", status_code=413)
        headers = request.headers
        signed = (headers.get("x-mlflow-delivery-id", ""), headers.get("x-mlflow-timestamp", ""))
        if not verified(secret, *signed, body, headers.get("x-mlflow-signature", ""), now_s=clock()):
            return PlainTextResponse("not signed by this webhook's secret, or too old", status_code=401)
        wake(changed_model(body))
        return Response(status_code=204)

    return (Route(PATH, receive, methods=["POST"]),)


async def _body(request: Request) -> bytes | None:
    """The body; None when it is larger than any of MLflow's."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES_MAX:
            return None
    return body


def verified(secret: str, delivery: str, timestamp: str, body: bytes, signature: str, *, now_s: float) -> bool:
    """Whether MLflow signed this delivery with this secret a moment ago."""
    if not timestamp.isdecimal() or abs(now_s - int(timestamp)) > AGE_S_MAX:
        return False
    wanted = hmac.new(secret.encode(), f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return hmac.compare_digest(f"{_VERSION},{base64.b64encode(wanted).decode()}".encode(), signature.encode())


def changed_model(body: bytes) -> str:
    """The registered model in a delivery: of a version, an alias, a tag, or the model itself; "" when it names none."""
    try:
        return str(json.loads(body)["data"].get("name") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
