"""Trade messages of Alpaca's stream as ticks: all of a payload at once, and one by one only where one of them cannot be used.

A bad message never hurts its neighbours: it comes back with the reason for which it is to be parked. An event time before the
sessions that services know would stop every reader of the log, so it is refused here. Which trades set prices, their sale conditions
say (domain/conditions.py): the decision stands in the tick's flags, and every reader of the log goes by it. Called by ingestor/intake.py.
"""

import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from tandem.adapters.calendar import SERVICE_FROM_NS
from tandem.domain.conditions import PLAIN_CODES, flags_of_sale, reason_of, sale_flags
from tandem.domain.errors import BadRecord
from tandem.domain.market import KIND_TRADE, TICK_DTYPE, TickArray
from tandem.domain.units import NS_PER_S

_CLOCK_AHEAD_NS_MAX = 60 * NS_PER_S  # an event later than a minute from now is a broken stamp, not a fast clock
SIZE_MAX = 2**32 - 1  # TICK_DTYPE
PRICE_MAX = sys.float_info.max  # JSON has whole numbers beyond it, which compare and do not convert
_FIELDS = ("t", "i", "p", "s", "S")  # event time, trade id, price, size, symbol
_fields_of = itemgetter(*_FIELDS)
_codes_of, _tape_of = itemgetter("c"), itemgetter("z")
INTEGERS = {int}  # by type(), so that True is none
NUMBERS = ({float}, {int}, {int, float})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Something that cannot be used, the reason, and its bytes for the dead letter."""

    error: BadRecord
    payload: bytes


def parked_with(error: BadRecord, message: Any) -> Parked:
    """A message that cannot be used, for the dead letter. What MessagePack cannot write, e.g. a time after 2262, is kept as its text."""
    return Parked(error=error, payload=msgpack.packb(message, default=repr, unicode_errors="backslashreplace"))


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
            parked.append(parked_with(error, message))
    return np.concatenate(good) if good else np.empty(0, TICK_DTYPE), tuple(parked)


def _columns(messages: Sequence[Any], places: Mapping[str, int], received_ns: int) -> TickArray | None:
    """All messages as ticks, or None if any of them is not plainly right."""
    try:
        event_ns, trade_id, price, size, symbol = zip(*map(_fields_of, messages), strict=True)
        if not (set(map(type, event_ns)) == set(map(type, trade_id)) == INTEGERS):
            return None
        if set(map(type, price)) not in NUMBERS or set(map(type, size)) not in NUMBERS:
            return None
        ticks = np.empty(len(messages), TICK_DTYPE)
        ticks["event_ns"], ticks["trade_id"], ticks["price"] = event_ns, trade_id, price
        sizes = np.array(size)
        ticks["symbol"] = list(map(places.__getitem__, symbol))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    prices = ticks["price"]
    if not are_times(ticks["event_ns"], received_ns):
        return None
    if not (np.isfinite(prices).all() and prices.min() > 0 and sizes.min() > 0 and sizes.max() <= SIZE_MAX):
        return None
    ticks["size"], ticks["kind"], ticks["flags"] = np.maximum(sizes, 1), KIND_TRADE, _sales(messages)
    return ticks


def _sales(messages: Sequence[Any]) -> NDArray[np.uint8] | int:
    """The flags that the messages' sale conditions give: at the speed of C where all are of the usual form, 0 where all set prices."""
    try:
        codes = list(map(_codes_of, messages))
        if PLAIN_CODES.issuperset(chain.from_iterable(codes)):
            return 0
        return np.frombuffer(bytes(map(flags_of_sale, map(_tape_of, messages), map(tuple, codes))), np.uint8)
    except (KeyError, TypeError):  # a message without one of the two, or with something else in it
        return np.array([_sale(message) for message in messages], np.uint8)


def _sale(message: Mapping[str, Any]) -> int:
    return sale_flags(message.get("z"), message.get("c"))


def _one(message: Any, places: Mapping[str, int], received_ns: int) -> TickArray:
    """One message as one tick. Raises BadRecord: the same rules as `_columns`, and the reason."""
    if not isinstance(message, dict):
        raise BadRecord("message_malformed", f"a {type(message).__name__} where a map was expected")
    if missing := [name for name in _FIELDS if name not in message]:
        raise BadRecord("field_missing", f"no {', '.join(missing)}; a trade has {', '.join(_FIELDS)}")
    event_ns, trade_id, price, size, symbol = _fields_of(message)
    place = check_symbol(symbol, places)
    check_time(event_ns, received_ns)
    check_trade_id(trade_id)
    if type(price) not in {int, float} or not 0 < price <= PRICE_MAX:
        raise BadRecord("price_invalid", f"p {reprlib.repr(price)}: expected a finite number above 0")
    return np.array([(event_ns, trade_id, price, check_size(size, "s"), place, KIND_TRADE, _sale(message))], TICK_DTYPE)


def unpriced(ticks: TickArray) -> list[tuple[str, int]]:
    """How many trades among the ticks may not set prices, by reason; nearly always none."""
    if not ticks["flags"].any():
        return []
    flags, counts = np.unique(ticks["flags"][(ticks["kind"] == KIND_TRADE) & (ticks["flags"] != 0)], return_counts=True)
    return [(reason_of(number), count) for number, count in zip(flags.tolist(), counts.tolist(), strict=True)]


def are_times(event_ns: NDArray[np.int64], received_ns: int) -> bool:
    """Whether all are event times that can be: the rule of `check_time` for a column."""
    return bool(event_ns.min() >= SERVICE_FROM_NS and event_ns.max() <= received_ns + _CLOCK_AHEAD_NS_MAX)


def check_symbol(symbol: Any, places: Mapping[str, int]) -> int:
    """The symbol's place. Raises BadRecord."""
    if not isinstance(symbol, str) or symbol not in places:
        raise BadRecord("symbol_unknown", f"symbol {reprlib.repr(symbol)} is in no pair that is followed")
    return places[symbol]


def check_time(event_ns: Any, received_ns: int) -> None:
    """Raises BadRecord for what cannot be an event time."""
    if type(event_ns) is not int or not SERVICE_FROM_NS <= event_ns <= received_ns + _CLOCK_AHEAD_NS_MAX:
        raise BadRecord("time_invalid", f"t {reprlib.repr(event_ns)}: expected a timestamp from 1980 to a minute ahead of now")


def check_trade_id(trade_id: Any) -> int:
    """The id. Raises BadRecord for what is no integer of 64 bits."""
    if type(trade_id) is not int or not -(2**63) <= trade_id < 2**63:
        raise BadRecord("trade_id_invalid", f"i {reprlib.repr(trade_id)}: expected an integer of 64 bits")
    return trade_id


def check_size(size: Any, name: str) -> int:
    """Whole shares of what was traded, by the tape's rule: a fraction is cut off, less than one share is one. Raises BadRecord."""
    if type(size) not in {int, float} or not 0 < size <= SIZE_MAX:
        raise BadRecord("size_invalid", f"{name} {reprlib.repr(size)}: expected a number above 0, at most {SIZE_MAX}")
    return max(int(size), 1)
