"""Quote messages of Alpaca's stream as ticks, two rows for each: the best bid, then the best ask. Called by ingestor/intake.py.

A side without an offer has price 0. A bid above its ask is no market: it is parked, so that nothing is valued or traded by it.
"""

import reprlib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from tandem.domain.errors import BadRecord
from tandem.domain.market import KIND_ASK, KIND_BID, TICK_DTYPE, TickArray
from tandem.ingestor.trades import INTEGERS, NUMBERS, PRICE_MAX, SIZE_MAX, Parked, are_times, check_symbol, check_time, parked_with

_FIELDS = ("t", "bp", "bs", "ap", "as", "S")  # event time, bid's price and size, ask's price and size, symbol
_NUMBERS = {int, float}
_fields_of = itemgetter(*_FIELDS)


def newest_of_each(messages: Sequence[Any]) -> list[Any]:
    """The last quote of each symbol, in order; what has no symbol stays, to be parked."""
    last = {message["S"]: i for i, message in enumerate(messages) if isinstance(message.get("S"), str)}
    places = set(last.values())
    return [message for i, message in enumerate(messages) if i in places or not isinstance(message.get("S"), str)]


def read_quotes(messages: Sequence[Any], places: Mapping[str, int], received_ns: int) -> tuple[TickArray, tuple[Parked, ...]]:
    """Two ticks for each usable quote, in order, `symbol` being the symbol's place in `places`; and the others."""
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
    """All quotes as ticks, or None if any of them is not plainly right."""
    try:
        event_ns, bid, bid_size, ask, ask_size, symbol = zip(*map(_fields_of, messages), strict=True)
        if set(map(type, event_ns)) != INTEGERS or not set(map(type, bid_size)) | set(map(type, ask_size)) <= _NUMBERS:
            return None
        if set(map(type, bid)) not in NUMBERS or set(map(type, ask)) not in NUMBERS:
            return None
        ticks = np.zeros(2 * len(messages), TICK_DTYPE)
        bids, asks = ticks[0::2], ticks[1::2]
        bids["event_ns"] = asks["event_ns"] = event_ns
        bids["symbol"] = asks["symbol"] = list(map(places.__getitem__, symbol))
        bids["price"], asks["price"] = bid, ask
        sizes = np.array((bid_size, ask_size))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    low, high = bids["price"], asks["price"]
    if not are_times(ticks["event_ns"], received_ns) or not (sizes.min() >= 0 and sizes.max() <= SIZE_MAX):
        return None
    if not (np.isfinite(ticks["price"]).all() and low.min() >= 0 and high.min() >= 0 and not ((low > high) & (high > 0)).any()):
        return None
    bids["size"], asks["size"] = sizes
    bids["kind"], asks["kind"] = KIND_BID, KIND_ASK
    return ticks


def _one(message: Any, places: Mapping[str, int], received_ns: int) -> TickArray:
    """One quote as two ticks. Raises BadRecord: the same rules as `_columns`, and the reason."""
    if missing := [name for name in _FIELDS if name not in message]:
        raise BadRecord("field_missing", f"no {', '.join(missing)}; a quote has {', '.join(_FIELDS)}")
    event_ns, bid, bid_size, ask, ask_size, symbol = _fields_of(message)
    place = check_symbol(symbol, places)
    check_time(event_ns, received_ns)
    for name, price in (("bp", bid), ("ap", ask)):
        if type(price) not in {int, float} or not 0 <= price <= PRICE_MAX:
            raise BadRecord("price_invalid", f"{name} {reprlib.repr(price)}: expected a finite number, 0 for no offer")
    for name, size in (("bs", bid_size), ("as", ask_size)):
        if type(size) not in _NUMBERS or not 0 <= size <= SIZE_MAX:
            raise BadRecord("size_invalid", f"{name} {reprlib.repr(size)}: expected a number from 0 to {SIZE_MAX}")
    if bid > ask > 0:
        raise BadRecord("quote_crossed", f"bid {bid} above ask {ask}")
    return np.array(
        [(event_ns, 0, bid, int(bid_size), place, KIND_BID, 0), (event_ns, 0, ask, int(ask_size), place, KIND_ASK, 0)],
        TICK_DTYPE,
    )
