"""The dashboard of the whole platform: is every part there, does the market come in, is anything piling up."""

from tandem.cli.dashboards.panels import Dashboard, Panel, Query, Row

_UP = Panel(
    title="Servers that the operator reaches",
    help="Green while it does. Without Kubernetes there is no operator, and nothing to see.",
    unit="bool_yes_no",
    look="states",
    limit=1,
    good="above",
    queries=(Query("min by (dependency) (tandem_operator_dependency_up{$scope})", "{{dependency}}"),),
)

_NOW = (
    Panel(
        title="Market stream",
        help="Whether the ingestor is subscribed to market data.",
        unit="bool_yes_no",
        look="number",
        limit=1,
        good="above",
        width=4,
        height=4,
        queries=(Query("min(tandem_ingestor_connected{$scope})"),),
    ),
    Panel(
        title="Ticks a second",
        help="Trades and quotes that went to Kafka in the last minutes.",
        unit="short",
        look="number",
        width=4,
        height=4,
        queries=(Query("sum(rate(tandem_ingestor_ticks_total{$scope}[5m]))"),),
    ),
    Panel(
        title="Stale symbols",
        help="Symbols without a trade for TANDEM_STALE_S while the exchange is open. Their bars are not made.",
        unit="short",
        look="number",
        limit=1,
        width=4,
        height=4,
        queries=(Query("sum(tandem_ingestor_stale_symbols{$scope})"),),
    ),
    Panel(
        title="Open pairs",
        help="Pairs that are not flat, of all accounts.",
        unit="short",
        look="number",
        width=4,
        height=4,
        queries=(Query("sum(tandem_portfolio_open_pairs{$scope})"),),
    ),
    Panel(
        title="Breakers that stand",
        help="Nothing opens while one does. The portfolio's dashboard says which.",
        unit="short",
        look="number",
        limit=1,
        width=4,
        height=4,
        queries=(Query("sum(tandem_portfolio_breaker_tripped{$scope})"),),
    ),
    Panel(
        title="Objects that are not ready",
        help="TradingPairs, SectorModels, TradingAccounts and ModelRollouts whose condition Ready is not True.",
        unit="short",
        look="number",
        limit=1,
        width=4,
        height=4,
        queries=(Query("sum(tandem_operator_not_ready{$scope})"),),
    ),
)

_PARTS = (
    Panel(
        title="Services that are ready",
        help="As each says itself at the scrape. A portfolio that stands by is not ready, and need not be.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        good="above",
        width=12,
        queries=(Query("min by (service) (tandem_service_ready{$scope})", "{{service}}"),),
    ),
    Panel(
        title="Session of the exchange",
        help="Open or closed: by the clock on a live feed, by the replay's time on a recycled one. Alerts on missing data wait for it.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        good="above",
        width=12,
        queries=(Query("max(tandem_ingestor_session_open{$scope})", "open"),),
    ),
)

_MARKET = (
    Panel(
        title="Ticks",
        help="Written to each sector's topic.",
        unit="cps",
        queries=(Query("sum by (sector) (rate(tandem_ingestor_ticks_total{$scope}[$rate]))", "{{sector}}"),),
    ),
    Panel(
        title="Ticks that came by another way",
        help="Recovered: from history, after a reconnect or a restart. Missed: while the stream looked healthy, which it then was not. "
        "Conflated: quotes that a newer one replaced while the ingestor was behind.",
        unit="short",
        look="bars",
        queries=(
            Query("sum(increase(tandem_ingestor_recovered_ticks_total{$scope}[$rate]))", "recovered"),
            Query("sum(increase(tandem_ingestor_missed_ticks_total{$scope}[$rate]))", "missed"),
            Query("sum(increase(tandem_ingestor_conflated_quotes_total{$scope}[$rate]))", "conflated quotes"),
            Query("sum(increase(tandem_ingestor_duplicates_total{$scope}[$rate]))", "duplicates left out"),
        ),
    ),
    Panel(
        title="Trades that set no price",
        help="By the reason that their sale conditions give. unknown_code: a code that is in no table, somebody must say what it means.",
        unit="short",
        look="bars",
        queries=(Query("sum by (reason) (increase(tandem_ingestor_unpriced_trades_total{$scope}[$rate]))", "{{reason}}"),),
    ),
    Panel(
        title="Trouble with the stream",
        help="Connections lost, error frames by code (405 to 407: the subscription itself), questions to history without an answer, "
        "and holes that are too long to be filled.",
        unit="short",
        look="bars",
        queries=(
            Query("sum(increase(tandem_ingestor_connections_lost_total{$scope}[$rate]))", "connections lost"),
            Query("sum by (code) (increase(tandem_ingestor_stream_errors_total{$scope}[$rate]))", "error {{code}}"),
            Query("sum(increase(tandem_ingestor_history_failures_total{$scope}[$rate]))", "history did not answer"),
            Query("sum(increase(tandem_ingestor_holes_left_total{$scope}[$rate]))", "holes left"),
        ),
    ),
)

