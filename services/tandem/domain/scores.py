"""A forecast of one pair at one bar and, once the pair's next bar is known, how it turned out."""

from dataclasses import dataclass

from tandem.domain.forecasts import Forecast, ModelRef
from tandem.domain.ids import SectorId
from tandem.domain.market import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What followed. realised: squared innovation of the spread over the next bar; losses: QLIKE of quant/scores.py, lower is better."""

    next_close_ns: int
    realised: float
    qlike: float
    garch_qlike: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredForecast:
    """One row of forecast_scores. outcome is None until the pair's next bar has closed."""

    sector: SectorId
    model: ModelRef
    source: Source
    replay_id: str
    bar_close_ns: int
    forecast: Forecast
    outcome: Outcome | None
