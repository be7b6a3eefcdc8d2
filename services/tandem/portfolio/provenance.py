"""Where each forecast came from, kept until its bar is past, and what the intents of a transaction were decided on.

Written by the engine as batches arrive, asked by books.py when it writes intents. Decides nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tandem.adapters import topics
from tandem.domain.forecasts import Forecast, ForecastBatch, MarketColumns, MarketState, ModelRef, market_columns
from tandem.domain.ids import PairId, Symbol, pair_legs
from tandem.flow.decisions import Decision, LogPlace
from tandem.flow.journal import Intent

_RATIO = Decimal("0.000000001")  # so many digits of a hedge ratio; all sums with it are then exact
Latest = Mapping[PairId, tuple[Forecast, ModelRef, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    place: LogPlace
    pairs: frozenset[PairId]
    market: MarketColumns


def place_of(batch: ForecastBatch, *, offset: int, sha256: str, ticks: bytes) -> LogPlace:
    """The place of a batch's record. ticks: the header of the ticks, b"" without one; one that cannot be read counts as none."""
    first, _, last = ticks.partition(b"-")
    told = first.isdigit() and last.isdigit()
    return LogPlace(
        topic=topics.FORECASTS,
        partition=0,
        offset=offset,
        sha256=sha256,
        tick_topic=topics.ticks(batch.sector),
        tick_first=int(first) if told else None,
        tick_last=int(last) if told else None,
    )


class Provenance:
    """The batches that may still be decided on, by bar."""

    def __init__(self) -> None:
        self._bars: dict[int, list[tuple[ModelRef, _Noted]]] = {}

    def note(self, batch: ForecastBatch, place: LogPlace) -> None:
        """Keep where a batch lies. One without forecasts leads to nothing, and is not kept."""
        if batch.forecasts:
            pairs = frozenset(forecast.pair for forecast in batch.forecasts)
            noted = _Noted(place=place, pairs=pairs, market=market_columns(batch.market))
            self._bars.setdefault(batch.bar_close_ns, []).append((batch.model, noted))

    def forget_before(self, bar_close_ns: int) -> None:
        """The bars before this one are decided and written."""
        for old in [close_ns for close_ns in self._bars if close_ns < bar_close_ns]:
            del self._bars[old]

    def of(self, intents: Iterable[Intent], latest: Latest, prices: Mapping[Symbol, float]) -> list[Decision]:
        """What each intent was decided on. latest: the newest forecast of each pair; prices: the last one of each symbol."""
        return [decision for intent in intents if (decision := self._decision(intent, latest, prices)) is not None]

    def _decision(self, intent: Intent, latest: Latest, prices: Mapping[Symbol, float]) -> Decision | None:
        a, b = pair_legs(intent.pair)
        if a not in prices or b not in prices:
            return None  # nothing is known of it after a restart: its profit is then all slippage of nothing, and shown as not attributed
        found = self._noted(intent)
        known = latest.get(intent.pair)
        market = _states(found, (a, b))
        return Decision(
            intent_id=intent.intent_id,
            pair=intent.pair,
            price_a=Decimal(str(prices[a])),
            price_b=Decimal(str(prices[b])),
            half_spread_a=_half_spread(market.get(a)),
            half_spread_b=_half_spread(market.get(b)),
            beta=Decimal(str(known[0].beta)).quantize(_RATIO) if known is not None else Decimal(0),
            place=found.place if found is not None else None,
        )

    def _noted(self, intent: Intent) -> _Noted | None:
        rows = self._bars.get(intent.bar_close_ns, ())
        return next((noted for model, noted in rows if model == intent.model and intent.pair in noted.pairs), None)


def _states(noted: _Noted | None, symbols: Iterable[Symbol]) -> dict[Symbol, MarketState]:
    """What the batch said of these symbols."""
    told = noted.market.columns.get("symbol", []) if noted is not None else []
    return {symbol: noted.market[told.index(symbol)] for symbol in symbols if noted is not None and symbol in told}


def _half_spread(state: MarketState | None) -> Decimal | None:
    """Half of what bid and ask are apart; None without both, or when they are crossed."""
    if state is None or not 0 < state.bid_usd <= state.ask_usd:
        return None
    return (Decimal(str(state.ask_usd)) - Decimal(str(state.bid_usd))) / 2
