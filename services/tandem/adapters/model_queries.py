"""The SQL behind rankings and trends: every score is computed over whole tables by the server. Text only; model_history.py runs it.

Only outcomes that were known at %(as_of_ns)s count. Sessions are those of the stream (sector, source, replay) in which something was
scored, by New York date, the newest first.
"""

_KEY = "sector, model_name, model_version, model_digest, pair, source, replay_id"

_RECENT = """
WITH scored AS (
    SELECT *, (to_timestamp(next_close_ns / 1e9) AT TIME ZONE 'America/New_York')::date AS session_day
    FROM forecast_scores WHERE next_close_ns <= %(as_of_ns)s
), days AS (
    SELECT *, row_number() OVER (PARTITION BY sector, source, replay_id ORDER BY session_day DESC) AS age
    FROM (SELECT DISTINCT sector, source, replay_id, session_day FROM scored) AS held
), recent AS (
    SELECT * FROM scored JOIN days USING (sector, source, replay_id, session_day) WHERE age <= %(sessions)s
), models AS (
    SELECT DISTINCT ON (model_digest) model_digest, timeframe, horizon_bars, cost_bps
    FROM model_performance WHERE pair = '' ORDER BY model_digest, recorded_at
)"""

# The reversion label of quant/history.py: from the next bar on, back toward the mean by more than both legs' cost, in and out, within the
# horizon. A forecast gets one only when every bar up to the horizon is there.
REFRESH_RANKINGS = f"""
{_RECENT}, paths AS (
    SELECT {_KEY}, bar_close_ns, bar_index, spread, reversion_probability, horizon_bars, 2 * (1 + abs(beta)) * cost_bps * 1e-4 AS cost,
           lead(spread) OVER ahead AS entry, lead(bar_close_ns) OVER ahead AS entry_ns,
           lead(bar_close_ns, horizon_bars + 1) OVER ahead AS end_ns, lead(bar_index, horizon_bars + 1) OVER ahead AS end_index
    FROM forecast_scores JOIN models USING (model_digest) WHERE bar_close_ns <= %(as_of_ns)s
    WINDOW ahead AS (PARTITION BY {_KEY} ORDER BY bar_close_ns)
), labels AS (
    SELECT {_KEY}, p.reversion_probability,
           CASE WHEN p.spread > 0 THEN p.entry - later.low > p.cost WHEN p.spread < 0 THEN later.high - p.entry > p.cost ELSE false END
               AS reverted
    FROM paths p JOIN recent USING ({_KEY}, bar_close_ns)
    CROSS JOIN LATERAL (
        SELECT min(x.spread) AS low, max(x.spread) AS high FROM forecast_scores x
        WHERE (x.sector, x.model_name, x.model_version, x.model_digest, x.pair, x.source, x.replay_id)
            = (p.sector, p.model_name, p.model_version, p.model_digest, p.pair, p.source, p.replay_id)
            AND x.bar_close_ns > p.entry_ns AND x.bar_close_ns <= p.end_ns
    ) AS later
    WHERE p.end_index = p.bar_index + p.horizon_bars + 1
), calibration AS (
    SELECT {_KEY}, count(*) AS labels, avg((reversion_probability - reverted::int) ^ 2) AS brier,
           avg(reverted::int)::double precision * (1 - avg(reverted::int)::double precision) AS brier_base_rate
    FROM labels GROUP BY {_KEY}
), variance AS (
    SELECT {_KEY}, avg(qlike) AS qlike, avg(garch_qlike) AS garch_qlike, count(*) AS bars, count(DISTINCT session_day) AS sessions,
           min(bar_close_ns) AS first_ns, max(next_close_ns) AS last_ns
    FROM recent GROUP BY {_KEY} HAVING count(*) >= %(bars_min)s AND sum(garch_qlike) > 0
), trading AS (
    SELECT {_KEY}, count(*) AS trades, sum(pnl_usd) AS pnl_usd
    FROM variance
    JOIN (SELECT pair_trades.*, source FROM pair_trades JOIN books USING (book)) AS done
        USING (sector, model_name, model_version, model_digest, pair, source)
    WHERE closed_ns BETWEEN first_ns AND %(as_of_ns)s GROUP BY {_KEY}
), scores AS (
    SELECT v.*, coalesce(m.timeframe, 'unknown') AS timeframe, v.qlike / v.garch_qlike AS qlike_ratio, c.brier, c.brier_base_rate,
           coalesce(c.labels, 0) AS labels, coalesce(t.trades, 0) AS trades, t.pnl_usd
    FROM variance v LEFT JOIN models m USING (model_digest)
    LEFT JOIN calibration c USING ({_KEY}) LEFT JOIN trading t USING ({_KEY})
)
INSERT INTO model_rankings (ranking_day, timeframe, {_KEY}, rank_position, sector_position, qlike_ratio, qlike, garch_qlike, bars, sessions,
    last_ns, brier, brier_base_rate, labels, trades, pnl_usd, as_of_ns)
SELECT %(day)s, timeframe, {_KEY},
    rank() OVER (PARTITION BY timeframe, source, replay_id ORDER BY qlike_ratio),
    rank() OVER (PARTITION BY timeframe, source, replay_id, sector ORDER BY qlike_ratio),
    qlike_ratio, qlike, garch_qlike, bars, sessions, last_ns, brier, brier_base_rate, labels, trades, pnl_usd, %(as_of_ns)s
FROM scores
"""  # noqa: S608 only our own names are put in

