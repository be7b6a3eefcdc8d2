"""What a forecaster publishes: one batch per sector and bar, which is also the sector's watermark."""

import math
from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from itertools import compress
from typing import Any, overload

from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Source

SHARDS = 12  # of a sector with several replicas: the smallest number that 2, 3, 4 and 6 of them share evenly


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """One version of a sector's model. The digest names the content, the version its place in the registry."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The state of one pair at the close of a bar and what is expected of its next bar."""

    pair: PairId
    leg_a: Symbol
    leg_b: Symbol
    price_a: float  # USD, last trade of the bar
    price_b: float
    beta: float  # hedge ratio: spread = log a - beta log b - mu
    mu: float
    spread: float
    expected_spread: float  # AR(1) mean of the pair's next bar; realised variance = (next spread - expected_spread)^2
    z: float  # spread / its standard deviation in the training span
    variance: float  # of the spread's innovation over the next bar, after the GRU's correction
    garch_variance: float  # the same before the correction
    reversion_probability: float  # calibrated: reverts by more than its cost within the horizon
    half_life_bars: float
    bar_index: int  # bars of this pair since the end of training, counting from 0

    def __post_init__(self) -> None:
        # A finite number times 0 is 0, a NaN or an infinity is not: one sum instead of ten questions, as hundreds are made at each bar.
        prices = 0.0 * self.price_a + 0.0 * self.price_b + 0.0 * self.beta + 0.0 * self.mu + 0.0 * self.spread + 0.0 * self.expected_spread
        rest = 0.0 * self.z + 0.0 * self.variance + 0.0 * self.garch_variance + 0.0 * self.half_life_bars
        if prices + rest != 0 or not 0 <= self.reversion_probability <= 1:
            raise ValueError(f"forecast of {self.pair} holds a number that is not finite: {self}")
        if self.variance <= 0 or self.garch_variance <= 0 or self.price_a <= 0 or self.price_b <= 0:
            raise ValueError(f"forecast of {self.pair}: variances and prices must be above 0: {self}")


FORECAST_FIELDS = tuple(f.name for f in fields(Forecast))
_WRITERS = tuple(getattr(Forecast, name).__set__ for name in FORECAST_FIELDS)  # a slot's own, below what makes the class unchangeable
_FINITE = tuple(map(FORECAST_FIELDS.index, ("beta", "mu", "spread", "expected_spread", "z", "half_life_bars")))
_POSITIVE = tuple(map(FORECAST_FIELDS.index, ("price_a", "price_b", "variance", "garch_variance")))
_SHARE = FORECAST_FIELDS.index("reversion_probability")


def forecasts_of(columns: Sequence[Sequence[Any]]) -> tuple[Forecast, ...]:
    """The forecasts whose fields are these columns of (n,), in order of FORECAST_FIELDS. Raises what Forecast raises.

    Hundreds are made at each bar on both sides of Kafka: by column they take a quarter of the time.
    """
    if _are_sound(columns):
        return _unchecked(columns)
    rows = zip(*columns, strict=True)
    return tuple(Forecast(**dict(zip(FORECAST_FIELDS, row, strict=True))) for row in rows)


def _are_sound(columns: Sequence[Sequence[Any]]) -> bool:
    """False where one of them may not be, or where a sum is too large to tell: then each forecast is asked."""
    try:
        return (
            all(0.0 * sum(columns[place]) == 0 for place in (*_FINITE, *_POSITIVE))
            and all(min(columns[place]) > 0 for place in _POSITIVE)
            and min(columns[_SHARE]) >= 0
            and max(columns[_SHARE]) <= 1
            and 0.0 * sum(columns[_SHARE]) == 0
        )
    except (TypeError, ValueError, OverflowError):  # no numbers, no rows, or whole numbers beyond a float
        return False


