"""A made-up symbol that is cointegrated with a recorded one, for whoever wants to see a pair that is one. Only on request, and labelled.

The twin has half the base's price times exp(s), where s is an Ornstein-Uhlenbeck process in market time: it reverts by half within 20 bars
and stays within about 1 % (one standard deviation). So log(base) - log(twin) is stationary with a hedge ratio of 1. The shocks come from
the two names, so that the same recording has the same twin. Its name must end in .SYN, so that every record of it says what it is.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tandem.adapters.market_pieces import Rows
from tandem.domain.errors import BadSetting
from tandem.domain.ids import Symbol, symbol
from tandem.domain.market import KIND_ASK, KIND_BID, KIND_TRADE, SessionGrid
from tandem.domain.units import NS_PER_S
from tandem.flow.replay import market_time_ns

LABEL = ".SYN"
PRICE_RATIO = 0.5
HALF_LIFE_BARS = 20
SPREAD_STD = 0.01  # of s, whatever the bars
_SESSION_NS = 23_400 * NS_PER_S  # market time of a daily bar
_PRICED = (KIND_TRADE, KIND_BID, KIND_ASK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """One made-up symbol and what it follows."""

    base: Symbol
    name: Symbol


def twin(text: str) -> Twin:
    """BASE=NAME.SYN. Raises BadSetting."""
    base, _, name = text.partition("=")
    try:
        found = Twin(base=symbol(base), name=symbol(name))
    except ValueError as error:
        raise BadSetting(f"twin {text!r}: must be SYMBOL=NAME{LABEL}, e.g. KO=KO{LABEL}: {error}") from error
    if not name.endswith(LABEL):
        raise BadSetting(f"twin {text!r}: the made-up symbol must end in {LABEL}, so that nobody takes it for recorded")
    return found


class Twins:
    """Adds the rows of all twins, block by block in order of time; the same whatever the blocks."""

    def __init__(self, twins: Sequence[Twin], numbers: Mapping[Symbol, int], grid: SessionGrid, bar_ns: int) -> None:
        """numbers: of the recorded symbols in the rows; the twins' follow them in the order given."""
        self._grid, self._reversion = grid, np.log(2) / (HALF_LIFE_BARS * min(bar_ns, _SESSION_NS))
        self._paths = [_Path(one, numbers[one.base], len(numbers) + place) for place, one in enumerate(twins)]

    def added(self, rows: Rows) -> Rows:
        """The rows with the twins' among them, each right after what it follows: a quote's bid and ask stay together."""
        ticks = rows["tick"]
        event_ns = np.ascontiguousarray(ticks["event_ns"])
        clock_ns = market_time_ns(self._grid, event_ns)
        keys: list[NDArray[np.float64]] = [np.arange(len(rows), dtype=np.float64)]
        parts = [rows]
        for place, path in enumerate(self._paths):
            own = np.flatnonzero((ticks["symbol"] == path.base) & np.isin(ticks["kind"], _PRICED))
            if len(own) == 0:
                continue
            made = rows[own].copy()
            factor = PRICE_RATIO * np.exp(path.walk(clock_ns[own], self._reversion))
            kinds = made["tick"]["kind"]
            made["tick"]["symbol"] = path.number
            prices = made["tick"]["price"]
            made["tick"]["price"] = np.where(prices > 0, np.maximum(np.round(prices * factor, 4), 0.0001), 0.0)
            if "bar" in (rows.dtype.names or ()):
                for name in ("open", "high", "low"):
                    made["bar"][name] = np.round(made["bar"][name] * factor, 4)
            after = np.where(kinds == KIND_BID, 1.5, np.where(kinds == KIND_ASK, 0.75, 0.5))
            keys.append(np.asarray(own + after + place * 1e-6, np.float64))
            parts.append(made)
        return np.concatenate(parts)[np.argsort(np.concatenate(keys), kind="stable")]


class _Path:
    """The state of one twin's process."""

    def __init__(self, one: Twin, base: int, number: int) -> None:
        self.base, self.number = base, number
        seed = hashlib.sha256(f"tandem twin {one.base} {one.name}".encode()).digest()
        self._random = np.random.default_rng(int.from_bytes(seed[:16], "big"))
        self._last_ns: int | None = None
        self._level = 0.0

    def walk(self, clock_ns: NDArray[np.int64], reversion: float) -> NDArray[np.float64]:
        """(n,) s at these times, by the exact transition of the process from where it was."""
        before = np.concatenate(([clock_ns[0] if self._last_ns is None else self._last_ns], clock_ns[:-1]))
        decay = np.exp(-reversion * (clock_ns - before))
        shocks = SPREAD_STD * np.sqrt(1 - decay**2) * self._random.standard_normal(len(clock_ns))
        level, found = self._level, np.empty(len(clock_ns))
        for place, (keep, shock) in enumerate(zip(decay.tolist(), shocks.tolist(), strict=True)):
            level = keep * level + shock
            found[place] = level
        self._level, self._last_ns = level, int(clock_ns[-1])
        return found
