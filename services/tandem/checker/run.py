"""The invariants by name, and looking at all of them. Called by cli/verify_run.py and by the chaos runs."""

from collections.abc import Callable

from tandem.checker import agreement_checks, audit_checks, exchange_checks, forecast_checks, ledger_checks, market_checks, pair_checks
from tandem.checker.evidence import Evidence
from tandem.checker.tally import Tally

Check = Callable[[Evidence, Tally], None]

_NEEDS_TICKS, _NEEDS_RECORDING, _NEEDS_FORECASTS = "sectors", "recording", "forecasts"
_NEEDS_LEDGER, _NEEDS_EXCHANGE, _NEEDS_SESSIONS = "ledger", "exchange", "sessions"

# What each group needs to be looked at, and its checks. The name of a check is the name of its invariant, its docstring the claim.
CHECKS: tuple[tuple[tuple[str, ...], tuple[Check, ...]], ...] = (
    ((_NEEDS_TICKS, _NEEDS_RECORDING), (market_checks.ticks_complete, market_checks.ticks_unaltered)),
    (
        (_NEEDS_TICKS,),
        (
            market_checks.ticks_once,
            market_checks.amendments_follow_their_trade,
            market_checks.ticks_before_watermark,
            market_checks.ticks_labelled,
        ),
    ),
    (
        (_NEEDS_TICKS, _NEEDS_FORECASTS),
        (
            forecast_checks.forecasts_readable,
            forecast_checks.forecasts_complete,
            forecast_checks.forecasts_reach_the_end,
            forecast_checks.forecasts_equal_when_repeated,
            forecast_checks.forecasts_name_the_market,
        ),
    ),
    (
        (_NEEDS_LEDGER,),
        (
            ledger_checks.entries_balance,
            ledger_checks.ids_unique,
            ledger_checks.one_decision_per_bar,
            ledger_checks.orders_have_intents,
            ledger_checks.epochs_rise,
            ledger_checks.fills_booked,
            ledger_checks.crosses_cancel_out,
            ledger_checks.orders_count_their_fills,
            ledger_checks.one_live_order_per_leg,
            ledger_checks.one_open_trade_per_pair,
            ledger_checks.pair_states_hold,
            pair_checks.pairs_settled,
            pair_checks.pairs_hedged,
            pair_checks.legs_alone_not_for_long,
        ),
    ),
    ((_NEEDS_LEDGER, _NEEDS_SESSIONS), (pair_checks.opened_in_time, pair_checks.nothing_held_over_night)),
    (
        (_NEEDS_LEDGER, _NEEDS_FORECASTS),
        (audit_checks.audit_chain_whole, audit_checks.audit_tells_everything, audit_checks.decisions_name_their_forecast),
    ),
    (
        (_NEEDS_EXCHANGE,),
        (
            exchange_checks.exchange_log_whole,
            exchange_checks.one_order_per_client_id,
            exchange_checks.executions_distinct,
            exchange_checks.no_order_overfilled,
            exchange_checks.positions_follow_executions,
            exchange_checks.cash_follows_events,
            exchange_checks.no_order_while_halted,
            agreement_checks.fills_follow_orders,
        ),
    ),
    (
        (_NEEDS_LEDGER, _NEEDS_EXCHANGE),
        (
            agreement_checks.no_order_without_intent,
            agreement_checks.orders_agree,
            agreement_checks.executions_agree,
            agreement_checks.positions_agree,
            agreement_checks.cash_agrees,
            agreement_checks.final_orders_agree,
            agreement_checks.foreign_trades_noticed,
            agreement_checks.last_comparison_equal,
            pair_checks.nothing_opened_just_after_a_halt,
        ),
    ),
)


def verify(evidence: Evidence) -> tuple[Tally, ...]:
    """Every invariant with what was looked at. One whose evidence was not given says so, and is neither kept nor broken."""
    tallies = []
    for needs, checks in CHECKS:
        missing = [name for name in needs if getattr(evidence, name) is None]
        for check in checks:
            tally = Tally(name=check.__name__, claim=(check.__doc__ or "").strip())
            if missing:
                tally.not_checked = f"not given: {', '.join(missing)}"
            else:
                check(evidence, tally)
            tallies.append(tally)
    return tuple(tallies)
