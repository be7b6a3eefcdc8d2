"""The newest state of each symbol that batches have told of, made into a record only for who asks: a bar names hundreds, its orders a few.

Kept by gate.py. Decides nothing.
"""

from collections.abc import Iterable, Iterator, Mapping

from tandem.domain.forecasts import ForecastBatch, MarketColumns, MarketState, market_columns
from tandem.domain.ids import Symbol


class Board(Mapping[Symbol, MarketState]):
    """States by symbol."""

    def __init__(self) -> None:
        self._places: dict[Symbol, tuple[int, MarketColumns, int]] = {}  # close of the bar that told, and where it did

    def take(self, batches: Iterable[ForecastBatch]) -> None:
        """What the batches of a bar say; a symbol of two sectors is as the later bar saw it."""
        places = self._places
        for batch in batches:
            if not batch.market:
                continue
            columns, close_ns = market_columns(batch.market), batch.bar_close_ns
            for place, symbol in enumerate(columns.columns["symbol"]):
                known = places.get(symbol)
                if known is None or known[0] <= close_ns:
                    places[symbol] = (close_ns, columns, place)

    def __getitem__(self, symbol: Symbol) -> MarketState:
        _, columns, place = self._places[symbol]
        return columns[place]

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._places

    def __iter__(self) -> Iterator[Symbol]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def newest_ns(self) -> int:
        """Of the newest trade of any symbol; 0 before one."""
        return max((columns.columns["last_ns"][place] for _, columns, place in self._places.values()), default=0)

    def without_price(self, oldest_ns: int) -> frozenset[Symbol]:
        """The symbols that do not trade, or have not traded since they began to again, or not since a time."""
        found = []
        for symbol, (_, columns, place) in self._places.items():
            told = columns.columns
            last_ns = told["last_ns"][place]
            resumed_ns = told["resumed_ns"][place] if "resumed_ns" in told else 0
            if told["halted"][place] or last_ns < resumed_ns or 0 < last_ns < oldest_ns:
                found.append(symbol)
        return frozenset(found)
