"""The recycler's lockstep REST: register as a participant, acknowledge watermarks, ask where the replay stands. Not part of Alpaca's API.

On http.client with one kept connection: an acknowledgement is sent for every bar, and a general client costs more than the answer.
One object for one thread.
"""

import http.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from tandem.domain.errors import BadSetting, Permanent, Transient

_TIMEOUT_S = 10.0  # the recycler answers in under a millisecond unless it is busy with a large seek
_SERVER_ERROR = 500
_PATH = "/tandem/v1/replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStatus:
    """Where the replay stands. state: held, running, waiting, paused or ended. watermark_ns: 0 before the first bar."""

    state: str
    replay_id: str
    watermark_ns: int


class ReplayControl:
    """A participant's side of the lockstep."""

    def __init__(self, url: str, *, key_id: str, secret_key: str, name: str) -> None:
        """url: http://host:port of the recycler. name: the participant. Raises BadSetting."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise BadSetting(f"TANDEM_ALPACA_API_URL is {url!r}: a recycler is at http://host:port")
        self._url, self._name = url, name
        self._headers = {"Content-Type": "application/json", "APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key}
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_S)

    def status(self) -> ReplayStatus:
        """Where the replay stands now. Raises Transient, Permanent."""
        raw = self.document()
        try:
            return ReplayStatus(state=str(raw["state"]), replay_id=str(raw["replay_id"]), watermark_ns=int(raw["watermark_ns"] or 0))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Transient(f"recycler at {self._url}: GET {_PATH}: {error!r} in an answer that is no replay's status") from error

    def document(self) -> dict[str, Any]:
        """All that the recycler tells of its replay. Raises Transient, Permanent."""
        return self._call("GET", _PATH)

    def register(self) -> None:
        """Take part: from now on the replay waits for our acknowledgements. Raises Transient, Permanent."""
        self._call("POST", f"{_PATH}/participants", {"name": self._name})

    def acknowledge(self, watermark_ns: int, replay_id: str = "") -> None:
        """Everything up to the watermark of this replay has been decided and sent. Raises Transient, Permanent."""
        self._call("POST", f"{_PATH}/ack", {"name": self._name, "watermark_ns": watermark_ns, "replay_id": replay_id})

    def command(self, path: str, body: dict[str, Any] | None = None) -> None:
        """Press one of the replay's buttons: /start, /pause, /resume, /step, /seek or /speed. Raises Transient, Permanent."""
        self._call("POST", f"{_PATH}{path}", body)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; sent again once if a kept connection turns out to be closed, as all of them may be repeated."""
        data = None if body is None else orjson.dumps(body)
        try:
            try:
                status, answer = self._once(method, path, data)
            except (http.client.HTTPException, ConnectionError):
                self._connection.close()
                status, answer = self._once(method, path, data)
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            raise Transient(f"recycler at {self._url}: {method} {path}: {error!r}") from error
        if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
            kind = Transient if status >= _SERVER_ERROR else Permanent
            raise kind(f"recycler at {self._url}: {method} {path}: {status} {answer[:200].decode(errors='replace')}")
        try:
            return dict(orjson.loads(answer)) if answer else {}
        except (ValueError, TypeError) as error:
            raise Permanent(f"recycler at {self._url}: {method} {path}: no JSON object: {answer[:200]!r}") from error

    def _once(self, method: str, path: str, data: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, data, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()
