"""The dashboard of portfolios: equity and risk of each account, its orders, and whether its book agrees with the broker."""

from tandem.cli.dashboards.panels import Dashboard, Panel, Query, Row

_ACCOUNT = "{{tandem_trading_account}}"

_MONEY = (
    Panel(
        title="Equity",
        help="Of the book, at the last marks.",
        unit="currencyUSD",
        width=12,
        signed=True,
        queries=(Query("sum by (tandem_trading_account) (tandem_portfolio_equity_usd{$account})", f"equity {_ACCOUNT}"),),
    ),
    Panel(
        title="Drawdown",
        help="Share of the highest equity that is lost. The ladder of risk.yaml begins to act on it.",
        unit="percentunit",
        width=12,
        queries=(Query("max by (tandem_trading_account) (tandem_portfolio_drawdown_share{$account})", f"drawdown {_ACCOUNT}"),),
    ),
    Panel(
        title="Open pairs",
        help="Pairs that are not flat.",
        unit="short",
        queries=(Query("sum by (tandem_trading_account) (tandem_portfolio_open_pairs{$account})", f"open {_ACCOUNT}"),),
    ),
    Panel(
        title="Pairs set aside",
        help="Drifting: the spread comes back slower than the model can explain. Resting: stopped, waiting for a new excursion.",
        unit="short",
        queries=(
            Query("sum(tandem_portfolio_pairs_drifting{$account})", "drifting"),
            Query("sum(tandem_portfolio_pairs_resting{$account})", "resting"),
        ),
    ),
    Panel(
        title="Breakers",
        help="Red while one stands: nothing opens. `POST /v1/breakers/NAME/reset` after a person has looked.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        queries=(Query("max by (breaker) (tandem_portfolio_breaker_tripped{$account})", "{{breaker}}"),),
    ),
)

_HEDGE = (
    Panel(
        title="Trading mode",
        help="What the account was last told.",
        unit="bool_yes_no",
        look="states",
        limit=1,
        good="above",
        queries=(Query("max by (mode) (tandem_portfolio_trading_mode{$account})", "{{mode}}"),),
    ),
    Panel(
        title="Positions, gross",
        help="Long and short added, at the last marks.",
        unit="currencyUSD",
        queries=(Query("sum by (tandem_trading_account) (tandem_portfolio_gross_usd{$account})", "gross {{tandem_trading_account}}"),),
    ),
    Panel(
        title="Hedge error",
        help="What the fuller legs of open pairs hold beyond what the other leg answers. Above 0 for long: a leg stands alone.",
        unit="currencyUSD",
        queries=(
            Query("sum by (tandem_trading_account) (tandem_portfolio_hedge_error_usd{$account})", "error {{tandem_trading_account}}"),
        ),
    ),
    Panel(
        title="Pairs in quarantine",
        help="They wait for a person: `tandem pairs` says why, POST /v1/pairs/PAIR/release lets them go.",
        unit="short",
        limit=1,
        queries=(Query("sum(tandem_portfolio_quarantined_pairs{$account})", "quarantined"),),
    ),
    Panel(
        title="Time with one leg only, p99",
        help="Event time from the first execution of an opening or closing to its last.",
        unit="s",
        queries=(
            Query(
                "histogram_quantile(0.99, sum by (le, sector) (rate(tandem_portfolio_unhedged_seconds_bucket{$account}[$rate])))",
                "{{sector}}",
            ),
        ),
    ),
    Panel(
        title="Slippage",
        help="How much worse than the price of its decision an execution was, in basis points; below 0 is better.",
        unit="short",
        signed=True,
        queries=(
            Query(
                "histogram_quantile(0.5, sum by (le, sector) (rate(tandem_portfolio_slippage_bps_bucket{$account}[$rate])))",
                "{{sector}} p50",
            ),
            Query(
                "histogram_quantile(0.95, sum by (le, sector) (rate(tandem_portfolio_slippage_bps_bucket{$account}[$rate])))",
                "{{sector}} p95",
            ),
        ),
    ),
)