REFRESH_TRENDS = f"""
{_RECENT}, by_session AS (
    SELECT {_KEY}, age, sum(qlike) AS qlike, sum(garch_qlike) AS garch_qlike, count(*) AS bars FROM recent GROUP BY {_KEY}, age
), spans AS (
    SELECT {_KEY},
           sum(qlike) FILTER (WHERE age <= 7) / nullif(sum(garch_qlike) FILTER (WHERE age <= 7), 0) AS ratio_7,
           sum(qlike) / nullif(sum(garch_qlike), 0) AS ratio_30,
           coalesce(sum(bars) FILTER (WHERE age <= 7), 0) AS bars_7, sum(bars) AS bars_30,
           min(qlike / nullif(garch_qlike, 0)) AS best_30
    FROM by_session GROUP BY {_KEY}
), versions AS (
    SELECT sector, pair, source, replay_id, count(DISTINCT (model_name, model_version, model_digest)) AS versions_30
    FROM recent GROUP BY sector, pair, source, replay_id
)
INSERT INTO model_trends (trend_day, timeframe, {_KEY}, qlike_ratio_7, qlike_ratio_30, bars_7, bars_30, best_session_ratio_30, versions_30,
    direction, as_of_ns)
SELECT %(day)s, coalesce(m.timeframe, 'unknown'), {_KEY}, ratio_7, ratio_30, bars_7, bars_30, best_30, versions_30,
    CASE WHEN ratio_7 IS NULL OR bars_30 = bars_7 THEN 'unknown'
         WHEN ratio_7 < ratio_30 * (1 - %(tolerance)s) THEN 'better'
         WHEN ratio_7 > ratio_30 * (1 + %(tolerance)s) THEN 'worse'
         ELSE 'steady' END,
    %(as_of_ns)s
FROM spans JOIN versions USING (sector, pair, source, replay_id) LEFT JOIN models m USING (model_digest)
WHERE ratio_30 IS NOT NULL
"""  # noqa: S608 only our own names are put in

RECENT_LOSSES = """
SELECT next_close_ns, avg(qlike), avg(garch_qlike) FROM forecast_scores
WHERE model_name = %(name)s AND model_version = %(version)s AND model_digest = %(digest)s AND source = %(source)s
    AND replay_id = %(replay_id)s AND next_close_ns <= %(as_of_ns)s
GROUP BY next_close_ns ORDER BY next_close_ns DESC LIMIT %(bars)s
"""
