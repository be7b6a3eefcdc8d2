"""Trade messages of Alpaca's stream as ticks: all of a payload at once, and one by one only where one of them cannot be used.

A bad message never hurts its neighbours: it comes back with the reason for which it is to be parked. An event time before the
sessions that services know would stop every reader of the log, so it is refused here. Called by ingestor/intake.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgpack
import numpy as np

from tandem.adapters.calendar import SERVICE_FROM_NS
from tandem.domain.errors import BadRecord
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, TickArray
from tandem.domain.units import NS_PER_S

_CLOCK_AHEAD_NS_MAX = 86_400 * NS_PER_S  # an event later than a day from now is a broken stamp, not a fast clock
_SIZE_MAX = 2**32 - 1  # TICK_DTYPE
_FIELDS = ("t", "i", "p", "s", "S")  # event time, trade id, price, size, symbol
_fields_of = itemgetter(*_FIELDS)
_INTEGERS = {int}  # by type(), so that True is none
_NUMBERS = ({float}, {int}, {int, float})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Something that cannot be used, the reason, and its bytes for the dead letter."""

    error: BadRecord
    payload: bytes


def read_trades(messages: Sequence[Any], places: Mapping[str, int], received_ns: int) -> tuple[TickArray, tuple[Parked, ...]]:
    """Ticks of the usable messages in their order, `symbol` being the symbol's place in `places`; and the others.

    messages: decoded trade messages, timestamps as int ns. received_ns: wall time, bounds what an event time can be.
    """
    ticks = _columns(messages, places, received_ns)
    if ticks is not None:
        return ticks, ()
    good: list[TickArray] = []
    parked: list[Parked] = []
    for message in messages:
        try:
            good.append(_one(message, places, received_ns))
        except BadRecord as error:
            parked.append(Parked(error=error, payload=msgpack.packb(message)))
    return np.concatenate(good) if good else np.empty(0, TICK_DTYPE), tuple(parked)


def _columns(messages: Sequence[Any], places: Mapping[str, int], received_ns: int) -> TickArray | None:
    """All messages as ticks, or None if any of them is not plainly right."""
    try:
        event_ns, trade_id, price, size, symbol = zip(*map(_fields_of, messages), strict=True)
        if not (set(map(type, event_ns)) == set(map(type, trade_id)) == set(map(type, size)) == _INTEGERS):
            return None
        if set(map(type, price)) not in _NUMBERS:
            return None
        ticks = np.empty(len(messages), TICK_DTYPE)
        ticks["event_ns"], ticks["trade_id"], ticks["price"] = event_ns, trade_id, price
        sizes = np.array(size, np.int64)
        ticks["symbol"] = list(map(places.__getitem__, symbol))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    stamps, prices = ticks["event_ns"], ticks["price"]
    if stamps.min() < SERVICE_FROM_NS or stamps.max() > received_ns + _CLOCK_AHEAD_NS_MAX:
        return None
    if not (np.isfinite(prices).all() and prices.min() > 0 and sizes.min() > 0 and sizes.max() <= _SIZE_MAX):
        return None
    ticks["size"], ticks["kind"], ticks["flags"] = sizes, KIND_TRADE, 0
    return ticks


def _one(message: Any, places: Mapping[str, int], received_ns: int) -> TickArray:
    """One message as one tick. Raises BadRecord: the same rules as `_columns`, and the reason."""
    if not isinstance(message, dict):
        raise BadRecord("message_malformed", f"a {type(message).__name__} where a map was expected")
    if missing := [name for name in _FIELDS if name not in message]:
        raise BadRecord("field_missing", f"no {', '.join(missing)}; a trade has {', '.join(_FIELDS)}")
    event_ns, trade_id, price, size, symbol = _fields_of(message)
    if not isinstance(symbol, str) or symbol not in places:
        raise BadRecord("symbol_unknown", f"symbol {symbol!r} is in no pair that is followed")
    if type(event_ns) is not int or not SERVICE_FROM_NS <= event_ns <= received_ns + _CLOCK_AHEAD_NS_MAX:
        raise BadRecord("time_invalid", f"t {event_ns!r}: expected a timestamp from 1980 to a day ahead of now")
    if type(trade_id) is not int or not -(2**63) <= trade_id < 2**63:
        raise BadRecord("trade_id_invalid", f"i {trade_id!r}: expected an integer of 64 bits")
    if type(price) not in {int, float} or not 0 < price < float("inf"):
        raise BadRecord("price_invalid", f"p {price!r}: expected a finite number above 0")
    if type(size) is not int or not 0 < size <= _SIZE_MAX:
        raise BadRecord("size_invalid", f"s {size!r}: expected an integer from 1 to {_SIZE_MAX}")
    return np.array([(event_ns, trade_id, price, size, places[symbol], KIND_TRADE, 0)], TICK_DTYPE)