def _unchecked(columns: Sequence[Sequence[Any]]) -> tuple[Forecast, ...]:
    made = [object.__new__(Forecast) for _ in columns[0]]
    for write, column in zip(_WRITERS, columns, strict=True):
        deque(map(write, made, column), maxlen=0)  # the quickest loop that Python has
    return tuple(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketState:
    """What the log had said of one symbol when the bar was closed, so that a decision can look at it. Prices 0: nothing was said.

    It may hold what happened after the bar's close and before its heartbeat: a halt that is known stops an order.

    Statistics and checks only: no order takes its price from here without being rounded to its tick.
    """

    symbol: Symbol
    last_usd: float = 0.0
    last_ns: int = 0  # of the last trade
    bid_usd: float = 0.0
    ask_usd: float = 0.0
    quote_ns: int = 0
    halted: bool = False
    short_restricted: bool = False
    band_low_usd: float = 0.0
    band_high_usd: float = 0.0
    resumed_ns: int = 0  # when the last halt or pause that the log knows of ended

    def __post_init__(self) -> None:
        # Spelt out: hundreds are made at each bar, on the way to the forecast. A NaN is in no interval.
        sound = 0 <= self.last_usd < math.inf and 0 <= self.bid_usd < math.inf and 0 <= self.ask_usd < math.inf
        if not (sound and 0 <= self.band_low_usd < math.inf and 0 <= self.band_high_usd < math.inf):
            raise ValueError(f"market of {self.symbol} holds a price that is not finite or below 0: {self}")

    @property
    def has_price(self) -> bool:
        """It trades, and since its last halt it has traded: what was paid before says nothing of what is paid now."""
        return not self.halted and self.last_ns >= self.resumed_ns


MARKET_FIELDS = tuple(f.name for f in fields(MarketState))
_PRICES = ("last_usd", "bid_usd", "ask_usd", "band_low_usd", "band_high_usd")
_TIMES = ("last_ns", "quote_ns", "resumed_ns")


class MarketColumns(Sequence[MarketState]):
    """Market states as columns, equal to a tuple of them: a forecaster has hundreds at each bar and looks at none.

    columns: by each of MARKET_FIELDS a list of (n,); without `resumed_ns` where no symbol has been halted, which is the rule. Not checked:
    a state is when it is taken out; `read_columns` checks all of them.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: Mapping[str, list[Any]]) -> None:
        self.columns = columns

    @overload
    def __getitem__(self, index: int) -> MarketState: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MarketState, ...]: ...
    def __getitem__(self, index: int | slice) -> MarketState | tuple[MarketState, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        return MarketState(**{name: column[index] for name, column in self.columns.items()})

    def __len__(self) -> int:
        return len(self.columns["symbol"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"MarketColumns({tuple(self)})"

    def of(self, symbols: Set[Symbol]) -> "MarketColumns":
        """Only these symbols."""
        kept = [symbol in symbols for symbol in self.columns["symbol"]]
        return MarketColumns(told_columns({name: list(compress(column, kept)) for name, column in self.columns.items()}))


def market_columns(states: Sequence[MarketState]) -> MarketColumns:
    """The same states as columns."""
    if isinstance(states, MarketColumns):
        return states
    return MarketColumns(told_columns({name: [getattr(state, name) for state in states] for name in MARKET_FIELDS}))


def read_columns(columns: dict[str, list[Any]]) -> MarketColumns | tuple[()]:
    """Columns from outside; one that is missing says nothing. Raises KeyError, TypeError, ValueError for what is no state."""
    if not columns:
        return ()
    count = len(columns["symbol"])
    whole = {f.name: columns.get(f.name, [f.default] * count) for f in fields(MarketState)}
    if unknown := columns.keys() - whole.keys():
        raise ValueError(f"market has columns {', '.join(sorted(unknown))}, known are {', '.join(MARKET_FIELDS)}")
    if any(len(column) != count for column in whole.values()):
        raise ValueError(f"market has columns of different lengths: { {name: len(column) for name, column in whole.items()} }")
    "".join(whole["symbol"])  # a TypeError where one is no text
    if count and not all(min(whole[name]) >= 0 and max(whole[name]) < math.inf for name in _PRICES):
        raise ValueError("market holds a price that is not finite or below 0")
    if count and not all(-math.inf < min(whole[name]) and max(whole[name]) < math.inf for name in _TIMES):
        raise ValueError("market holds a time that is not finite")
    return MarketColumns(told_columns(whole))


def told_columns(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns without the one that says nothing."""
    if not any(columns.get("resumed_ns", ())):
        columns.pop("resumed_ns", None)
    return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastBatch:
    """All forecasts of one sector and model version at one bar. Empty when no pair advanced: still a watermark.

    Of the pairs of one of its shards, where the sector has several: then all of them make the bar (flow/barrier.py).

    market: in order of symbol; a symbol that is not named is as an earlier batch told it. A batch of a bar names every symbol of the pairs
    of which something is known, whether or not its pair has a forecast; one that closes no bar those whose halt or price band has turned.
    """

    sector: SectorId
    model: ModelRef
    source: Source
    replay_id: str
    bar_close_ns: int
    lockstep: bool
    end_of_stream: bool
    forecasts: tuple[Forecast, ...]
    market: Sequence[MarketState] = ()
    shard: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.shard < self.shards:
            raise ValueError(f"shard {self.shard} of {self.shards}: must be 0 to one below their number")
