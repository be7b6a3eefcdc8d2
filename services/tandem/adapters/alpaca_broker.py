"""Alpaca's trading REST through alpaca-py: orders, positions, account, executions and fees. The recycler's paper exchange speaks the same.

Bodies are read raw, because alpaca-py's models turn money into floats and refuse fields that Alpaca has since changed. alpaca-py repeats
a request after 429 and 504, also a POST: harmless, since every order carries its client_order_id, which the broker takes only once.
An order without a clear answer is UNKNOWN, never failed. One object for one thread: it keeps one connection.
"""

import json
import reprlib
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import requests
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from requests.adapters import HTTPAdapter

from tandem.adapters.alpaca_rate import RateBudget
from tandem.domain.errors import BadRecord, Permanent, Transient
from tandem.domain.ids import Symbol
from tandem.domain.trading import Charge, Fee, Fill, Order, OrderStatus, Position, Side
from tandem.domain.units import ns_of_rfc3339, rfc3339
from tandem.ports import Account, OrderReport

_CONNECT_TIMEOUT_S = 3.05  # requests' own advice: just above a multiple of TCP's 3 s retransmission
_READ_TIMEOUT_S = 10.0  # Alpaca answers orders within tens of ms; after this the outcome is looked up by id
_DIGITS_MAX = 14  # before the point: beyond any account, and sums of such numbers stay exact
_ALPACA = "https://api.alpaca.markets"  # stands for both of its accounts' addresses where proxies are asked for
_PAGE = 100  # largest page of account activities
_DIVIDENDS = ("DIV", "DIVCGL", "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "DIVWH")  # the tax on one among them
_FRACTIONS = ("CIL", "SPLIT")  # cash for the fraction of a share that a corporate action leaves; a split without one says no amount
_CHARGES = {
    "FEE": Charge.FEE,
    "CFEE": Charge.FEE,
    "PTC": Charge.FEE,
    **dict.fromkeys((*_DIVIDENDS, *_FRACTIONS), Charge.DIVIDEND),
    **dict.fromkeys(("INT", "INTNRA", "INTTW"), Charge.INTEREST),
}
_NOT_FOUND, _CONFLICT, _REQUEST_TIMEOUT, _UNPROCESSABLE, _TOO_MANY, _SERVER = 404, 409, 408, 422, 429, 500
_ABSENT = object()  # the broker says that it has none; an empty answer says nothing
_DUPLICATE = "client_order_id must be unique"
_S = OrderStatus
_STATUS: Mapping[str, OrderStatus] = {
    "accepted": _S.ACCEPTED,
    "accepted_for_bidding": _S.ACCEPTED,
    "calculated": _S.ACCEPTED,
    "canceled": _S.CANCELED,
    "done_for_day": _S.ACCEPTED,  # goes on the next day, or is followed by expired
    "expired": _S.EXPIRED,
    "filled": _S.FILLED,
    "held": _S.ACCEPTED,
    "new": _S.ACCEPTED,
    "partially_filled": _S.PARTIAL,
    "pending_cancel": _S.PENDING_CANCEL,
    "pending_new": _S.ACCEPTED,
    "pending_replace": _S.PENDING_REPLACE,
    "rejected": _S.REJECTED,
    "replaced": _S.REPLACED,
    "stopped": _S.ACCEPTED,
    "suspended": _S.ACCEPTED,
}


class AlpacaBroker:
    """ports.Broker on Alpaca's REST, and the raw views that people look at."""

    def __init__(self, *, key_id: str, secret_key: str, url: str | None, paper: bool = True, rate: RateBudget | None = None) -> None:
        """url: base of the REST API, e.g. the recycler's http://host:port; None for Alpaca itself. paper: which of its two accounts.

        rate: follows the account's rate limit, over all of its connections.
        """
        self._client = TradingClient(key_id, secret_key, paper=paper, url_override=url or None, raw_data=True)
        self._place = url or "Alpaca"
        session: requests.Session = self._client._session
        _read_environment_once(session, self._place if url else _ALPACA)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _PatientAdapter(pool_connections=1, pool_maxsize=1))
        if rate is not None:
            rate.follow(session)

    def submit(self, order: Order) -> OrderReport:
        """Send one day order. REJECTED carries the broker's reason; UNKNOWN when no answer tells the outcome."""
        body = {
            "symbol": order.symbol,
            "qty": str(order.outside_qty),
            "side": order.side.value,
            "type": "market" if order.limit_usd is None else "limit",
            "time_in_force": "day",
            "client_order_id": order.client_order_id,
            **({} if order.limit_usd is None else {"limit_price": str(order.limit_usd)}),
        }
        try:
            return _report_of(order.client_order_id, self._client.post("/orders", body))
        except APIError as error:
            return self._refused(order, error)
        except (requests.RequestException, ValueError, BadRecord) as error:
            return _unclear(order.client_order_id, f"{type(error).__name__}: {error}")

    def _refused(self, order: Order, error: APIError) -> OrderReport:
        status, message = _said(error)
        if status == _UNPROCESSABLE and _DUPLICATE in message:
            try:
                found = self.find(order.client_order_id)
            except Transient as away:
                return _unclear(order.client_order_id, str(away))
            return found or _unclear(order.client_order_id, "the broker knows the id, but not the order")
        if status >= _SERVER or status in (_REQUEST_TIMEOUT, _TOO_MANY, _CONFLICT):
            return _unclear(order.client_order_id, f"{status}: {message}")
        return OrderReport(
            client_order_id=order.client_order_id,
            broker_order_id="",
            status=OrderStatus.REJECTED,
            filled_qty="0",
            reason=f"{status}: {message}",
        )

    def find(self, client_order_id: str) -> OrderReport | None:
        """The order under this id, None if the broker has none. Raises Transient also for an answer that tells nothing of it."""
        raw = self._get("/orders:by_client_order_id", {"client_order_id": client_order_id}, missing=_ABSENT)
        try:
            return None if raw is _ABSENT else _report_of(client_order_id, raw)
        except BadRecord as error:
            raise Transient(f"{self._place}: order {client_order_id}: {error}") from error

    def cancel(self, broker_order_id: str) -> bool:
        """Ask to cancel; False if it can no longer be canceled."""
        assert broker_order_id, "without an id the address would be that of all orders"
        try:
            self._client.delete(f"/orders/{broker_order_id}")
        except APIError as error:
            status, message = _said(error)
            if status in (_NOT_FOUND, _UNPROCESSABLE):
                return False
            raise self._failure(status, message) from error
        except (requests.RequestException, ValueError) as error:
            raise Transient(f"{self._place}: {error}") from error
        return True

    def positions(self) -> tuple[Position, ...]:
        """All positions that are not zero, in order of symbol. A short one is negative, whichever sign the broker writes."""
        found = []
        for raw in self._rows("/positions"):
            qty = _decimal(raw, "qty")
            sign = -1 if raw.get("side") == "short" else 1
            found.append(Position(symbol=_symbol(raw), qty=sign * abs(qty)))
        return tuple(sorted((p for p in found if p.qty != 0), key=lambda p: p.symbol))

    def account(self) -> Account:
        """The account now."""
        raw = self._object("/account")
        money = {name: str(_decimal(raw, name)) for name in ("cash", "equity", "buying_power")}
        return Account(account_id=str(raw["id"]), **money)

    def fills(self, after_ns: int) -> tuple[Fill, ...]:
        """All executions after a time, oldest first. Raises BadRecord if one lacks what a ledger needs."""
        orders: dict[str, str] = {}  # client ids by the broker's ids: activities name only the latter
        return tuple(self._fill(raw, orders) for raw in self._activities("/FILL", after_ns))

    def _fill(self, raw: Mapping[str, Any], orders: dict[str, str]) -> Fill:
        broker_id = str(raw.get("order_id"))
        if "client_order_id" in raw:
            orders[broker_id] = str(raw["client_order_id"])
        if broker_id not in orders:
            orders[broker_id] = str(self._object(f"/orders/{broker_id}")["client_order_id"])
        return fill_of(
            execution_id=str(raw.get("execution_id") or str(raw["id"]).rpartition("::")[2]),
            client_order_id=orders[broker_id],
            raw=raw,
            time_field="transaction_time",
        )

    def fees(self, after_ns: int) -> tuple[Fee, ...]:
        """All charges after a time, oldest first: fees, borrowing, dividends, interest. One by the day is stamped with its start in UTC."""
        found = self._activities("", after_ns, activity_types=",".join(_CHARGES))
        return tuple(_fee(raw) for raw in found if raw.get("activity_type") not in _FRACTIONS or _is_money(raw))

    def _activities(self, kind: str, after_ns: int, **more: str) -> Iterator[Mapping[str, Any]]:
        query = {"after": rfc3339(after_ns), "direction": "asc", "page_size": _PAGE, **more}
        while True:
            page = self._rows(f"/account/activities{kind}", query)
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].get("id")
            if not last or last == query.get("page_token"):
                raise Transient(f"{self._place}: activities{kind}: the page after {query.get('page_token')} ends with {last!r}: no way on")
            query = {**query, "page_token": last}

    def account_view(self) -> dict[str, Any]:
        """The account as the broker tells it."""
        return self._object("/account")

    def positions_view(self) -> list[dict[str, Any]]:
        """The positions as the broker tells them."""
        return self._rows("/positions")

    def orders_view(self, limit: int) -> list[dict[str, Any]]:
        """The newest orders as the broker tells them, at most 500."""
        return self._rows("/orders", {"status": "all", "limit": limit, "direction": "desc"})

    def close(self) -> None:
        """Let go of the connection."""
        self._client._session.close()

    def _rows(self, path: str, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """An answer that is a list. Raises Transient for any other: what cannot be read must never count as nothing held."""
        found = self._get(path, query)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Transient(f"{self._place}: GET {path}: found {reprlib.repr(found)}, expected a list of objects")
        return found

    def _object(self, path: str) -> dict[str, Any]:
        """An answer that is one account or order. Raises Transient for any other."""
        found = self._get(path)
        if not isinstance(found, dict) or "id" not in found:
            raise Transient(f"{self._place}: GET {path}: found {reprlib.repr(found)}, expected an object with an id")
        return found

    def _get(self, path: str, query: Mapping[str, Any] | None = None, *, missing: object = None) -> Any:
        """The answer; `missing` in the place of a 404. Raises Transient, or Permanent where asking again cannot help."""
        try:
            return self._client.get(path, dict(query) if query else None)
        except APIError as error:
            status, message = _said(error)
            if status == _NOT_FOUND and missing is not None:
                return missing
            raise self._failure(status, f"GET {path}: {message}") from error
        except (requests.RequestException, ValueError) as error:
            raise Transient(f"{self._place}: GET {path}: {error}") from error

    def _failure(self, status: int, message: str) -> Transient | Permanent:
        kind = Transient if status >= _SERVER or status in (_REQUEST_TIMEOUT, _TOO_MANY) else Permanent
        return kind(f"{self._place}: {status}: {message}")


def _read_environment_once(session: requests.Session, url: str) -> None:
    """Proxies and certificates that the environment names, kept: requests looks through all of it again at each request."""
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies.update(found["proxies"])
    session.verify, session.trust_env = found["verify"], False


class _PatientAdapter(HTTPAdapter):
    """Gives every request a timeout."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        options["timeout"] = options.get("timeout") or (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
        return super().send(request, *args, **options)


def order_report(raw: Mapping[str, Any]) -> OrderReport:
    """An order object as a report. Raises BadRecord if it lacks an id or has a status that we do not know."""
    try:
        client_order_id, status = str(raw["client_order_id"]), _STATUS[raw["status"]]
        filled = _decimal(raw, "filled_qty") if raw.get("filled_qty") is not None else Decimal(0)
        if filled < 0:
            raise BadRecord("order_malformed", f"filled_qty is {filled}, must not be below 0")
        return OrderReport(
            client_order_id=client_order_id,
            broker_order_id=str(raw["id"]),
            status=status,
            filled_qty=str(filled),
            reason=str(raw.get("reject_reason") or ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRecord("order_malformed", f"{error!r} in {raw}") from error


def _report_of(client_order_id: str, raw: Any) -> OrderReport:
    """The report of the order that was asked for. Raises BadRecord also for another order's."""
    report = order_report(raw)
    if report.client_order_id != client_order_id:
        raise BadRecord("order_malformed", f"the answer is of order {report.client_order_id!r}")
    return report


def fill_of(*, execution_id: str, client_order_id: str, raw: Mapping[str, Any], time_field: str) -> Fill:
    """One execution from an activity or a trade update. Raises BadRecord if price, quantity, side, symbol or time cannot be used."""
    try:
        fill = Fill(
            execution_id=execution_id,
            client_order_id=client_order_id,
            symbol=_symbol(raw),
            side=Side(str(raw["side"]).removesuffix("_short")),  # activities of short sales may say sell_short
            qty=_decimal(raw, "qty"),
            price_usd=_decimal(raw, "price"),
            event_ns=ns_of_rfc3339(str(raw[time_field])),
        )
    except (KeyError, ValueError) as error:
        raise BadRecord("fill_malformed", f"{error!r} in {dict(raw)}") from error
    if fill.qty <= 0 or fill.price_usd <= 0 or not execution_id:
        raise BadRecord("fill_malformed", f"qty {fill.qty}, price {fill.price_usd}, id {execution_id!r}: must be above 0 and not empty")
    return fill


def _fee(raw: Mapping[str, Any]) -> Fee:
    try:
        moment = raw.get("transaction_time") or raw.get("created_at") or f"{raw['date']}T00:00:00Z"
        return Fee(
            activity_id=str(raw["id"]),
            symbol=Symbol(raw["symbol"]) if raw.get("symbol") else None,
            amount_usd=-_decimal(raw, "net_amount"),  # what the account lost
            event_ns=ns_of_rfc3339(str(moment)),
            description=str(raw.get("description") or raw.get("activity_sub_type") or ""),
            broker_order_id=str(raw.get("order_id") or ""),
            charge=_charge(raw),
        )
    except (KeyError, ValueError) as error:
        raise BadRecord("fee_malformed", f"{error!r} in {dict(raw)}") from error


def _is_money(raw: Mapping[str, Any]) -> bool:
    return raw.get("net_amount") is not None and bool(_decimal(raw, "net_amount"))


def _charge(raw: Mapping[str, Any]) -> Charge:
    """What the money is for. Borrowing is a fee by its type, and says so in its description."""
    if str(raw.get("description") or "").upper().startswith("BORROW"):
        return Charge.BORROW
    return _CHARGES.get(str(raw.get("activity_type")), Charge.FEE)


def _symbol(raw: Mapping[str, Any]) -> Symbol:
    symbol = raw["symbol"]
    if not isinstance(symbol, str) or not symbol:
        raise ValueError(f"symbol {symbol!r}, expected a text")
    return Symbol(symbol)


def _decimal(raw: Mapping[str, Any], field: str) -> Decimal:
    """A number that came as text or as a JSON number, without a detour through binary. Raises BadRecord."""
    try:
        value = Decimal(str(raw[field]))
    except (KeyError, InvalidOperation) as error:
        raise BadRecord("number_malformed", f"{field} is {raw.get(field)!r}, expected a decimal number") from error
    if not value.is_finite() or value.adjusted() > _DIGITS_MAX:
        raise BadRecord("number_malformed", f"{field} is {value}, must be finite and below 1e{_DIGITS_MAX + 1}")
    return value


def _said(error: APIError) -> tuple[int, str]:
    """Status and message of an error answer; a body that is not JSON (a proxy's page) is cut to its first line."""
    text = str(error)
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text.strip().splitlines()[0][:200] if text.strip() else "no message"
    return int(error.status_code or _SERVER), message


def _unclear(client_order_id: str, reason: str) -> OrderReport:
    return OrderReport(client_order_id=client_order_id, broker_order_id="", status=OrderStatus.UNKNOWN, filled_qty="0", reason=reason)
