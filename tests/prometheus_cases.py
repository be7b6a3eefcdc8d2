"""For each alert: series under which it fires, and series of the same names under which it is silent.

Values in promtool's notation, a sample each 30 s: `0+1x40` counts up by one, `5x40` stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Series = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is told and at which time is looked. absent: the alert's own answer to no series at all."""

    firing: Series
    silent: Series
    at: str = "20m"
    every: str = "30s"  # between samples, and between evaluations
    absent_fires: bool = False


_OPEN, _CLOSED = {"tandem_ingestor_session_open": "1x400"}, {"tandem_ingestor_session_open": "0x400"}
_STILL, _UP = "3x400", "0+1x400"


def _stays(series: str, firing: str = "1", silent: str = "0") -> Case:
    """A gauge that stays."""
    return Case(firing={series: f"{firing}x400"}, silent={series: f"{silent}x400"})


def _counts(*series: str) -> Case:
    """Counters that go up, or stay at what they were."""
    return Case(firing={series[-1]: _UP}, silent=dict.fromkeys(series, _STILL))


def _latency(name: str, le: str) -> dict[str, Case]:
    """All observations above the bound, or all within it; enough for the short and for the long windows."""
    bucket, count = f'tandem_{name}_bucket{{le="{le}",sector="s"}}', f'tandem_{name}_count{{sector="s"}}'
    case = Case(firing=_OPEN | {bucket: "0x400", count: _UP}, silent=_OPEN | {bucket: _UP, count: _UP}, at="3h")
    return {"BurnsFast": case, "BurnsSlowly": case}


def _prefixed(name: str, cases: Mapping[str, Case]) -> dict[str, Case]:
    return {f"{name}{suffix}": case for suffix, case in cases.items()}


def _slippage(below: str) -> Series:
    """Many executions, all within the bucket of this bound."""
    bounds = ("5", "10", "20", "+Inf")
    buckets = {f'tandem_portfolio_slippage_bps_bucket{{sector="s",le="{le}"}}': _UP for le in bounds[bounds.index(below) :]}
    empty = {f'tandem_portfolio_slippage_bps_bucket{{sector="s",le="{le}"}}': "0x400" for le in bounds[: bounds.index(below)]}
    return buckets | empty | {'tandem_portfolio_slippage_bps_count{sector="s"}': _UP}


_MARKET_DATA = Case(firing=_OPEN | {"tandem_ingestor_connected": "0x400"}, silent=_CLOSED | {"tandem_ingestor_connected": "0x400"}, at="3h")
_COMPLETENESS = Case(
    firing=_OPEN | {"tandem_ingestor_missed_ticks_total": _UP, 'tandem_ingestor_ticks_total{sector="s"}': "0+10x400"},
    silent=_OPEN | {"tandem_ingestor_missed_ticks_total": _STILL, 'tandem_ingestor_ticks_total{sector="s"}': "0+10x400"},
    at="3h",
)

_NAN = "NaN "  # cannot be repeated by x
SHADOW = 'tandem_operator_rollout_step{sector="s",step="Shadow"}'


def gate(sessions: str, p_values: str = "0.4x400", *, step: str = "1") -> Series:
    """A gate without a verdict."""
    return {
        'tandem_operator_gate_sessions{sector="s"}': f"{sessions}x400",
        'tandem_operator_gate_p_value{sector="s"}': p_values,
        'tandem_operator_gate_verdict{sector="s",verdict="Inconclusive"}': "1x400",
        SHADOW: f"{step}x400",
    }


