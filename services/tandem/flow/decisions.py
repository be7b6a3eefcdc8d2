"""What an intent was decided on: the record of the log that held its forecast, the ticks that went into it, and the prices of the moment.

Written with the intent; the audit chain and the attribution of profit are made of it. Records only; made by portfolio/provenance.py.
"""

from dataclasses import dataclass
from decimal import Decimal

from tandem.domain.ids import PairId


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """The record of a batch of forecasts in its topic, and the records of the tick topic that are new in it."""

    topic: str
    partition: int
    offset: int
    sha256: str  # of the record's value
    tick_topic: str
    tick_first: int | None  # None when the forecaster does not say
    tick_last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The grounds of one intent. place: None when no forecast of this bar led to it, as when a single leg is undone.

    Prices are what the bar closed at; half spreads are of the quotes at the same moment, None where none was known.
    """

    intent_id: str
    pair: PairId
    price_a: Decimal
    price_b: Decimal
    half_spread_a: Decimal | None
    half_spread_b: Decimal | None
    beta: Decimal
    place: LogPlace | None
