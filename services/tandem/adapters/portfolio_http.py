"""The portfolio's HTTP API from the outside, for the dashboard. Changes carry the caller's token."""

from typing import Any

import httpx
import orjson

from tandem.domain.errors import BadSetting, Permanent, Transient

_TIMEOUT_S = 10.0
_IDLE_S = 2.0  # a connection that is kept longer may be one that the server has just closed: uvicorn does so after 5 s


class PortfolioApi:
    """Questions to one portfolio. Safe to use from any thread."""

    def __init__(self, url: str) -> None:
        """url: http://host:port. Raises BadSetting."""
        if not url.startswith(("http://", "https://")):
            raise BadSetting(f"TANDEM_PORTFOLIO_URL is {url!r}, expected http://host:port of the portfolio")
        self._url = url.rstrip("/")
        # One for all questions: to make a client takes longer than the answer, it loads the machine's certificates.
        self._client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False, limits=httpx.Limits(keepalive_expiry=_IDLE_S))

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer. Raises Transient (away, or not ready, with its reason), Permanent (refused)."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: object = None, *, token: str = "") -> Any:
        """The JSON answer to a change. Raises like get; a wrong token is Permanent."""
        return self._call("POST", path, body=body, token=token)

    def _call(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: object = None, token: str = "") -> Any:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        content = None
        if body is not None:
            content, headers = orjson.dumps(body), headers | {"content-type": "application/json"}
        try:
            answer = self._client.request(method, self._url + path, params=query, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Transient(f"the portfolio at {self._url} does not answer: {error or type(error).__name__}") from error
        if answer.is_success:
            return orjson.loads(answer.content) if answer.content else None
        reason = _reason(answer)
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Transient(f"the portfolio is not ready: {reason}")
        raise Permanent(f"the portfolio answers {answer.status_code}: {reason}")


def _reason(answer: httpx.Response) -> str:
    try:
        document = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return answer.text[:200] or "no reason given"
    detail = document.get("detail") if isinstance(document, dict) else document
    return detail if isinstance(detail, str) else orjson.dumps(detail).decode()
