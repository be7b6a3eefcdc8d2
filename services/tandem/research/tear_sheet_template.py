"""The HTML of the tear sheet, a Jinja template. Light, readable from 390 to 1280 pixels; no address of anything outside is in it."""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Backtest: {{ report.policy.name }}</title>
<style>
:root { --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --paper: #fff; --shade: #f5f7fa; --warn: #fff8e6; --warn-line: #e0a800; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 20px 16px 48px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 24px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 34px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); }
p { margin: 6px 0; max-width: 78ch; }
.soft, .note { color: var(--soft); font-size: 13px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(240px, 44%), 1fr)); gap: 10px; margin: 16px 0; }
.fact { background: var(--shade); border-radius: 6px; padding: 10px 12px; min-width: 0; }
.fact b { display: block; font-size: 20px; font-weight: 600; }
.fact small { color: var(--soft); display: block; overflow-wrap: anywhere; }
.warn { background: var(--warn); border-left: 4px solid var(--warn-line); border-radius: 4px; padding: 10px 16px; margin: 16px 0; }
.warn h2 { border: 0; margin: 0 0 6px; padding: 0; }
.warn ul { margin: 0; padding-left: 20px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { padding: 5px 8px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
th.text, td.text { text-align: left; white-space: normal; min-width: 150px; overflow-wrap: anywhere; }
.neg { color: #b4432f; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); gap: 20px; }
.two > div { min-width: 0; }
.figure { min-width: 0; width: 100%; overflow: hidden; }
details summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; background: var(--shade); padding: 10px; font-size: 12px; border-radius: 6px; }
</style>
<script>{{ plotly }}</script>
</head>
<body>
<header>
<h1>Backtest: {{ report.policy.name }}, {{ report.settings.sector }}</h1>
<p>{{ report.policy.says }}</p>
<p class="soft">{{ report.data.file }} ({{ report.data.symbols | length }} symbols), {{ report.settings.bar }} bars;
traded {{ cell("statistics.first_day", "text") }} to {{ cell("statistics.last_day", "text") }},
{{ cell("statistics.days", "count") }} days in {{ report.windows | length }} windows.
Orders fill at the next bar. Costs: {{ report.settings.costs }}; borrow {{ report.settings.borrow_bps_year }} bps a year.</p>
</header>

<section class="warn">
<h2>What this does not show</h2>
<ul>
{% for warning in report.warnings %}
<li>{{ warning }}</li>
{% endfor %}
</ul>
</section>

<section class="facts">
{% for label, key, kind, low in [
  ("net profit, USD", "costs.net_pnl_usd", "usd", ""),
  ("return a year", "statistics.annual_return", "percent", "annual_return"),
  ("volatility a year", "statistics.annual_volatility", "percent", "annual_volatility"),
  ("Sharpe ratio a year", "statistics.sharpe", "number", "sharpe"),
  ("deepest drawdown", "statistics.drawdown.depth", "percent", "max_drawdown"),
  ("probabilistic Sharpe ratio", "statistics.probabilistic_sharpe", "percent", ""),
  ("deflated Sharpe ratio", "statistics.deflated_sharpe", "percent", "trials"),
  ("return on gross a year", "trading.annual_return_on_gross", "percent", ""),
] %}
<div class="fact"><small>{{ label }}</small><b>{{ cell(key, kind) }}</b>
{% if low == "trials" %}
<small>{{ cell("statistics.trials", "count") }} trials: {{ report.statistics.trials_source }};
best of them without skill: Sharpe {{ cell("statistics.expected_max_sharpe") }}</small>
{% elif low and low in report.statistics.intervals %}
<small>95 %: {{ cell("statistics.intervals." ~ low ~ ".0", kind) }} to {{ cell("statistics.intervals." ~ low ~ ".1", kind) }}</small>
{% elif key == "statistics.probabilistic_sharpe" %}
<small>probability that the true ratio is above 0</small>
{% elif key == "trading.annual_return_on_gross" %}
<small>on what was at work, idle cash left out</small>
{% endif %}
</div>
{% endfor %}
</section>
{% if report.statistics.intervals %}
<p class="note">Intervals: stationary bootstrap of daily returns, {{ cell("statistics.intervals.repetitions", "count") }} repetitions,
mean block of {{ cell("statistics.intervals.block_days") }} days. Drawdown from {{ cell("statistics.drawdown.from", "text") }}
to {{ cell("statistics.drawdown.to", "text") }}, recovered: {{ cell("statistics.drawdown.recovered", "text") }};
longest time under water {{ cell("statistics.drawdown.longest_days", "count") }} days.
Skewness {{ cell("statistics.skew") }}, kurtosis {{ cell("statistics.kurtosis") }}.</p>
{% endif %}

<h2>Equity and drawdown</h2>
<div class="figure">{{ figures.equity }}</div>

<h2>Months</h2>
<div class="scroll"><table>
<tr><th>year</th>{% for month in months %}<th>{{ "%02d" | format(month) }}</th>{% endfor %}</tr>
{% for year in years %}
<tr><td>{{ year }}</td>
{% for month in months %}
{% set at = "%s-%02d" | format(year, month) %}
<td>{% if at in report.months %}{{ cell("months." ~ at, "percent") }}{% endif %}</td>
{% endfor %}
</tr>
{% endfor %}
</table></div>

<div class="two">
<div>
<h2>Costs</h2>
<div class="figure">{{ figures.costs }}</div>
<table>
<tr><th>part</th><th>USD</th></tr>
{% for label, key in [("profit at market prices", "market_pnl_usd"), ("spread and rounding", "spread_usd"), ("fees", "fees_usd"),
  ("borrow", "borrow_usd"), ("net profit", "net_pnl_usd"), ("of the first line: the bar between decision and fill cost", "waited_usd"),
  ("value traded", "traded_usd")] %}
<tr><td class="text">{{ label }}</td><td>{{ cell("costs." ~ key, "usd") }}</td></tr>
{% endfor %}
<tr><td class="text">all costs, bps of value traded</td><td>{{ cell("costs.total_bps_of_traded") }}</td></tr>
</table>
</div>
<div>
<h2>Trading</h2>
<table>
<tr><th>figure</th><th>value</th></tr>
{% for label, key, kind in [("round trips", "trades", "count"), ("open at the end", "open_at_end", "count"),
  ("hit rate", "hit_rate", "percent"),
  ("mean profit, USD", "mean_pnl_usd", "usd"), ("best, USD", "best_pnl_usd", "usd"), ("worst, USD", "worst_pnl_usd", "usd"),
  ("mean days held", "mean_days_held", "number"), ("turnover a year, times equity", "annual_turnover", "number"),
  ("gross exposure, mean", "gross_exposure_mean", "percent"), ("gross exposure, most", "gross_exposure_max", "percent"),
  ("net exposure, mean", "net_exposure_mean", "percent"), ("bars with a position", "invested_share", "percent")] %}
<tr><td class="text">{{ label }}</td><td>{{ cell("trading." ~ key, kind) }}</td></tr>
{% endfor %}
{% for name, count in report.trading.exits.items() %}
<tr><td class="text">closed: {{ name }}</td><td>{{ cell("trading.exits." ~ name, "count") }}</td></tr>
{% endfor %}
{% for name, count in report.trading.refusals.items() %}
<tr><td class="text">not opened: {{ name }}</td><td>{{ cell("trading.refusals." ~ name, "count") }}</td></tr>
{% endfor %}
</table>
</div>
</div>

<h2>Exposure</h2>
<div class="figure">{{ figures.exposure }}</div>

<h2>Pairs</h2>
{% if report.pairs %}
<div class="figure">{{ figures.pairs }}</div>
<div class="scroll"><table>
<tr><th>pair</th><th>net USD</th><th>at market</th><th>spread</th><th>fees</th><th>borrow</th><th>trades</th><th>open</th><th>hit rate</th>
<th>windows</th></tr>
{% for row in report.pairs %}
{% set at = "pairs." ~ loop.index0 ~ "." %}
<tr><td>{{ row.pair }}</td>
{% for name in ["net_pnl_usd", "market_pnl_usd", "spread_usd", "fees_usd", "borrow_usd"] %}<td>{{ cell(at ~ name, "usd") }}</td>{% endfor %}
{% for name in ["trades", "open"] %}<td>{{ cell(at ~ name, "count") }}</td>{% endfor %}
<td>{{ cell(at ~ "hit_rate", "percent") }}</td><td>{{ cell(at ~ "windows", "count") }}</td></tr>
{% endfor %}
</table></div>
{% else %}
<p>No pair was traded.</p>
{% endif %}

<h2>Windows</h2>
<div class="scroll"><table>
<tr><th>window</th><th>trained on</th><th>traded</th><th>looked at</th><th class="text">pairs</th><th>trades</th><th>net USD</th>
<th>return</th><th class="text">notes</th></tr>
{% for row in report.windows %}
{% set at = "windows." ~ loop.index0 ~ "." %}
<tr><td>{{ cell(at ~ "window", "count") }}</td><td>{{ row.train_from }} to {{ row.train_to }}</td>
<td>{{ row.trade_from }} to {{ row.trade_to }}</td><td>{{ cell(at ~ "tested", "count") }}</td>
<td class="text">{{ row.pairs | join(" ") or "none" }}</td><td>{{ cell(at ~ "trades", "count") }}</td>
<td>{{ cell(at ~ "net_pnl_usd", "usd") }}</td><td>{{ cell(at ~ "return", "percent") }}</td>
<td class="text">{{ row.note }}{% for r in row.rejections %} left out {{ r.symbol }}: {{ r.reason }}.{% endfor %}
{% for s in row.suspects %} suspect {{ s.symbol }}: {{ s.reason }}, {{ s.detail }}.{% endfor %}</td></tr>
{% endfor %}
</table></div>

{% if report.distance_study %}
<h2>The distance method as a study</h2>
<p>{{ cell("distance_study.portfolios", "count") }} overlapping portfolios of {{ cell("distance_study.pairs", "count") }} pairs,
all symbols asked for; percent a month on committed capital, a dollar in each leg, at closes.</p>
<div class="scroll"><table>
<tr><th>delay, bars</th><th>cost, bps per side and leg</th><th>percent a month</th><th>trades per pair</th></tr>
{% for row in report.distance_study.rows %}
{% set at = "distance_study.rows." ~ loop.index0 ~ "." %}
<tr><td>{{ cell(at ~ "delay_bars", "count") }}</td><td>{{ cell(at ~ "cost_bps") }}</td><td>{{ cell(at ~ "monthly_percent") }}</td>
<td>{{ cell(at ~ "trades_per_pair") }}</td></tr>
{% endfor %}
</table></div>
{% endif %}

<h2>Where it comes from</h2>
<p class="soft">Data {{ report.data.digest }}; commit {{ report.commit }}.</p>
<details><summary>Settings</summary><pre>{{ report.settings | tojson(indent=1) }}</pre></details>
{% if report.alarms %}
<details><summary>{{ report.alarms | length }} alarms</summary><pre>{{ report.alarms | join("\\n") }}</pre></details>
{% endif %}
<script>
// A figure that was drawn before its column had its width takes it now.
addEventListener("load", () => document.querySelectorAll(".js-plotly-plot").forEach((figure) => Plotly.Plots.resize(figure)));
</script>
</body>
</html>
"""
