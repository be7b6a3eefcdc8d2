"""What Alpaca tells of symbols each morning, through alpaca-py: what may be traded and borrowed, daily volumes, corporate actions.

Bodies are read raw, because alpaca-py's models refuse assets and actions with fields that Alpaca has since changed. A symbol that Alpaca
does not list is not tradable; an action that cannot be read is an error, and never left out. Implements ports.Facts.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import numpy as np
import requests
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.requests import CorporateActionsRequest
from alpaca.trading.client import TradingClient
from requests.adapters import HTTPAdapter

from tandem.adapters.alpaca_history import MarketHistory
from tandem.domain.assets import Asset
from tandem.domain.corporate import ActionKind, CorporateAction
from tandem.domain.errors import Permanent, Transient
from tandem.domain.ids import Symbol
from tandem.domain.units import NS_PER_S, rfc3339

_TIMEOUT_S = 15.0
_NOT_FOUND, _TOO_MANY, _SERVER = 404, 429, 500
_SYMBOLS_MAX = 100  # of one question
_DAYS, _VOLUME_DAYS, _BETA_DAYS_MIN = 130, 20, 40  # calendar days asked for; sessions that volume and beta are made of
_DAY_NS = 86_400 * NS_PER_S
_MARKET = "SPY"  # stands for the market in betas
_KINDS: Mapping[str, ActionKind] = {
    "forward_splits": ActionKind.SPLIT,
    "reverse_splits": ActionKind.SPLIT,
    "stock_dividends": ActionKind.SPLIT,
    "cash_dividends": ActionKind.DIVIDEND,
    "name_changes": ActionKind.RENAME,
}
_SYMBOL_FIELDS = ("symbol", "old_symbol", "source_symbol", "acquiree_symbol")
_DAY_FIELDS = ("ex_date", "effective_date", "process_date")


class AlpacaFacts:
    """The facts of one account. history: where daily bars come from; without it volumes and betas are not known."""

    def __init__(
        self,
        *,
        key_id: str,
        secret_key: str,
        url: str | None,
        data_url: str | None,
        paper: bool = True,
        history: MarketHistory | None = None,
    ) -> None:
        """url, data_url: bases of trading and data REST, e.g. the recycler's; None for Alpaca itself."""
        self._trading = TradingClient(key_id, secret_key, paper=paper, url_override=url or None, raw_data=True)
        self._actions = CorporateActionsClient(key_id, secret_key, raw_data=True, url_override=data_url or None)
        self._history = history
        for client in (self._trading, self._actions):
            client._retry = 0  # alpaca-py sleeps nine seconds over a 429; the caller asks again at its next bar
            for scheme in ("http://", "https://"):
                client._session.mount(scheme, _Limited())

    def assets(self, symbols: Iterable[Symbol], as_of_ns: int) -> tuple[Asset, ...]:
        """The symbols as they are today. Raises Transient, Permanent."""
        wanted = tuple(symbols)
        listed = self._ask(lambda: self._trading.get("/assets", {"status": "active", "asset_class": "us_equity"}))
        if not listed or not _are_rows(listed):
            raise Transient(f"facts of the morning: found {reprlib.repr(listed)}, expected the broker's assets")
        found = {str(raw.get("symbol")): raw for raw in listed}
        volumes = self._volumes(wanted, as_of_ns)
        return tuple(_asset(name, found.get(name), as_of_ns, *volumes.get(name, (0.0, 1.0))) for name in wanted)

    def actions(self, symbols: Iterable[Symbol], first_day: str, last_day: str) -> tuple[CorporateAction, ...]:
        """Corporate actions by ex-day, both days included. Raises Transient, Permanent."""
        names = sorted(symbols)
        rows: list[CorporateAction] = []
        for part in (names[start : start + _SYMBOLS_MAX] for start in range(0, len(names), _SYMBOLS_MAX)):
            query = CorporateActionsRequest(symbols=part, start=date.fromisoformat(first_day), end=date.fromisoformat(last_day))
            answer = self._ask(lambda query=query: self._actions.get_corporate_actions(query), may_lack=True) or {}
            if not isinstance(answer, dict) or not all(map(_are_rows, answer.values())):
                raise Transient(f"facts of the morning: found {reprlib.repr(answer)}, expected corporate actions by kind")
            rows += [_action(kind, raw) for kind, found in sorted(answer.items()) for raw in found]
        return tuple(sorted(rows, key=lambda row: (row.ex_day, row.action_id)))

    def close(self) -> None:
        """Let go of the connections."""
        self._trading._session.close()
        self._actions._session.close()
        if self._history is not None:
            self._history.close()

    def _ask(self, question: Any, *, may_lack: bool = False) -> Any:
        """An answer. may_lack: None where the place does not know the question."""
        try:
            return question()
        except APIError as error:
            status = int(error.status_code or _SERVER)
            if may_lack and status == _NOT_FOUND:
                return None
            kind = Transient if status == _TOO_MANY or status >= _SERVER else Permanent
            raise kind(f"facts of the morning: {status} {str(error)[:200]}") from error
        except (requests.RequestException, ValueError, TypeError, KeyError, AttributeError) as error:  # alpaca-py looks into the answer
            raise Transient(f"facts of the morning: {error!r}") from error

    def _volumes(self, symbols: Sequence[Symbol], as_of_ns: int) -> dict[str, tuple[float, float]]:
        """Mean daily volume and beta to the market of each symbol, from the sessions before this day."""
        if self._history is None:
            return {}
        names = sorted({*symbols, _MARKET})
        bars: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names}
        query = {"timeframe": "1Day", "adjustment": "all", "start": rfc3339(as_of_ns - _DAYS * _DAY_NS), "end": rfc3339(as_of_ns - _DAY_NS)}
        for part in (names[start : start + _SYMBOLS_MAX] for start in range(0, len(names), _SYMBOLS_MAX)):
            for page in self._history.pages("/stocks/bars", "bars", {**query, "symbols": ",".join(part)}):
                for name, rows in page.items():
                    bars.setdefault(name, []).extend(rows)
        market = _returns(bars[_MARKET])
        return {name: (_volume(bars[name]), _beta(_returns(bars[name]), market)) for name in symbols if bars[name]}


