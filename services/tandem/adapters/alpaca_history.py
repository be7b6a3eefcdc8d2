"""Alpaca's historical data REST through alpaca-py: what a broken stream did not bring, and what `tandem download` fetches.

alpaca-py has no timeout and collects all pages of an answer before it gives any; here each request has a limit, and a span is cut into
slices by the number of trades that they turn out to hold, so that memory is bounded whatever is asked for. Blocking: called in a thread.
"""

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical import StockHistoricalDataClient
from requests.adapters import HTTPAdapter

from tandem.domain.errors import Permanent, Transient
from tandem.domain.units import NS_PER_S, ns_of_rfc3339, rfc3339

PAGE_ROWS = 10_000  # Alpaca's limit
SLICE_ROWS_MAX = 50_000  # 50 MB as maps; a slice that turns out larger is cut in two and asked for again
_SLICE_ROWS_FEW = 10_000  # the next slice is twice as long after one with fewer
_SLICE_NS = 5 * NS_PER_S  # the first: holds half a page of a market's busiest seconds
_TIMEOUT_S = 15.0
_TOO_MANY, _SERVER_ERROR = 429, 500
_GONE = frozenset({"canceled", "incorrect"})  # Alpaca's `u`: the trade was taken back after it was printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Trades up to a time as messages of the stream, in order of time."""

    until_ns: int
    messages: list[dict[str, Any]]


class MarketHistory:
    """Pages of historical data. feed: iex or sip; url: url_override, None for Alpaca itself."""

    def __init__(self, *, key_id: str, secret_key: str, feed: str, url: str | None, timeout_s: float = _TIMEOUT_S) -> None:
        self._client = StockHistoricalDataClient(key_id, secret_key, url_override=url, raw_data=True)
        self._client._retry = 0  # alpaca-py sleeps nine seconds over a 429; the caller has its own pauses
        adapter = _Limited(timeout_s)
        self._client._session.mount("http://", adapter)
        self._client._session.mount("https://", adapter)
        self._feed, self._place = feed, url or "Alpaca"

    def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """One answer. Raises Transient (away, busy, too many requests) and Permanent (refused)."""
        try:
            answer = self._client.get(path, {"feed": self._feed, **query})
        except APIError as error:
            status = error.status_code or 0
            kind = Transient if status == _TOO_MANY or status >= _SERVER_ERROR else Permanent
            raise kind(f"history at {self._place}: {path}: {status} {str(error)[:200]}") from error
        except (requests.RequestException, ValueError) as error:
            raise Transient(f"history at {self._place}: {path}: {error!r}") from error
        if not isinstance(answer, dict):
            raise Transient(f"history at {self._place}: {path}: found a {type(answer).__name__}, expected a map")
        return answer

    def pages(self, path: str, key: str, query: Mapping[str, Any]) -> Iterator[dict[str, list[dict[str, Any]]]]:
        """The rows by symbol, a page at a time. Raises Transient, Permanent."""
        token = None
        while True:
            answer = self.get(path, {"limit": PAGE_ROWS, **query, **({"page_token": token} if token else {})})
            yield self._of_symbols(path, key, answer, _are_rows)
            before, token = token, answer.get("next_page_token")
            if not token:
                return
            if token == before:
                raise Transient(f"history at {self._place}: {path}: the page after {reprlib.repr(token)} names itself as the next")

    def present_ns(self, symbols: Sequence[str]) -> int | None:
        """The event time of the last trade of these symbols that history knows. Raises Transient, Permanent."""
        path = "/stocks/trades/latest"
        found = self._of_symbols(path, "trades", self.get(path, {"symbols": ",".join(symbols)}), _is_row)
        try:
            return max((ns_of_rfc3339(str(trade["t"])) for trade in found.values()), default=None)
        except (KeyError, ValueError) as error:
            raise Transient(f"history at {self._place}: {path}: {error!r}, expected trades with their times") from error

    def _of_symbols(self, path: str, key: str, answer: Mapping[str, Any], fits: Callable[[Any], bool]) -> dict[str, Any]:
        """What an answer has for each symbol. One without the key does not say that there is nothing. Raises Transient."""
        found = answer[key] or {} if key in answer else None
        if not isinstance(found, dict) or not all(map(fits, found.values())):
            raise Transient(f"history at {self._place}: {path}: found {reprlib.repr(answer)}, expected {key!r} by symbol")
        return found

    def trades(self, symbols: Sequence[str], from_ns: int, until_ns: int) -> Iterator[Slice]:
        """All trades of [from_ns, until_ns), a slice at a time. Raises Transient, Permanent; what was yielded need not be asked again."""
        start_ns, length_ns = from_ns, _SLICE_NS
        while start_ns < until_ns:
            end_ns = min(start_ns + length_ns, until_ns)
            rows = self._slice(symbols, start_ns, end_ns)
            if rows is None:
                length_ns = max(1, (end_ns - start_ns) // 2)
                continue
            yield Slice(until_ns=end_ns, messages=rows)
            start_ns = end_ns
            if len(rows) < _SLICE_ROWS_FEW:
                length_ns *= 2

    def _slice(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> list[dict[str, Any]] | None:
        """The trades of [start_ns, end_ns); None if they are too many for one slice that can still be cut."""
        query = {"symbols": ",".join(symbols), "start": rfc3339(start_ns), "end": rfc3339(end_ns - 1), "sort": "asc"}
        rows: list[dict[str, Any]] = []
        for page in self.pages("/stocks/trades", "trades", query):
            for symbol, trades in page.items():
                rows.extend(_messages(symbol, trades))
            if len(rows) > SLICE_ROWS_MAX and end_ns - start_ns > 1:
                return None
        inside = [row for row in rows if type(row["t"]) is not int or start_ns <= row["t"] < end_ns]
        return sorted(inside, key=lambda row: row["t"] if type(row["t"]) is int else start_ns)

    def close(self) -> None:
        """Let go of the connections."""
        self._client._session.close()


class _Limited(HTTPAdapter):
    """A transport whose requests end after a limit."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def send(self, *args: Any, **options: Any) -> Any:
        options["timeout"] = self._timeout_s
        return super().send(*args, **options)


def _is_row(found: Any) -> bool:
    return isinstance(found, dict)


def _are_rows(found: Any) -> bool:
    return isinstance(found, list) and all(map(_is_row, found))


def _messages(symbol: str, trades: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Trades of REST in the stream's form: with T, S and the time as ns. One that was taken back becomes its cancel."""
    times = _times([trade.get("t") for trade in trades])
    return [
        {**trade, "T": "x" if str(trade.get("u")) in _GONE else "t", "S": symbol, "t": time}
        for trade, time in zip(trades, times, strict=True)
    ]


def _times(texts: Sequence[Any]) -> list[Any]:
    """RFC 3339 as ns, exact; what is no such text stays as it is, for the reader of messages to refuse."""
    if not texts:
        return []
    try:
        if all(text[-1] == "Z" for text in texts):
            times: list[Any] = np.array([text[:-1] for text in texts], "datetime64[ns]").astype(np.int64).tolist()
            return times
    except (TypeError, ValueError, IndexError):
        pass
    return [_time(text) for text in texts]


def _time(text: Any) -> Any:
    try:
        return ns_of_rfc3339(text)
    except (TypeError, ValueError):
        return text
