"""Whether a price can be right, judged by the symbol's last trade. Called by ingestor/intake.py before a tick goes on.

A price more than JUMP_MAX times the last one, or less than that part of it, is parked. Three trades in a row that agree with each other are
a new level, e.g. after a reverse split; from the third on they pass, and the two before can be replayed from the dead letter. A trade whose
conditions keep it from setting prices is neither judged nor a measure: its price is that of another moment, and nobody uses it.
"""

from collections.abc import Sequence

import msgpack
import numpy as np
from numpy.typing import NDArray

from tandem.domain.errors import BadRecord
from tandem.domain.market import KIND_ASK, KIND_BID, KIND_TRADE, TickArray
from tandem.ingestor.trades import Parked

JUMP_MAX = 25.0  # the largest split of a large stock was 20 for 1 (2022); a misplaced decimal point is 10, 100 or 1000
_AGREE_MAX = 2.0
_CONFIRMATIONS = 3


class Prices:
    """The last trade's price of each symbol, by number."""

    def __init__(self) -> None:
        self._last = np.zeros(0)
        self._doubted: dict[int, tuple[float, int]] = {}  # a level that is not believed yet, and how many trades agree on it

    def seed(self, ticks: TickArray, numbers: NDArray[np.int64]) -> None:
        """Take over the last prices that a topic holds. numbers: of the symbols that the ticks' places mean."""
        trades = ticks[_sets_prices(ticks)]
        self._room(int(numbers.max(initial=-1)) + 1)
        self._last[numbers[trades["symbol"]]] = trades["price"]

    def passed(self, ticks: TickArray, names: Sequence[str]) -> tuple[TickArray, list[Parked]]:
        """The ticks that can be right, and the others with the reason. A quote is its two rows, or none."""
        if len(ticks) == 0:
            return ticks, []
        symbol, price = ticks["symbol"].astype(np.int64), ticks["price"]
        self._room(int(symbol.max()) + 1)
        last = self._last[symbol]
        if bool(((price < last * JUMP_MAX) & (price * JUMP_MAX > last) & (last > 0)).all()) and not self._doubted:
            priced = _sets_prices(ticks)
            self._last[symbol[priced]] = price[priced]
            return ticks, []
        free = (ticks["kind"] == KIND_TRADE) & (ticks["flags"] != 0)
        judged = zip(symbol, price, ticks["kind"], free, strict=True)
        kept = np.array([bool(f) or self._believes(int(s), float(p), int(k)) for s, p, k, f in judged])
        pairs = np.flatnonzero((ticks["kind"] == KIND_BID)[:-1] & (ticks["kind"] == KIND_ASK)[1:])
        kept[pairs] = kept[pairs + 1] = kept[pairs] & kept[pairs + 1]
        left = [place for place in np.flatnonzero(~kept).tolist() if ticks["kind"][place] != KIND_ASK]
        return ticks[kept], [self._parked(ticks[place : place + 2], names) for place in left]

    def check(self, symbol: int, price: float, name: str) -> None:
        """Raises BadRecord for what a trade is said to have been at, if that cannot be."""
        if symbol < len(self._last) and not self._is_near(symbol, price):
            raise _jump(name, price, float(self._last[symbol]))

    def _is_near(self, symbol: int, price: float) -> bool:
        last = float(self._last[symbol])
        return last == 0 or price == 0 or last / JUMP_MAX < price < last * JUMP_MAX

    def _believes(self, symbol: int, price: float, kind: int) -> bool:
        near = self._is_near(symbol, price)
        if kind != KIND_TRADE:
            return near
        if not near:
            level, count = self._doubted.get(symbol, (price, 0))
            agrees = level / _AGREE_MAX < price < level * _AGREE_MAX
            self._doubted[symbol] = (price, count + 1 if agrees else 1)
            if self._doubted[symbol][1] < _CONFIRMATIONS:
                return False
        self._doubted.pop(symbol, None)
        self._last[symbol] = price
        return True

    def _parked(self, ticks: TickArray, names: Sequence[str]) -> Parked:
        """A trade, or a quote, whose second row is its ask; what the stream sent can be made again of them."""
        (event_ns, trade_id, price, size, number, kind, _), *more = ticks.tolist()
        symbol, last = names[number], float(self._last[number])
        if kind == KIND_TRADE:
            message = {"T": "t", "S": symbol, "i": trade_id, "p": price, "s": size, "t": event_ns}
        else:
            _, _, ask, ask_size, *_ = more[0]
            message = {"T": "q", "S": symbol, "bp": price, "bs": size, "ap": ask, "as": ask_size, "t": event_ns}
            price = price if not self._is_near(number, price) else ask
        return Parked(error=_jump(symbol, price, last), payload=msgpack.packb(message))

    def _room(self, count: int) -> None:
        if count > len(self._last):
            self._last = np.concatenate((self._last, np.zeros(count - len(self._last))))


def _sets_prices(ticks: TickArray) -> NDArray[np.bool_]:
    return np.asarray((ticks["kind"] == KIND_TRADE) & (ticks["flags"] == 0))


def _jump(symbol: str, price: float, last: float) -> BadRecord:
    return BadRecord("price_jump", f"{symbol} at {price} after {last}: more than {JUMP_MAX:g} times up or down")
