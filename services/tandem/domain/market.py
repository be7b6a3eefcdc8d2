"""Ticks, heartbeats and bars. Times are int nanoseconds UTC."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tandem.domain.ids import SectorId, Symbol

# One trade. Fixed width and little-endian: it is also the layout on the wire (adapters/codec.py).
TICK_DTYPE = np.dtype(
    [
        ("event_ns", "<i8"),
        ("trade_id", "<i8"),
        ("price", "<f8"),
        ("size", "<u4"),
        ("symbol", "<u2"),  # index into the frame's symbols
        ("kind", "u1"),  # one of KIND_*
        ("flags", "u1"),  # of KIND_STATUS: STATUS_* bits; of a trade or correction: domain/conditions.py, 0 if it sets prices; else 0
    ]
)
# What a row is. All share one layout, so that event time has one order for everything that happens to a symbol.
KIND_TRADE = 1
KIND_BID = 2  # best bid: price and size; 0 where there is none. A quote is a bid and an ask of one event_ns, bid first
KIND_ASK = 3
KIND_CORRECTION = 4  # trade_id: of the trade that was wrong; price and size: what they should have been
KIND_CANCEL = 5  # trade_id: of the trade that never was; price and size as it was printed
KIND_STATUS = 6  # flags: the symbol's state from here on; price and size 0
KIND_BAND_LOW = 7  # limit up, limit down: the prices between which it may trade from here on; size 0
KIND_BAND_HIGH = 8
KINDS = frozenset(range(KIND_TRADE, KIND_BAND_HIGH + 1))
STATUS_HALTED = 1  # no trading: halt, volatility pause or market-wide breaker
STATUS_SHORT_RESTRICTED = 2  # short sales only above the best bid (Regulation SHO rule 201)
TickArray = NDArray[np.void]


class Source(StrEnum):
    """Where market data came from. Recycled data never feeds or overwrites live history."""

    LIVE = "live"
    PAPER = "paper"
    RECYCLED = "recycled"


@dataclass(frozen=True, slots=True, kw_only=True)
class TickFrame:
    """Ticks of one sector in order of event time, ties in the order they were received."""

    sector: SectorId
    source: Source
    replay_id: str  # "" on live feeds
    symbols: tuple[Symbol, ...]
    ticks: TickArray  # (n,) of TICK_DTYPE

    def __post_init__(self) -> None:
        if self.ticks.dtype != TICK_DTYPE:
            raise ValueError(f"ticks have dtype {self.ticks.dtype}, must be TICK_DTYPE")
        if len(self.ticks) and int(self.ticks["symbol"].max()) >= len(self.symbols):
            raise ValueError(f"symbol index {int(self.ticks['symbol'].max())}, the frame names {len(self.symbols)} symbols")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """All ticks of the sector before `watermark_ns` have been sent. Only this and ticks move event time."""

    sector: SectorId
    source: Source
    replay_id: str
    watermark_ns: int
    lockstep: bool = False  # the market waits until the portfolio has acknowledged this watermark
    end_of_stream: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A closed bar of one symbol; the right edge is exclusive. Prices are statistics here, hence float64."""

    symbol: Symbol
    open_ns: int
    close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    trades: int


class BarColumns(Mapping[Symbol, Bar]):
    """Bars that close at one time, as columns: a Bar is made where one is asked for, which a forecast does for none of them."""

    __slots__ = ("close_ns", "counts", "open_ns", "places", "prices", "symbols")

    def __init__(
        self, symbols: tuple[Symbol, ...], *, open_ns: int, close_ns: int, prices: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> None:
        """symbols: (n,) ascending; prices: (4, n) open, high, low, close; counts: (2, n) volume, trades."""
        self.symbols, self.open_ns, self.close_ns, self.prices, self.counts = symbols, open_ns, close_ns, prices, counts
        self.places = {symbol: i for i, symbol in enumerate(symbols)}

    @property
    def closes(self) -> NDArray[np.float64]:
        """(n,) in order of symbol."""
        return self.prices[3]

    def __getitem__(self, symbol: Symbol) -> Bar:
        place = self.places[symbol]
        (open_, high, low, close), (volume, trades) = self.prices[:, place].tolist(), self.counts[:, place].tolist()
        return Bar(
            symbol=symbol,
            open_ns=self.open_ns,
            close_ns=self.close_ns,
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume,
            trades=trades,
        )

    def __iter__(self) -> Iterator[Symbol]:
        return iter(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"BarColumns({dict(self)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSet:
    """All bars of a sector that close at one time; only symbols that traded in it have one. In order of symbol."""

    close_ns: int
    bars: Mapping[Symbol, Bar]
    session_ns: int  # open of the session that holds the bar
    slot: int  # 0-based number of the bar within its session
    number: int  # of the bar among all bars of the grid, traded in or not: the difference of two is the bars between them
    next_slot: int  # of the grid's next bar: 0 after the last of a session, be it a half day


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionGrid:
    """Trading sessions and the bars in them: from each open, every `bar_ns`, the last one cut at the close.

    open_ns, close_ns: (n,) int64, ascending, disjoint. Daily bars have bar_ns >= the longest session.
    """

    open_ns: NDArray[np.int64]
    close_ns: NDArray[np.int64]
    bar_ns: int
    first_bar: NDArray[np.int64] = field(init=False, repr=False)  # (n + 1,) number of each session's first bar, then of all bars

    def __post_init__(self) -> None:
        if self.bar_ns <= 0:
            raise ValueError(f"bar_ns {self.bar_ns}: must be above 0")
        if len(self.open_ns) != len(self.close_ns) or np.any(self.open_ns >= self.close_ns):
            raise ValueError("each session must close after it opens")
        if len(self.open_ns) > 1 and np.any(self.open_ns[1:] < self.close_ns[:-1]):
            raise ValueError("sessions must be ascending and disjoint")
        bars = -(-(self.close_ns - self.open_ns) // self.bar_ns)
        object.__setattr__(self, "first_bar", np.concatenate(([0], np.cumsum(bars))).astype(np.int64))

    @property
    def slots_max(self) -> int:
        """Bars in the longest session."""
        if len(self.open_ns) == 0:
            return 0
        return int(np.diff(self.first_bar).max())

    def covers(self, close_ns: int) -> bool:
        """Whether a bar that closes then can be one of this grid."""
        return len(self.open_ns) > 0 and bool(self.open_ns[0] < close_ns <= self.close_ns[-1])

    def places(self, close_ns: NDArray[np.int64]) -> "BarPlaces":
        """Where the bars that close at these times (n,) stand in the grid. Times within the grid; see BarSet for the columns."""
        session = np.searchsorted(self.open_ns, close_ns, side="left") - 1
        slot = (close_ns - 1 - self.open_ns[session]) // self.bar_ns
        last = slot + 1 == np.diff(self.first_bar)[session]
        return BarPlaces(
            session_ns=self.open_ns[session], slot=slot, number=self.first_bar[session] + slot, next_slot=np.where(last, 0, slot + 1)
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BarPlaces:
    """Columns (n,) of BarSet for n bars."""

    session_ns: NDArray[np.int64]
    slot: NDArray[np.int64]
    number: NDArray[np.int64]
    next_slot: NDArray[np.int64]