def _are_rows(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(row, dict) for row in found)


def _asset(symbol: Symbol, raw: Mapping[str, Any] | None, as_of_ns: int, adv_shares: float, market_beta: float) -> Asset:
    if raw is None:
        return Asset(symbol=symbol, tradable=False, shortable=False, easy_to_borrow=False, as_of_ns=as_of_ns)
    borrow = raw.get("borrow_status")  # the newer field; the older one is to go away
    return Asset(
        symbol=symbol,
        tradable=raw.get("tradable") is True and raw.get("status", "active") == "active",
        shortable=raw.get("shortable") is True,
        easy_to_borrow=borrow == "easy_to_borrow" if borrow is not None else raw.get("easy_to_borrow") is True,
        adv_shares=adv_shares,
        market_beta=market_beta,
        as_of_ns=as_of_ns,
    )


def _action(kind: str, raw: Mapping[str, Any]) -> CorporateAction:
    symbol = next((str(raw[name]) for name in _SYMBOL_FIELDS if raw.get(name)), "?")
    ex_day = next((str(raw[name])[:10] for name in _DAY_FIELDS if raw.get(name)), "")
    action_id = str(raw.get("id") or f"{kind}/{symbol}/{ex_day}")
    try:
        date.fromisoformat(ex_day)
        return CorporateAction(
            action_id=action_id,
            symbol=Symbol(symbol),
            kind=_KINDS.get(kind, ActionKind.OTHER),
            ex_day=ex_day,
            **_amounts(kind, raw),
        )
    except (KeyError, InvalidOperation, ValueError, ZeroDivisionError) as error:
        raise Permanent(f"corporate action {kind} of {symbol} cannot be read: {error!r} in {dict(raw)}") from error


def _amounts(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    match kind:
        case "forward_splits" | "reverse_splits":
            return {"ratio": Decimal(str(raw["new_rate"])) / Decimal(str(raw["old_rate"]))}
        case "stock_dividends":
            return {"ratio": 1 + Decimal(str(raw["rate"]))}
        case "cash_dividends":
            return {"amount_usd": Decimal(str(raw["rate"]))}
        case "name_changes":
            return {"new_symbol": str(raw["new_symbol"])}
        case _:
            return {}


def _volume(rows: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([float(row["v"]) for row in rows[-_VOLUME_DAYS:]])) if rows else 0.0


def _returns(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Log returns by day."""
    return {str(row["t"])[:10]: float(np.log(float(row["c"]) / float(before["c"]))) for before, row in pairwise(rows)}


def _beta(mine: Mapping[str, float], market: Mapping[str, float]) -> float:
    """Of the days that both have; 1 when they are few."""
    days = sorted(mine.keys() & market.keys())
    if len(days) < _BETA_DAYS_MIN:
        return 1.0
    x, y = np.array([market[day] for day in days]), np.array([mine[day] for day in days])
    variance = float(np.var(x))
    return float(np.mean((x - x.mean()) * (y - y.mean())) / variance) if variance > 0 else 1.0


class _Limited(HTTPAdapter):
    """A transport whose requests end after a limit."""

    def send(self, *args: Any, **options: Any) -> Any:
        options["timeout"] = _TIMEOUT_S
        return super().send(*args, **options)