CASES: Mapping[str, Case] = {
    "TandemMarketDataBurnsFast": _MARKET_DATA,
    "TandemMarketDataBurnsSlowly": _MARKET_DATA,
    "TandemCompletenessBurnsFast": _COMPLETENESS,
    "TandemCompletenessBurnsSlowly": _COMPLETENESS,
    **_prefixed("TandemForecasts", _latency("tick_to_forecast_seconds", "0.1")),
    **_prefixed("TandemOrders", _latency("forecast_to_order_seconds", "1.0")),
    "TandemWatchdog": Case(firing={}, silent={}, absent_fires=True),
    "TandemNothingScraped": Case(firing={}, silent={'tandem_build_info{service="ingestor"}': "1x400"}, absent_fires=True),
    "TandemServiceNotReady": Case(
        firing={'tandem_service_ready{service="portfolio",instance="a"}': "0x400", 'tandem_portfolio_active{instance="a"}': "1x400"},
        silent={'tandem_service_ready{service="portfolio",instance="a"}': "0x400", 'tandem_portfolio_active{instance="a"}': "0x400"},
    ),
    "TandemServiceGone": Case(
        firing={'tandem_build_info{service="recorder"}': "1x10 _x400"}, silent={'tandem_build_info{service="recorder"}': "1x400"}
    ),
    "TandemMarketDataDisconnected": _stays("tandem_ingestor_connected", "0", "1"),
    "TandemMarketDataRefused": _counts('tandem_ingestor_stream_errors_total{code="406"}'),
    "TandemMarketDataSilent": Case(
        firing=_OPEN | {'tandem_ingestor_last_frame_seconds{sector="s"}': "60x400"},
        silent=_CLOSED | {'tandem_ingestor_last_frame_seconds{sector="s"}': "60x400"},
    ),
    "TandemSymbolsStale": Case(
        firing=_OPEN | {'tandem_ingestor_stale_symbols{sector="s"}': "2x400"},
        silent=_CLOSED | {'tandem_ingestor_stale_symbols{sector="s"}': "2x400"},
    ),
    "TandemMarketDataIncomplete": _counts("tandem_ingestor_missed_ticks_total", "tandem_ingestor_holes_left_total"),
    "TandemHistoryAway": _counts("tandem_ingestor_history_failures_total"),
    # A reason that was never seen before, beside the one that is there at 0 from the start.
    "TandemRecordsParked": Case(
        firing={'tandem_ingestor_parked_total{reason="known"}': "0x400", 'tandem_ingestor_parked_total{reason="new"}': "_x30 1x400"},
        silent={
            'tandem_ingestor_parked_total{reason="known"}': _STILL,
            'tandem_recorder_parked_total{reason="known"}': _STILL,
            'tandem_forecaster_parked_total{sector="s",version="1"}': _STILL,
        },
    ),
    # The first trade of a sector with such a code, beside one whose other reasons go up.
    "TandemSaleConditionUnknown": Case(
        firing={'tandem_ingestor_unpriced_trades_total{sector="s",reason="unknown_code"}': "_x100 1x400"},
        silent={
            'tandem_ingestor_unpriced_trades_total{sector="s",reason="unknown_code"}': _STILL,
            'tandem_ingestor_unpriced_trades_total{sector="s",reason="odd_lot"}': _UP,
        },
        at="80m",
    ),
    "TandemReplayWaits": _stays('tandem_recycler_participant_late{participant="portfolio"}'),
    "TandemForecasterBehind": _stays('tandem_forecaster_lag_seconds{sector="s",version="1"}', "11", "9"),
    "TandemForecasterFarBehind": _stays('tandem_forecaster_lag_records{sector="s",version="1"}', "101", "99"),
    "TandemForecastsWithheld": _counts('tandem_forecaster_forecasts_withheld_total{sector="s",version="1"}'),
    "TandemRecorderBehind": Case(
        firing={'tandem_recorder_lag_records{topic="t"}': "1001x400"},
        silent={'tandem_recorder_lag_records{topic="t"}': "999x400"},
        at="40m",
    ),
    "TandemPortfolioBehind": _stays("tandem_portfolio_lag_seconds", "6", "4"),
    "TandemNobodyTrades": Case(
        firing={'tandem_portfolio_active{instance="a"}': "0x400", 'tandem_portfolio_active{instance="b"}': "0x400"},
        silent={'tandem_portfolio_active{instance="a"}': "0x400", 'tandem_portfolio_active{instance="b"}': "1x400"},
    ),
    "TandemLegsUnhedged": _stays("tandem_portfolio_hedge_error_usd", "101", "99"),
    "TandemPairQuarantined": _stays("tandem_portfolio_quarantined_pairs"),
    "TandemOrdersRejected": Case(
        firing={'tandem_portfolio_orders_total{status="rejected"}': _UP, 'tandem_portfolio_orders_total{status="filled"}': _UP},
        silent={'tandem_portfolio_orders_total{status="rejected"}': _STILL, 'tandem_portfolio_orders_total{status="filled"}': _UP},
    ),
    "TandemSlippageHigh": Case(firing=_slippage(below="20"), silent=_slippage(below="10")),
    "TandemBreakerTripped": _stays('tandem_portfolio_breaker_tripped{breaker="drawdown"}'),
    "TandemTradingHalted": Case(
        firing={'tandem_portfolio_trading_mode{mode="halted"}': "1x400"}, silent={'tandem_portfolio_trading_mode{mode="reducing"}': "1x400"}
    ),
    "TandemLedgerDiffersFromBroker": _counts("tandem_portfolio_reconcile_mismatches_total"),
    "TandemComparisonStale": Case(
        firing=_OPEN | {"tandem_portfolio_last_comparison_seconds": "10x400"},
        silent=_OPEN | {"tandem_portfolio_last_comparison_seconds": "0x400"},
    ),
    "TandemExecutionsHealed": _counts("tandem_portfolio_fills_healed_total"),
    "TandemTransitionRefused": _counts("tandem_portfolio_transitions_refused_total"),
    "TandemWritesFenced": _counts("tandem_portfolio_fenced_total"),
    "TandemOperatorMissing": Case(
        firing={'tandem_operator_leader{pod="a"}': "1x10 _x400"},
        silent={'tandem_operator_leader{pod="a"}': "1x10 _x400", 'tandem_operator_leader{pod="b"}': "0x10 1x400"},
    ),
    "TandemDependencyAway": _stays('tandem_operator_dependency_up{dependency="kafka"}', "0", "1"),
    "TandemObjectsNotReady": _stays('tandem_operator_not_ready{kind="TradingPair"}'),
    "TandemReconcilesFail": Case(
        firing={'tandem_operator_reconciles_total{kind="TradingPair",result="crashed"}': "0+1x100"},
        silent={'tandem_operator_reconciles_total{kind="TradingPair",result="transient"}': "0+1x100"},
        at="40m",
    ),
    "TandemRolledBack": _counts('tandem_operator_events_total{reason="RolledBack"}'),
    "TandemModelStale": Case(
        firing={'tandem_operator_alias_behind{sector="s"}': "0 1x200", SHADOW: "0x200"},
        silent={'tandem_operator_alias_behind{sector="s"}': "1x200", SHADOW: "1x200"},
        at="26h",
        every="10m",
    ),
    "TandemGateInconclusive": Case(
        firing=gate(sessions="21"),
        silent=gate(sessions="20"),
    ),
    # Refused for it a quarter of an hour ago.
    "TandemShadowDiverges": Case(
        firing={'tandem_operator_shadow_divergence{sector="s"}': f"{_NAN * 10}0.06x400", SHADOW: "1x10 0x400"},
        silent={'tandem_operator_shadow_divergence{sector="s"}': "0.01x400", SHADOW: "1x400"},
    ),
    "TandemRolloutSlow": Case(
        firing={'tandem_operator_rollout_step_since_seconds{sector="s"}': "10x150"},
        silent={'tandem_operator_rollout_step_since_seconds{sector="s"}': "0x150"},
        at="6d",
        every="1h",
    ),
}
