"""Alerts on causes: what went wrong, where the service levels say that something does. Most only make a ticket.

An absent series is silent: a service that is not installed. That nothing at all is scraped has an alert of its own.
"""

from tandem.cli.rules.alert import Alert
from tandem.cli.rules.levels import IN_SESSION


def _of_account(counter: str, window: str, *labels: str) -> str:
    """By how much a portfolio's counter rose, in each account; labels: by these, too."""
    by = ", ".join(("namespace", "tandem_trading_account", *labels))
    return f"sum by ({by}) (increase(tandem_{counter}[{window}]))"


def _of_sector(series: str) -> str:
    """The leading operator's word on each sector, whatever its pod is called; a quarter of an hour without one is an operator's restart."""
    return f"max by (namespace, sector) (last_over_time(tandem_{series}[15m]))"


_UNKNOWN_SALES = 'tandem_ingestor_unpriced_trades_total{reason="unknown_code"}'
_INCONCLUSIVE, _IN_SHADOW = 'operator_gate_verdict{verdict="Inconclusive"}', 'operator_rollout_step{step="Shadow"}'
_REJECTED = _of_account('portfolio_orders_total{status="rejected"}', "15m")
ALERTS = (
    Alert(
        name="TandemWatchdog",
        expr="vector(1)",
        severity="none",
        page="platform",
        summary="Alerts reach you",
        description="It always fires. Let something outside tell you when it stops: then Prometheus or Alertmanager is down.",
    ),
    Alert(
        name="TandemNothingScraped",
        # A namespace that nothing was ever scraped from is not known; one that fell silent is, for an hour.
        expr="absent(tandem_build_info) "
        "or (group by (namespace) (max_over_time(tandem_build_info[1h])) unless group by (namespace) (tandem_build_info))",
        for_="5m",
        severity="critical",
        page="platform",
        summary="Prometheus has no series of Tandem{{ with $labels.namespace }} in {{ . }}{{ end }}",
        description="Every other alert is blind. The targets' page of Prometheus says why.",
    ),
    Alert(
        name="TandemServiceNotReady",
        expr='tandem_service_ready{service!="portfolio"} == 0 or '
        '(tandem_service_ready{service="portfolio"} == 0 and on (namespace, instance) tandem_portfolio_active == 1)',
        for_="5m",
        severity="warning",
        page="platform",
        summary="The {{ $labels.service }} at {{ $labels.instance }} is not ready",
        description="Its /readyz says why. A portfolio that stands by is not meant.",
    ),
    Alert(
        name="TandemServiceGone",
        expr="max by (namespace, service) (max_over_time(tandem_build_info[1h])) unless max by (namespace, service) (tandem_build_info)",
        for_="5m",
        severity="critical",
        page="platform",
        summary="No {{ $labels.service }} is scraped any more",
        description="There was one within the last hour. Silent again an hour after it was taken away on purpose.",
    ),
    # --- market data
    Alert(
        name="TandemMarketDataDisconnected",
        expr="tandem_ingestor_connected == 0",
        for_="2m",
        severity="critical",
        page="market-data",
        summary="The ingestor at {{ $labels.instance }} receives no market data",
        description="Without pairs there is nothing to receive; otherwise /readyz says what is wrong.",
    ),
    Alert(
        name="TandemMarketDataRefused",
        expr="increase(tandem_ingestor_stream_errors_total[5m]) > 0",
        severity="critical",
        page="market-data",
        summary="Alpaca answers the ingestor at {{ $labels.instance }} with error {{ $labels.code }}",
        description="405 too many symbols, 406 another connection of the account, 407 too slow, 409 not subscribed.",
    ),
    Alert(
        name="TandemMarketDataSilent",
        expr=f"(time() - max by (namespace) (tandem_ingestor_last_frame_seconds) > 120) {IN_SESSION}",
        for_="1m",
        severity="critical",
        page="market-data",
        summary="No tick for {{ $value | humanizeDuration }} while the exchange is open",
        description="A paused replay looks the same.",
    ),
    Alert(
        name="TandemSymbolsStale",
        expr=f"tandem_ingestor_stale_symbols > 0 {IN_SESSION}",
        for_="10m",
        severity="warning",
        page="market-data",
        summary="{{ $value }} symbols of {{ $labels.sector }} have not traded for long",
        description="Halted, hardly traded, or not subscribed; the ingestor's log names them.",
    ),
    Alert(
        name="TandemMarketDataIncomplete",
        expr="increase(tandem_ingestor_missed_ticks_total[15m]) > 0 or increase(tandem_ingestor_holes_left_total[15m]) > 0",
        severity="critical",
        page="market-data",
        summary="Trades were missing at {{ $labels.instance }} while the stream looked healthy, or a hole was too long to fill",
        description="What history had was published late; bars that had closed do not hold it.",
    ),
    Alert(
        name="TandemHistoryAway",
        expr="increase(tandem_ingestor_history_failures_total[5m]) > 3",
        severity="warning",
        page="market-data",
        summary="History does not answer the ingestor at {{ $labels.instance }}",
        description="While a hole is open no heartbeat goes out, so that no bar closes and nothing is decided.",
    ),
    Alert(
        name="TandemRecordsParked",
        # Added up first: a reason's first record is a rise of the sum, while its own series begins with it.
        expr="increase(sum without (reason) (tandem_ingestor_parked_total)[15m:30s]) > 0 "
        "or increase(sum without (reason) (tandem_recorder_parked_total)[15m:30s]) > 0 "
        "or increase(tandem_forecaster_parked_total[15m]) > 0",
        severity="warning",
        page="market-data",
        summary="Records were parked in the dead letter topic by {{ $labels.instance }}",
        description="Each lies there with the reason why it could not be used: `tandem deadletter list`.",
    ),
    Alert(
        name="TandemSaleConditionUnknown",
        # The first such trade of a sector makes the series: there was nothing before that it could rise from.
        expr=f"increase({_UNKNOWN_SALES}[1h]) > 0 or ({_UNKNOWN_SALES} unless {_UNKNOWN_SALES} offset 1h)",
        severity="warning",
        page="market-data",
        summary="Trades of {{ $labels.sector }} carry sale conditions that the tables do not have",
        description="They set no price until somebody says what the code means; their shares count.",
    ),
    Alert(
        name="TandemReplayWaits",
        expr="tandem_recycler_participant_late == 1",
        for_="2m",
        severity="warning",
        page="market-data",
        summary="The replay waits for {{ $labels.participant }}",
        description="In lockstep the market stands still until every participant has acknowledged the bar.",
    ),
    # --- forecasts
    Alert(
        name="TandemForecasterBehind",
        expr="min_over_time(tandem_forecaster_lag_seconds[2m]) > 10",
        for_="1m",
        severity="warning",
        page="forecasts",
        summary="Version {{ $labels.version }} of {{ $labels.sector }} is {{ $value | humanizeDuration }} behind",
        description="It reads more slowly than ticks arrive, or it is stuck. While it rebuilds its state after a start this is normal.",
    ),
    Alert(
        name="TandemForecasterFarBehind",
        expr="min_over_time(tandem_forecaster_lag_records[5m]) > 100",
        for_="5m",
        severity="warning",
        page="forecasts",
        summary="Version {{ $labels.version }} of {{ $labels.sector }} is {{ $value }} records behind",
        description="It decodes and forecasts more slowly than ticks arrive.",
    ),
    Alert(
        name="TandemForecastsWithheld",
        expr="increase(tandem_forecaster_forecasts_withheld_total[15m]) > 0",
        severity="warning",
        page="forecasts",
        summary="Version {{ $labels.version }} of {{ $labels.sector }} makes forecasts that are no numbers",
        description="They are not published: nobody acts on them, and the pair stands still. /state tells how many.",
    ),
    Alert(
        name="TandemRecorderBehind",
        expr="min_over_time(tandem_recorder_lag_records[10m]) > 1000",
        for_="10m",
        severity="warning",
        page="forecasts",
        summary="The recorder has {{ $value }} records of {{ $labels.topic }} without effect in Postgres",
        description="Bars and scores are late, and with them every gate of a rollout.",
    ),
    # --- orders
    Alert(
        name="TandemPortfolioBehind",
        expr="min_over_time(tandem_portfolio_lag_seconds[2m]) > 5",
        severity="critical",
        page="orders",
        summary="The portfolio at {{ $labels.instance }} reads forecasts {{ $value | humanizeDuration }} late",
        description="It decides on old forecasts, or on none.",
    ),
    Alert(
        name="TandemNobodyTrades",
        expr="max by (namespace, tandem_trading_account) (tandem_portfolio_active) == 0",
        for_="2m",
        severity="critical",
        page="orders",
        summary="No portfolio may write for its account",
        description="Nothing is opened, closed or hedged. /readyz of each says why.",
    ),
    Alert(
        name="TandemLegsUnhedged",
        expr="min_over_time(tandem_portfolio_hedge_error_usd[2m]) > 100",
        severity="critical",
        page="orders",
        summary="Legs for {{ $value }} USD have no counterpart at {{ $labels.instance }}",
        description="For two minutes or longer, at the last marks. Pairs in OPENING or UNWINDING say which.",
    ),
    Alert(
        name="TandemPairQuarantined",
        expr="tandem_portfolio_quarantined_pairs > 0",
        severity="critical",
        page="orders",
        summary="{{ $value }} pairs wait for a person",
        description="They are not traded until they are released.",
    ),
    Alert(
        name="TandemOrdersRejected",
        expr=f"{_REJECTED} / {_of_account('portfolio_orders_total', '15m')} > 0.1 and {_of_account('portfolio_orders_total', '15m')} >= 5",
        severity="critical",
        page="orders",
        summary="{{ $value | humanizePercentage }} of the orders were rejected",
        description="The orders' rows have the broker's words.",
    ),
    Alert(
        name="TandemSlippageHigh",
        # The median: Prometheus' client tells no sum where observations may be below 0.
        expr=f"histogram_quantile(0.5, {_of_account('portfolio_slippage_bps_bucket', '1h', 'le')}) > 10 "
        f"and {_of_account('portfolio_slippage_bps_count', '1h')} >= 20",
        severity="warning",
        page="orders",
        summary="Half of the executions were {{ $value }} basis points or more worse than their decisions' prices",
        description="Of an hour with 20 executions or more.",
    ),
    Alert(
        name="TandemBreakerTripped",
        expr="tandem_portfolio_breaker_tripped == 1",
        severity="critical",
        page="orders",
        summary="The breaker {{ $labels.breaker }} stands at {{ $labels.instance }}",
        description="/v1/risk says since when and why; a person resets it.",
    ),
    Alert(
        name="TandemTradingHalted",
        expr='tandem_portfolio_trading_mode{mode=~"halted|flattening"} == 1',
        severity="warning",
        page="orders",
        summary="The account at {{ $labels.instance }} is {{ $labels.mode }}",
        description="By the kill switch or by a breaker. Open pairs are not closed by signals while it is halted.",
    ),
    # --- the ledger
    Alert(
        name="TandemLedgerDiffersFromBroker",
        expr="increase(tandem_portfolio_reconcile_mismatches_total[15m]) > 0",
        severity="critical",
        page="ledger",
        summary="The ledger of {{ $labels.instance }} differs from the broker's account",
        description="The portfolio does not trade until they agree. /v1/reconciliation says in what they differ.",
    ),
    Alert(
        name="TandemComparisonStale",
        expr=f"(time() - (tandem_portfolio_last_comparison_seconds > 0) > 900) {IN_SESSION}",
        severity="warning",
        page="ledger",
        summary="Ledger and broker were compared {{ $value | humanizeDuration }} ago",
        description="The broker does not answer, or decisions stand still.",
    ),
    Alert(
        name="TandemExecutionsHealed",
        expr="increase(tandem_portfolio_fills_healed_total[15m]) > 0",
        severity="warning",
        page="ledger",
        summary="Executions at {{ $labels.instance }} were found by asking, the stream had not told them",
        description="They are booked now. Often: the trade-updates stream loses connections.",
    ),
    Alert(
        name="TandemTransitionRefused",
        expr="increase(tandem_portfolio_transitions_refused_total[15m]) > 0",
        severity="warning",
        page="ledger",
        summary="The broker told something of an order that its table does not allow",
        description="The pair's events and the portfolio's log say what.",
    ),
    Alert(
        name="TandemWritesFenced",
        expr="increase(tandem_portfolio_fenced_total[15m]) > 0",
        severity="warning",
        page="ledger",
        summary="{{ $labels.instance }} tried to write for an account that another portfolio has taken over",
        description="The ledger refused it, nothing was written. It lost its lease without noticing: a pause, or a network that was cut.",
    ),
    # --- the operator
    Alert(
        name="TandemOperatorMissing",
        expr="max by (namespace) (max_over_time(tandem_operator_leader[1d])) == 1 unless max by (namespace) (tandem_operator_leader) == 1",
        for_="5m",
        severity="warning",
        page="operator",
        summary="No operator holds the Lease",
        description="Trading goes on; nothing is rolled out, rolled back or repaired, and deleted pairs wait.",
    ),
    Alert(
        name="TandemDependencyAway",
        expr="tandem_operator_dependency_up == 0",
        for_="5m",
        severity="warning",
        page="operator",
        summary="The operator does not reach {{ $labels.dependency }}",
        description="Trading goes on with the stable version; rollouts wait.",
    ),
    Alert(
        name="TandemObjectsNotReady",
        expr="tandem_operator_not_ready > 0",
        for_="10m",
        severity="warning",
        page="operator",
        summary="{{ $value }} objects of kind {{ $labels.kind }} are not ready",
        description="kubectl get tandem shows them, the condition Ready says why.",
    ),
    Alert(
        name="TandemReconcilesFail",
        expr='sum without (result) (rate(tandem_operator_reconciles_total{result=~"permanent|crashed|broken"}[10m])) > 0',
        for_="10m",
        severity="warning",
        page="operator",
        summary="Looks at {{ $labels.kind }} end in errors",
        description="The objects' conditions and the operator's log say which.",
    ),
    Alert(
        name="TandemRolledBack",
        expr='increase(tandem_operator_events_total{reason="RolledBack"}[15m]) > 0',
        severity="warning",
        page="operator",
        summary="A model version was rolled back",
        description="kubectl get mro tells which, and what the gates saw.",
    ),
    Alert(
        name="TandemModelStale",
        expr=f"{_of_sector('operator_alias_behind')} == 1 unless {_of_sector('operator_rollout_step')} == 1",
        for_="1d",
        severity="warning",
        page="operator",
        summary="The alias of {{ $labels.sector }} names another version than the one that is acted on, and nothing changes that",
        description="No rollout runs: the version was refused, cannot be used, or the sector is suspended. Its SectorModel says which.",
    ),
    Alert(
        name="TandemGateInconclusive",
        # A p-value is there from the bar on at which a verdict is possible.
        expr=f"({_of_sector('operator_gate_sessions')} > 20 and {_of_sector('operator_gate_p_value')} >= 0 "
        f"and {_of_sector(_INCONCLUSIVE)} == 1 and {_of_sector(_IN_SHADOW)} == 1) "
        'or sum by (namespace) (increase(tandem_operator_rollouts_total{outcome="Inconclusive"}[1d])) > 0',
        for_="15m",
        severity="warning",
        page="operator",
        summary="The gate{{ with $labels.sector }} of {{ . }}{{ end }} comes to no verdict",
        description="For more than 20 sessions in which one was possible, or until its bars were used up. The stable version goes on.",
    ),
    Alert(
        name="TandemShadowDiverges",
        # An hour beyond the end: what has diverged is refused at once, and would be told by no scrape.
        expr=f"{_of_sector('operator_shadow_divergence')} > 0.01 "
        "and max by (namespace, sector) (max_over_time(tandem_operator_rollout_step[1h])) == 1",
        severity="warning",
        page="operator",
        summary="{{ $value | humanizePercentage }} of the candidate's variances in {{ $labels.sector }} are far from the stable version's",
        description="Beyond what its policy allows, 5 % by default, the candidate is refused. Often it was trained on other data.",
    ),
    Alert(
        name="TandemRolloutSlow",
        expr="time() - (tandem_operator_rollout_step_since_seconds > 0) > 5 * 86400",
        severity="warning",
        page="operator",
        summary="The rollout of {{ $labels.sector }} is in one step for {{ $value | humanizeDuration }}",
        description="Its gate has not come to a verdict, or the step waits for something: the ModelRollout's status says which.",
    ),
)
