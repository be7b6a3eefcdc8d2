"""Ready-made records for tests of trading: a pair, its forecast and batches of forecasts."""

from dataclasses import replace
from decimal import Decimal

from tandem.domain.control import PairSpec
from tandem.domain.forecasts import Forecast, ForecastBatch, ModelRef
from tandem.domain.ids import PairId, SectorId, Symbol
from tandem.domain.market import Source
from tandem.domain.trading import Action
from tandem.flow.journal import Intent

KO, PEP = Symbol("KO"), Symbol("PEP")
CONSUMER = SectorId("consumer")
PAIR = PairId("KO-PEP")
MODEL = ModelRef(name="pairs_trading_gru_garch_consumer_v1", version="1", digest="d1")
INTENT = Intent(
    intent_id="i1",
    run="r1",
    pair=PAIR,
    sector=CONSUMER,
    action=Action.OPEN_LONG,
    reason="entry_long",
    bar_close_ns=1000,
    trade_id="i1",
    model=MODEL,
)
SPEC = PairSpec(
    pair=PAIR,
    sector=CONSUMER,
    leg_a=KO,
    leg_b=PEP,
    entry_z=2.0,
    exit_z=0.5,
    stop_z=4.0,
    probability_min=0.6,
    notional_usd=Decimal(18_000),
    hold_half_lives_max=3.0,
)


def forecast(**changes: object) -> Forecast:
    """An entry signal for KO-PEP: z -2.5, daily volatility 1 %, KO at 50, PEP at 100, beta 0.8."""
    base = Forecast(
        pair=PAIR,
        leg_a=KO,
        leg_b=PEP,
        price_a=50.0,
        price_b=100.0,
        beta=0.8,
        mu=0.1,
        spread=-0.03,
        expected_spread=-0.025,
        z=-2.5,
        variance=1e-4,
        garch_variance=1e-4,
        reversion_probability=0.7,
        half_life_bars=10.0,
        bar_index=105,
    )
    return replace(base, **changes)


def batch(bar_close_ns: int, *forecasts: Forecast, **changes: object) -> ForecastBatch:
    """A batch of the sector consumer in a lockstep replay."""
    base = ForecastBatch(
        sector=CONSUMER,
        model=MODEL,
        source=Source.RECYCLED,
        replay_id="r1",
        bar_close_ns=bar_close_ns,
        lockstep=True,
        end_of_stream=False,
        forecasts=forecasts,
    )
    return replace(base, **changes)
