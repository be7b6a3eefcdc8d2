"""One question to a service of the platform, and its answer or one clear error. Called by book.py."""

from typing import Any

import httpx
import orjson

from tandem.domain.errors import BadRecord, Permanent, Transient

_TIMEOUT_S = 10.0  # what the forecasters allow themselves for an answer


class NotThere(Permanent):
    """The service knows no such thing; its own words."""


def ask(method: str, url: str, *, body: object = None, query: dict[str, Any] | None = None) -> Any:
    """The JSON answer to a request. Raises NotThere (404), Permanent (another refusal), Transient (no or a failing server), BadRecord."""
    content = None if body is None else orjson.dumps(body)
    headers = {} if body is None else {"content-type": "application/json"}
    try:
        # No proxy of the environment may stand between this machine and itself.
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            answer = client.request(method, url, content=content, headers=headers, params=query)
    except httpx.InvalidURL as error:
        raise Permanent(f"{url} is no URL: {error}") from error
    except httpx.HTTPError as error:
        raise Transient(f"{url} does not answer: {error or type(error).__name__}; `tandem status` tells what runs") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotThere(_reason(answer))
    if answer.is_server_error:
        raise Transient(f"{url} answers {answer.status_code}: {_reason(answer)}")
    if not answer.is_success:
        raise Permanent(f"{url} answers {answer.status_code}: {_reason(answer)}")
    try:
        return orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise BadRecord("answer_malformed", f"{url} does not answer in JSON: {answer.text[:80]!r}") from error


def _reason(answer: httpx.Response) -> str:
    """The service's own words: BentoML's `error`, FastAPI's `detail`, else the body."""
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return answer.text[:200] or "no reason given"
    if isinstance(document, list) and len(document) == 1:  # BentoML's form
        document = document[0]
    if isinstance(document, dict):
        return str(document.get("error") or document.get("detail") or document)
    return str(document)