_PILES = (
    Panel(
        title="Records not yet read",
        help="By forecasters of their sector's ticks, by the recorder and the portfolio. What only grows is stuck.",
        unit="short",
        queries=(
            Query("max by (sector, version) (tandem_forecaster_lag_records{$scope})", "forecaster {{sector}} v{{version}}"),
            Query("max by (topic) (tandem_recorder_lag_records{$scope})", "recorder: {{topic}}"),
            Query("max(tandem_portfolio_lag_records{$scope})", "portfolio"),
        ),
    ),
    Panel(
        title="How old what waits is",
        help="Age of the newest record that was read, where newer ones wait. 0 is up to date. On a replay records are old by themselves.",
        unit="s",
        queries=(
            Query("max by (sector, version) (tandem_forecaster_lag_seconds{$scope})", "forecaster {{sector}} v{{version}}"),
            Query("max by (topic) (tandem_recorder_lag_seconds{$scope})", "recorder: {{topic}}"),
            Query("max(tandem_portfolio_lag_seconds{$scope})", "portfolio"),
        ),
    ),
    Panel(
        title="Since something last happened",
        help="Wall time since each part last did its work. In a session, what only rises has stopped.",
        unit="s",
        queries=(
            Query("time() - max by (sector) (tandem_ingestor_last_frame_seconds{$scope} > 0)", "frame of {{sector}}"),
            Query(
                "time() - max by (sector, version) (tandem_forecaster_last_forecast_seconds{$scope} > 0)",
                "forecast {{sector}} v{{version}}",
            ),
            Query("time() - max(tandem_portfolio_last_forecast_seconds{$scope} > 0)", "forecast taken in"),
            Query("time() - max(tandem_recorder_last_save_seconds{$scope} > 0)", "rows written"),
        ),
    ),
    Panel(
        title="Records that Kafka has not confirmed",
        help="Of the ingestor; the socket waits at 512.",
        unit="short",
        limit=512,
        queries=(Query("max(tandem_ingestor_unacknowledged_records{$scope})", "ingestor"),),
    ),
    Panel(
        title="Records parked",
        help="What could not be read or made no sense, by reason. `tandem deadletter list` shows them.",
        unit="short",
        look="bars",
        queries=(
            Query("sum by (reason) (increase(tandem_ingestor_parked_total{$scope}[$rate]))", "ingestor: {{reason}}"),
            Query("sum by (reason) (increase(tandem_recorder_parked_total{$scope}[$rate]))", "recorder: {{reason}}"),
            Query("sum by (sector) (increase(tandem_forecaster_parked_total{$scope}[$rate]))", "forecaster of {{sector}}"),
        ),
    ),
)

_SPEED = (
    Panel(
        title="Delay of the feed, p99",
        help="From a frame's first event at the exchange to its receipt here. Live feeds only.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.99, sum by (le, sector) (rate(tandem_ingestor_delay_seconds_bucket{$scope}[$rate])))", "{{sector}}"
            ),
        ),
    ),
    Panel(
        title="Tick to forecast, p99",
        help="From the ingestor's receipt to the forecast's publication.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.99, sum by (le, sector) (rate(tandem_tick_to_forecast_seconds_bucket{$scope}[$rate])))", "{{sector}}"
            ),
        ),
    ),
    Panel(
        title="Forecast to order, p99",
        help="From a forecast's publication to the broker's answer to the order.",
        unit="s",
        queries=(
            Query("histogram_quantile(0.99, sum by (le) (rate(tandem_forecast_to_order_seconds_bucket{$scope}[$rate])))", "all accounts"),
        ),
    ),
    Panel(
        title="Bars and scores written",
        help="Rows of the recorder that were not in Postgres yet.",
        unit="cps",
        queries=(
            Query("sum(rate(tandem_recorder_bars_total{$scope}[$rate]))", "bars"),
            Query("sum(rate(tandem_recorder_scores_total{$scope}[$rate]))", "scores"),
            Query("sum(rate(tandem_recorder_market_events_total{$scope}[$rate]))", "corrections, halts, bands"),
        ),
    ),
)

_MACHINE = (
    _UP,
    Panel(
        title="Releases that run",
        help="Each service's own word. More than one of a service: an upgrade is under way.",
        unit="short",
        look="table",
        queries=(Query("max by (service, release) (tandem_build_info{$scope})", ""),),
    ),
    Panel(
        title="Memory",
        help="Resident, of each process. It should be flat over a day.",
        unit="bytes",
        queries=(Query("max by (job, instance) (process_resident_memory_bytes{$scope})", "{{job}} {{instance}}"),),
    ),
    Panel(
        title="Processor time",
        help="Cores that each process uses. One that stays at 1 is at its end: Python uses one.",
        unit="short",
        limit=1,
        queries=(Query("max by (job, instance) (rate(process_cpu_seconds_total{$scope}[$rate]))", "{{job}} {{instance}}"),),
    ),
)

_REPLAY = (
    Panel(
        title="Ticks replayed",
        help="By the recycler to its subscribers. Empty on a live market.",
        unit="cps",
        queries=(Query("sum(rate(tandem_recycler_ticks_sent_total{$scope}[$rate]))", "ticks"),),
    ),
    Panel(
        title="Orders at the paper exchange",
        help="By what became of them.",
        unit="short",
        look="bars",
        queries=(Query("sum by (status) (increase(tandem_recycler_orders_total{$scope}[$rate]))", "{{status}}"),),
    ),
    Panel(
        title="Who keeps the replay waiting",
        help="Participants of a lockstep replay that are waited for beyond the limit, and faults that were done to clients on purpose.",
        unit="short",
        queries=(
            Query("max by (participant) (tandem_recycler_participant_late{$scope})", "late: {{participant}}"),
            Query("sum by (kind) (increase(tandem_recycler_wire_faults_total{$scope}[$rate]))", "fault: {{kind}}"),
        ),
    ),
)

PLATFORM = Dashboard(
    name="platform",
    title="Tandem / Platform",
    help="Is every part there, does the market come in, is anything piling up.",
    rows=(
        Row("Now", _NOW),
        Row("Parts", _PARTS),
        Row("Market data", _MARKET),
        Row("What piles up", _PILES),
        Row("How fast", _SPEED),
        Row("Servers and processes", _MACHINE),
        Row("Replay", _REPLAY),
    ),
)
