"""The SQL behind rankings and trends: every score is computed over whole tables by the server. Text only; model_history.py runs it.

Only outcomes that were known at %(as_of_ns)s count. Sessions are those of the stream (sector, source, replay) in which something was
scored, by New York date, the newest first. The steps share a transaction and its temporary tables, which are small where a planner that
guesses their size must not be wrong.
"""

_KEY = "sector, model_name, model_version, model_digest, pair, source, replay_id"
_SESSION_DAY = "(to_timestamp(next_close_ns / 1e9) AT TIME ZONE 'America/New_York')::date"

# One row for each session of each stream that is recent enough, and for each model whose training was recorded.
RECENT_SESSIONS = f"""
SET LOCAL work_mem = '128MB';  -- rows of a month of minutes are sorted by their stream
CREATE TEMPORARY TABLE recent_days ON COMMIT DROP AS
SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY sector, source, replay_id ORDER BY session_day DESC) AS age
    FROM (SELECT sector, source, replay_id, {_SESSION_DAY} AS session_day, min(bar_close_ns) AS first_ns,
                 max(bar_close_ns) AS last_ns, min(next_close_ns) AS first_outcome_ns, max(next_close_ns) AS last_outcome_ns
          FROM forecast_scores WHERE next_close_ns <= %(as_of_ns)s GROUP BY 1, 2, 3, 4) AS held
) AS numbered WHERE age <= %(sessions)s;
CREATE TEMPORARY TABLE known_models ON COMMIT DROP AS
SELECT DISTINCT ON (model_digest) model_digest, timeframe, horizon_bars, cost_bps
FROM model_performance WHERE pair = '' ORDER BY model_digest, recorded_at;
CREATE TEMPORARY TABLE labels ON COMMIT DROP AS
SELECT {_KEY}, reversion_probability, true AS reverted FROM forecast_scores WITH NO DATA;
ANALYZE recent_days, known_models
"""  # noqa: S608 only our own names are put in

HORIZONS = "SELECT DISTINCT horizon_bars FROM known_models ORDER BY 1"

# The times of the forecasts lead to the rows by their index, those of the outcomes say exactly which session a row is of.
_OF_THE_DAY = "bar_close_ns BETWEEN day.first_ns AND day.last_ns AND next_close_ns BETWEEN day.first_outcome_ns AND day.last_outcome_ns"

# The reversion label of quant/history.py for the models of one horizon: from the next bar on, back toward the mean by more than both legs'
# cost, in and out, within the horizon. A forecast gets one only when every bar up to the horizon is there.
LABELS = f"""
INSERT INTO labels ({_KEY}, reversion_probability, reverted)
SELECT {_KEY}, reversion_probability,
       CASE WHEN spread > 0 THEN entry - low > cost WHEN spread < 0 THEN high - entry > cost ELSE false END
FROM (
    SELECT {_KEY}, bar_close_ns, next_close_ns, bar_index, spread, reversion_probability,
           2 * (1 + abs(beta)) * cost_bps * 1e-4 AS cost, lead(spread) OVER ahead AS entry,
           min(spread) OVER later AS low, max(spread) OVER later AS high, lead(bar_index, %(horizon)s + 1) OVER ahead AS end_index
    FROM forecast_scores JOIN known_models USING (model_digest)
    WHERE horizon_bars = %(horizon)s AND bar_close_ns BETWEEN (SELECT min(first_ns) FROM recent_days) AND %(as_of_ns)s
    WINDOW ahead AS (PARTITION BY {_KEY} ORDER BY bar_close_ns),
           later AS (ahead ROWS BETWEEN 2 FOLLOWING AND %(horizon)s + 1 FOLLOWING)
) AS paths JOIN recent_days day USING (sector, source, replay_id)
WHERE end_index = bar_index + %(horizon)s + 1 AND {_OF_THE_DAY}
"""  # noqa: S608 only our own names are put in

_RECENT = f"""
WITH recent AS (
    SELECT f.*, session_day, age FROM recent_days day JOIN forecast_scores f USING (sector, source, replay_id) WHERE {_OF_THE_DAY}
)"""  # noqa: S608 only our own names are put in

REFRESH_RANKINGS = f"""
{_RECENT}, calibration AS (
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
    FROM variance v LEFT JOIN known_models m USING (model_digest)
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
FROM spans JOIN versions USING (sector, pair, source, replay_id) LEFT JOIN known_models m USING (model_digest)
WHERE ratio_30 IS NOT NULL
"""  # noqa: S608 only our own names are put in

RECENT_LOSSES = """
SELECT next_close_ns, avg(qlike), avg(garch_qlike) FROM forecast_scores
WHERE model_name = %(name)s AND model_version = %(version)s AND model_digest = %(digest)s AND source = %(source)s
    AND replay_id = %(replay_id)s AND next_close_ns <= %(as_of_ns)s
GROUP BY next_close_ns ORDER BY next_close_ns DESC LIMIT %(bars)s
"""
