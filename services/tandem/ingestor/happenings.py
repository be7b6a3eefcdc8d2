"""What happens to a symbol besides trades and quotes, as ticks: corrections and cancels of trades, halts, short sale rules, price bands.

A status message is an event, a tick says the state from then on: the state of each symbol is kept here. History knows no statuses, so that
an end of a halt which a lost connection swallowed never comes: a halted symbol that trades is taken for resumed. Called by
ingestor/intake.py.
Codes: Alpaca's documentation of trading statuses, tapes A and B by the CTA's plan, tape C by the UTP's.
"""

import reprlib
from collections.abc import Mapping
from typing import Any

from tandem.domain.conditions import sale_flags
from tandem.domain.errors import BadRecord
from tandem.domain.market import (
    KIND_BAND_HIGH,
    KIND_BAND_LOW,
    KIND_CANCEL,
    KIND_CORRECTION,
    KIND_STATUS,
    KIND_TRADE,
    STATUS_HALTED,
    STATUS_SHORT_RESTRICTED,
    TickArray,
)
from tandem.domain.units import NS_PER_S
from tandem.ingestor.trades import PRICE_MAX, check_size, check_symbol, check_time, check_trade_id

Row = tuple[int, int, float, int, int, int, int]  # the columns of TICK_DTYPE
_FIELDS = {
    "c": ("S", "t", "oi", "cp", "cs"),
    "x": ("S", "t", "i", "p", "s"),
    "s": ("S", "t", "sc"),
    "l": ("S", "t", "u", "d"),
}
_HALTS = frozenset({"2", "H", "P"})  # halt, volatility pause
_RESUMES = frozenset({"3", "T"})
# Quotation resumes before trading does (Q); indications, imbalances and the limit state change nothing that may be traded.
_NO_CHANGE = frozenset({"4", "5", "6", "7", "8", "9", "A", "B", "C", "D", "F", "Q"})
_SHORT_RESTRICTION = "E"
_CODES = _HALTS | _RESUMES | _NO_CHANGE | {_SHORT_RESTRICTION}
_RESTRICTION_LIFTED = "D"  # as the reason of E
# Into a halt trades of before it are still reported: within 10 s by rule, and what is later says so in its conditions and sets no price.
_HALT_NS_MIN = 60 * NS_PER_S


class Happenings:
    """Reads the messages and keeps each symbol's state. flags: STATUS_* by symbol."""

    def __init__(self) -> None:
        self.flags: dict[str, int] = {}
        self._halted_ns: dict[
            str, int | None
        ] = {}  # of each halted symbol since when; None until its first trade if only its flags are known

    def restore(self, flags: Mapping[str, int]) -> None:
        """Take over what an earlier life left of some symbols."""
        self.flags |= flags
        self._halted_ns |= dict.fromkeys(name for name, bits in flags.items() if bits & STATUS_HALTED)

    def outlived(self, ticks: TickArray, places: Mapping[str, int]) -> list[Row]:
        """Statuses of symbols whose halt these trades contradict: with prices, and longer after it than late reports come."""
        rows: list[Row] = []
        for symbol in [name for name in self._halted_ns if name in places]:
            priced = (ticks["symbol"] == places[symbol]) & (ticks["kind"] == KIND_TRADE) & (ticks["flags"] == 0)
            times = ticks["event_ns"][priced]
            if len(times) == 0:
                continue
            since_ns = self._halted_ns[symbol]
            if since_ns is None:
                since_ns = self._halted_ns[symbol] = int(times.min())
            after = times[times > since_ns + _HALT_NS_MIN]
            if len(after):
                self.flags[symbol] &= ~STATUS_HALTED
                self._halted_ns.pop(symbol)
                rows.append((int(after.min()), 0, 0.0, 0, places[symbol], KIND_STATUS, self.flags[symbol]))
        return rows

    def read(self, kind: str, message: Any, places: Mapping[str, int], received_ns: int) -> list[Row]:
        """The ticks of one message c, x, s or l, `symbol` being the place in `places`. Raises BadRecord."""
        if missing := [name for name in _FIELDS[kind] if name not in message]:
            raise BadRecord("field_missing", f"no {', '.join(missing)}; a message {kind!r} has {', '.join(_FIELDS[kind])}")
        place, event_ns = check_symbol(message["S"], places), message["t"]
        check_time(event_ns, received_ns)
        match kind:
            case "c":
                price, size = _price(message, "cp"), check_size(message["cs"], "cs")
                flags = sale_flags(message.get("z"), message.get("cc", message.get("oc")))  # the conditions may be what was wrong
                return [(event_ns, check_trade_id(message["oi"]), price, size, place, KIND_CORRECTION, flags)]
            case "x":
                price, size = _price(message, "p"), check_size(message["s"], "s")
                return [(event_ns, check_trade_id(message["i"]), price, size, place, KIND_CANCEL, 0)]
            case "s":
                return [(event_ns, 0, 0.0, 0, place, KIND_STATUS, self._flags(message))]
            case _:
                low, high = _price(message, "d"), _price(message, "u")
                if low > high:
                    raise BadRecord("band_crossed", f"lower band {low} above upper band {high}")
                return [(event_ns, 0, low, 0, place, KIND_BAND_LOW, 0), (event_ns, 0, high, 0, place, KIND_BAND_HIGH, 0)]

    def _flags(self, message: Any) -> int:
        """The symbol's flags after the message."""
        symbol, code, flags = message["S"], message["sc"], self.flags.get(message["S"], 0)
        if not isinstance(code, str) or code not in _CODES:
            raise BadRecord(
                "status_unknown",
                f"sc {reprlib.repr(code)} ({reprlib.repr(message.get('sm'))}): known are {', '.join(sorted(_HALTS | _RESUMES))}, E",
            )
        if code in _HALTS:
            flags |= STATUS_HALTED
            self._halted_ns[symbol] = message["t"]
        elif code in _RESUMES:
            flags &= ~STATUS_HALTED
            self._halted_ns.pop(symbol, None)
        elif code == _SHORT_RESTRICTION:
            lifted = message.get("rc") == _RESTRICTION_LIFTED
            flags = flags & ~STATUS_SHORT_RESTRICTED if lifted else flags | STATUS_SHORT_RESTRICTED
        self.flags[symbol] = flags
        return flags


def _price(message: Any, name: str) -> float:
    price = message[name]
    if type(price) not in {int, float} or not 0 < price <= PRICE_MAX:
        raise BadRecord("price_invalid", f"{name} {reprlib.repr(price)}: expected a finite number above 0")
    return float(price)