_ORDERS = (
    Panel(
        title="Signals that asked for an action",
        help="By what became of them.",
        unit="short",
        look="bars",
        queries=(Query("sum by (outcome) (increase(tandem_portfolio_signals_total{$account}[$rate]))", "{{outcome}}"),),
    ),
    Panel(
        title="Orders",
        help="By their final status.",
        unit="short",
        look="bars",
        queries=(Query("sum by (status) (increase(tandem_portfolio_orders_total{$account}[$rate]))", "{{status}}"),),
    ),
    Panel(
        title="Orders that were not sent",
        help="What spoke against them before the broker was asked, by code and by what they were for. docs/risk.md explains each code.",
        unit="short",
        look="bars",
        queries=(
            Query(
                "sum by (code, purpose) (increase(tandem_portfolio_pretrade_refusals_total{$account}[$rate]))", "{{code}}, to {{purpose}}"
            ),
        ),
    ),
    Panel(
        title="Forecast to order",
        help="From a forecast's publication to the broker's answer to the order.",
        unit="s",
        queries=tuple(
            Query(
                f"histogram_quantile({share}, sum by (le) (rate(tandem_forecast_to_order_seconds_bucket{{$account}}[$rate])))",
                name,
            )
            for share, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    Panel(
        title="Executions booked",
        help="And the shares that passed from one pair to another without a broker.",
        unit="short",
        look="bars",
        queries=(
            Query("sum(increase(tandem_portfolio_fills_total{$account}[$rate]))", "executions"),
            Query("sum(increase(tandem_portfolio_crossed_shares_total{$account}[$rate]))", "crossed shares"),
        ),
    ),
)

_TRUST = (
    Panel(
        title="Differences from the broker",
        help="Between ledger and broker, in an hour. Each is in the table reconciliations; pairs that differ are quarantined.",
        unit="short",
        limit=1,
        queries=(Query("sum(increase(tandem_portfolio_reconcile_mismatches_total{$account}[1h]))", "differences in an hour"),),
    ),
    Panel(
        title="Comparisons with the broker",
        help="While trading. None in an open market: what the book says is not checked any more.",
        unit="cps",
        queries=(
            Query("sum by (tandem_trading_account) (rate(tandem_portfolio_comparisons_total{$account}[$rate]))", f"comparisons {_ACCOUNT}"),
        ),
    ),
    Panel(
        title="Since the last comparison",
        help="Wall time since ledger and broker were compared. In a session of a live feed a comparison comes every few seconds.",
        unit="s",
        queries=(
            Query(
                "time() - max by (tandem_trading_account) (tandem_portfolio_last_comparison_seconds{$account} > 0)",
                "age {{tandem_trading_account}}",
            ),
        ),
    ),
    Panel(
        title="What should not happen",
        help="Executions that the stream of trade updates had not told, events that the tables of orders and pairs do not allow, and "
        "writes of a portfolio that another had replaced.",
        unit="short",
        look="bars",
        queries=(
            Query("sum(increase(tandem_portfolio_fills_healed_total{$account}[$rate]))", "executions healed"),
            Query("sum(increase(tandem_portfolio_transitions_refused_total{$account}[$rate]))", "transitions refused"),
            Query("sum(increase(tandem_portfolio_fenced_total{$account}[$rate]))", "writes of a former writer"),
        ),
    ),
    Panel(
        title="Breakers tripped",
        help="How often, in a day.",
        unit="short",
        queries=(Query("sum by (breaker) (increase(tandem_portfolio_breaker_trips_total{$account}[1d]))", "{{breaker}}"),),
    ),
)

_SERVICE = (
    Panel(
        title="Who may write",
        help="1 for the process that writes, 0 for those that stand by. More than one writer must never be.",
        unit="short",
        queries=(Query("max by (instance) (tandem_portfolio_active{$account})", "{{instance}}"),),
    ),
    Panel(
        title="Forecasts not yet read",
        help="Records of the forecast topic.",
        unit="short",
        queries=(Query("max by (instance) (tandem_portfolio_lag_records{$account})", "{{instance}}"),),
    ),
    Panel(
        title="Cache hit rate",
        help="Share of reads that Redis answered. It may be lost at any time; then it is 0.",
        unit="percentunit",
        queries=(
            Query(
                'sum(rate(tandem_portfolio_cache_requests_total{$account,result="hit"}[$rate])) '
                "/ (sum(rate(tandem_portfolio_cache_requests_total{$account}[$rate])) > 0)",
                "hits",
            ),
        ),
    ),
    Panel(
        title="Reads through the cache",
        help="Hits and misses of the portfolio's API. Redis may be lost at any time; then all are misses.",
        unit="cps",
        queries=(Query("sum by (result) (rate(tandem_portfolio_cache_requests_total{$account}[$rate]))", "{{result}}"),),
    ),
)

PORTFOLIO = Dashboard(
    name="portfolio",
    title="Tandem / Portfolio",
    help="Equity and risk of each account, its orders, and whether its book agrees with the broker.",
    variables=("account",),
    rows=(
        Row("Money and risk", _MONEY),
        Row("Both legs", _HEDGE),
        Row("Signals to orders", _ORDERS),
        Row("Book and broker", _TRUST),
        Row("The service", _SERVICE),
    ),
)
