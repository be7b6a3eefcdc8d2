"""The parts of config/risk.yaml with the range of each number. Outside data only: risk.py makes records of it. No behaviour."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from tandem.domain.trading import TradingMode
from tandem.flow.session_end import Policy


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sizing(_Part):
    """How large a pair is."""

    volatility_target_daily: float = Field(gt=0, le=1)
    scale_max: float = Field(gt=0, le=10)
    hedge_error_max: Decimal = Field(ge=0, le=1)
    kelly_fraction: float = Field(default=0.25, gt=0, le=0.25)
    confidence_full: float = Field(default=0.65, gt=0, le=1)


class Caps(_Part):
    """What all pairs together may hold, in multiples of equity."""

    pairs_open_max: int = Field(ge=1)
    gross_exposure_max: Decimal = Field(gt=0, le=4)
    symbol_exposure_max: Decimal = Field(gt=0, le=4)
    net_exposure_max: Decimal = Field(default=Decimal("0.5"), gt=0, le=4)
    beta_exposure_max: Decimal = Field(default=Decimal("0.5"), gt=0, le=4)
    sector_exposure_max: Decimal = Field(default=Decimal(1), gt=0, le=4)
    short_equity_usd_min: Decimal = Field(ge=0)


class Pretrade(_Part):
    """What is checked before orders leave."""

    open_wait_s: float = Field(default=0.0, ge=0, le=23_400)
    close_cutoff_s: float = Field(default=900.0, ge=0, le=23_400)
    resume_wait_s: float = Field(default=300.0, ge=0, le=23_400)
    price_age_s_max: float = Field(default=900.0, gt=0)
    quote_age_s_max: float = Field(default=120.0, gt=0)
    spread_bps_max: float = Field(default=50.0, gt=0, le=10_000)
    price_off_share_max: float = Field(default=0.05, gt=0, le=1)
    band_margin_share: float = Field(default=0.001, ge=0, le=0.1)
    notional_usd_min: Decimal = Field(default=Decimal(1), ge=0)
    notional_usd_max: Decimal = Field(default=Decimal(1_000_000), gt=0)
    adv_share_max: float = Field(default=0.01, gt=0, le=1)
    leverage: Decimal = Field(default=Decimal(2), ge=1, le=4)
    short_reserve: Decimal = Field(default=Decimal("1.03"), ge=1, le=2)
    buying_power_margin: Decimal = Field(default=Decimal("0.01"), ge=0, le=1)
    easy_to_borrow_only: bool = True
    requests_reserve: int = Field(default=50, ge=0, le=10_000)
    ex_days_before: int = Field(default=1, ge=0, le=10)
    ex_days_after: int = Field(default=1, ge=0, le=10)


class Breakers(_Part):
    """What stops opening by itself."""

    daily_loss_max: Decimal = Field(default=Decimal("0.02"), gt=0, le=1)
    rejects_window: int = Field(default=20, ge=1, le=1_000)
    rejects_max: int = Field(default=10, ge=1, le=1_000)
    rejects_pause_s: float = Field(default=3_600.0, gt=0)
    stale_s_max: float = Field(default=900.0, gt=0)


class RungPart(_Part):
    """One rung of the drawdown ladder."""

    drawdown: Decimal = Field(gt=0, lt=1)
    size: Decimal = Field(default=Decimal(1), ge=0, le=1)
    mode: TradingMode | None = None


class Drawdown(_Part):
    """The drawdown ladder."""

    rungs: tuple[RungPart, ...] = Field(max_length=10)
    recovered: Decimal = Field(default=Decimal("0.5"), ge=0, le=1)


class Stops(_Part):
    """Stops and the rest after them."""

    widening_max: float = Field(default=1.25, ge=1, lt=2)
    rest_half_lives: float = Field(default=1.0, ge=0, le=100)


class SessionEndPart(_Part):
    """What becomes of held pairs at a session's end."""

    policy: Policy = Policy.KEEP
    margin_minutes: float = Field(default=30.0, gt=0, le=390)


class Drift(_Part):
    """The drift monitor."""

    window_half_lives: float = Field(default=2.0, gt=0, le=100)
    bars_min: int = Field(default=30, ge=2, le=10_000)
    t_max: float = Field(default=3.0, gt=0)
    t_recovered: float = Field(default=1.0, ge=0)


class Execution(_Part):
    """How long the portfolio waits, and how often it tries."""

    leg_wait_bars_max: int = Field(ge=1)
    leg_wait_s_max: float = Field(gt=0)
    unwind_attempts_max: int = Field(ge=1, le=99)
    completions_max: int = Field(default=1, ge=0, le=99)
    retry_s: float = Field(default=5.0, gt=0)
    keep_share_min: float = Field(default=0.25, ge=0, le=1)
    signal_age_s_max: float = Field(gt=0)


class RiskFile(_Part):
    """The whole file. A part that is left out has the values of the shipped file."""

    sizing: Sizing
    limits: Caps
    pretrade: Pretrade = Field(default_factory=Pretrade)
    breakers: Breakers = Field(default_factory=Breakers)
    drawdown: Drawdown | None = None
    stops: Stops = Field(default_factory=Stops)
    drift: Drift = Field(default_factory=Drift)
    session_end: SessionEndPart = Field(default_factory=SessionEndPart)
    execution: Execution
