"""The dashboard of sectors: from a sector's ticks to its forecasts, by version of its model."""

from tandem.cli.dashboards.panels import Dashboard, Panel, Query, Row

_MODELS = (
    Panel(
        title="Versions that run",
        help="Each forecaster with the version that it is pinned to and the digest of its bundle.",
        unit="short",
        look="table",
        width=12,
        queries=(Query("max by (sector, version, digest) (tandem_forecaster_model_info{$sector})"),),
    ),
    Panel(
        title="Versions over time",
        help="While two are there, one of them is a candidate in shadow.",
        unit="short",
        look="states",
        width=12,
        limit=1,
        good="above",
        queries=(Query("max by (sector, version) (tandem_forecaster_model_info{$sector})", "{{sector}} v{{version}}"),),
    ),
)

_FLOW = (
    Panel(
        title="Ticks written",
        help="By the ingestor to the sector's topic.",
        unit="cps",
        queries=(Query("sum by (sector) (rate(tandem_ingestor_ticks_total{$sector}[$rate]))", "{{sector}}"),),
    ),
    Panel(
        title="Ticks read",
        help="By each version's forecaster. All versions of a sector read all of its ticks.",
        unit="cps",
        queries=(Query("sum by (sector, version) (rate(tandem_forecaster_ticks_total{$sector}[$rate]))", "{{sector}} v{{version}}"),),
    ),
    Panel(
        title="Forecasts published",
        help="One for each pair and bar. Withheld: not finite, and therefore not published.",
        unit="cps",
        queries=(
            Query("sum by (sector, version) (rate(tandem_forecaster_forecasts_total{$sector}[$rate]))", "{{sector}} v{{version}}"),
            Query(
                "sum by (sector, version) (rate(tandem_forecaster_forecasts_withheld_total{$sector}[$rate]))",
                "withheld: {{sector}} v{{version}}",
            ),
        ),
    ),
    Panel(
        title="Forecasts acted on",
        help="By the portfolios. Only the version that the routing pointer names is.",
        unit="cps",
        queries=(
            Query("sum by (sector, version) (rate(tandem_portfolio_forecasts_acted_total{$sector}[$rate]))", "{{sector}} v{{version}}"),
        ),
    ),
    Panel(
        title="Forecasts left out",
        help="Of a bar that another version had decided already: at a change of versions, a few.",
        unit="short",
        look="bars",
        queries=(Query("sum by (sector) (increase(tandem_portfolio_forecasts_repeated_total{$sector}[$rate]))", "{{sector}}"),),
    ),
    Panel(
        title="Epoch of the routing pointer",
        help="Rises with each change of the version that is acted on.",
        unit="short",
        queries=(Query("max by (sector) (tandem_portfolio_routing_epoch{$sector})", "{{sector}}"),),
    ),
)

_TIME = (
    Panel(
        title="Tick to forecast",
        help="From the ingestor's receipt to the forecast's publication: half, 99 of 100, and nearly all.",
        unit="s",
        width=16,
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le, sector) (rate(tandem_tick_to_forecast_seconds_bucket{{$sector}}[$rate])))",
                f"{{{{sector}}}} {name}",
            )
            for share, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"))
        ),
    ),
    Panel(
        title="Since the last forecast",
        help="Wall time since a version last published. In a session it is at most a bar.",
        unit="s",
        queries=(
            Query("time() - max by (sector, version) (tandem_forecaster_last_forecast_seconds{$sector} > 0)", "{{sector}} v{{version}}"),
        ),
    ),
    Panel(
        title="How old what waits is",
        help="Age of the newest record that was read, where newer ones wait. 0 is up to date.",
        unit="s",
        queries=(Query("max by (sector, version) (tandem_forecaster_lag_seconds{$sector})", "{{sector}} v{{version}}"),),
    ),
    Panel(
        title="Records not yet read",
        help="Of the sector's topic. What only grows is a forecaster that is too slow, or stuck.",
        unit="short",
        queries=(Query("max by (sector, version) (tandem_forecaster_lag_records{$sector})", "{{sector}} v{{version}}"),),
    ),
)

_CARE = (
    Panel(
        title="Stale symbols",
        help="Without a trade for TANDEM_STALE_S while the exchange is open.",
        unit="short",
        limit=1,
        queries=(Query("sum by (sector) (tandem_ingestor_stale_symbols{$sector})", "{{sector}}"),),
    ),
    Panel(
        title="Ticks that came too late",
        help="After their bar had closed. Forecasters leave them out, the recorder parks them; raise market.latenessMs if they are many.",
        unit="short",
        look="bars",
        queries=(
            Query("sum by (sector, version) (increase(tandem_forecaster_late_ticks_total{$sector}[$rate]))", "{{sector}} v{{version}}"),
            Query("sum by (sector) (increase(tandem_recorder_late_ticks_total{$sector}[$rate]))", "recorder: {{sector}}"),
        ),
    ),
    Panel(
        title="Ticks for each forecast",
        help="How much market a decision is made of. It falls before forecasts stop.",
        unit="short",
        queries=(
            Query(
                "sum by (sector, version) (rate(tandem_forecaster_ticks_total{$sector}[1h])) "
                "/ (sum by (sector, version) (rate(tandem_forecaster_forecasts_total{$sector}[1h])) > 0)",
                "{{sector}} v{{version}}",
            ),
        ),
    ),
)

SECTOR = Dashboard(
    name="sector",
    title="Tandem / Sector",
    help="From a sector's ticks to its forecasts, by version of its model.",
    variables=("sector",),
    rows=(Row("Models", _MODELS), Row("Ticks to forecasts", _FLOW), Row("How fast", _TIME), Row("What to look after", _CARE)),
)
