"""The trainer's tables: what was trained, how steady its data were, how models rank and move, and why a candidate was made or not.

Nothing is seeded: a row is there because a run made it. Every row names where its data came from, so that replays, files and live markets
never share a ranking. Statistics are double precision, times ns UTC. Owner: services/tandem/trainer; rankings and trends are computed from
forecast_scores and pair_trades.
"""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = """
CREATE DOMAIN data_source AS text CHECK (VALUE IN ('live', 'paper', 'recycled', 'file'));

-- One row for each training of a version, with pair '', and one for each pair in it. Scores are of the hold-out, which the scored model
-- had not seen; NULL where a score is not defined or not made for a pair alone.
CREATE TABLE model_performance (
    sector          text NOT NULL,
    timeframe       text NOT NULL,                         -- "1min", "5min", "1d"
    source          data_source NOT NULL,
    origin          text NOT NULL,                         -- replay id, sha256 of a file, '' on live and paper
    model_name      text NOT NULL,
    model_version   text NOT NULL,                         -- '' when it was not registered
    model_digest    text NOT NULL,
    pair            text NOT NULL,                         -- '' for the sector's model as a whole
    run_id          text NOT NULL,                         -- of the registry, '' without one
    trained_from_ns bigint NOT NULL,
    trained_to_ns   bigint NOT NULL CHECK (trained_to_ns >= trained_from_ns),
    holdout_from_ns bigint NOT NULL,
    data_digest     text NOT NULL,
    seed            bigint NOT NULL,
    trial           integer NOT NULL CHECK (trial BETWEEN 1 AND trials),
    trials          integer NOT NULL,                      -- configurations that were tried for the study
    horizon_bars    integer NOT NULL CHECK (horizon_bars > 0),
    cost_bps        double precision NOT NULL CHECK (cost_bps >= 0),
    qlike           double precision CHECK (qlike >= 0),
    garch_qlike     double precision CHECK (garch_qlike >= 0),
    dm_statistic    double precision,                      -- Diebold-Mariano against GARCH; below 0 the hybrid is better
    dm_p_value      double precision CHECK (dm_p_value BETWEEN 0 AND 1),
    brier           double precision CHECK (brier BETWEEN 0 AND 1),
    brier_base_rate double precision CHECK (brier_base_rate BETWEEN 0 AND 1),
    mcc             double precision CHECK (mcc BETWEEN -1 AND 1),
    auc             double precision CHECK (auc BETWEEN 0 AND 1),
    f1              double precision CHECK (f1 BETWEEN 0 AND 1),
    f1_always_1     double precision CHECK (f1_always_1 BETWEEN 0 AND 1),  -- what needs no skill
    metrics         jsonb NOT NULL,                        -- all of them; for a pair, its fitted numbers
    hyperparameters jsonb NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_digest, model_name, model_version, pair)
);
CREATE INDEX model_performance_sector ON model_performance (sector, trained_to_ns);

-- Rows that a model saw of its data: of a symbol, or of a pair's spread under one model.
CREATE TABLE market_data_features (
    subject         text NOT NULL,                         -- symbol or pair
    timeframe       text NOT NULL,
    source          data_source NOT NULL,
    origin          text NOT NULL,
    model_digest    text NOT NULL,                         -- '' for a symbol; the spread's beta and mu are the model's
    close_ns        bigint NOT NULL,
    level           double precision NOT NULL,             -- log price, or spread
    change          double precision,                      -- over one bar
    z_score         double precision,                      -- of the change against the changes before it, itself not counted
    rolling_mean    double precision,
    rolling_sd      double precision CHECK (rolling_sd >= 0),
    volatility_annualised double precision CHECK (volatility_annualised >= 0),
    window_bars     integer NOT NULL CHECK (window_bars > 1),
    closed_at       timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(close_ns / 1e9)) STORED,
    PRIMARY KEY (subject, timeframe, source, origin, model_digest, close_ns)
);

-- Diagnostics of a training span. They describe; nothing is removed for what they find.
CREATE TABLE variance_stability_tracking (
    subject         text NOT NULL,
    series          text NOT NULL CHECK (series IN ('log_return', 'spread_innovation', 'standardised_innovation')),
    timeframe       text NOT NULL,
    source          data_source NOT NULL,
    origin          text NOT NULL,
    model_digest    text NOT NULL,
    sector          text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    from_ns         bigint NOT NULL,
    to_ns           bigint NOT NULL CHECK (to_ns >= from_ns),
    record_count    integer NOT NULL CHECK (record_count >= 0),
    verdict         text NOT NULL CHECK (verdict IN ('steady', 'varying', 'insufficient_data')),
    findings        text[] NOT NULL,
    reason          text NOT NULL,
    arch_lags       integer NOT NULL,
    arch_statistic  double precision,
    arch_p_value    double precision CHECK (arch_p_value BETWEEN 0 AND 1),
    sigma_window_bars integer NOT NULL,
    rolling_sigma_cv double precision CHECK (rolling_sigma_cv >= 0),
    ljung_box_p_values double precision[] NOT NULL,        -- of lags 1..k jointly
    ljung_box_p_min double precision CHECK (ljung_box_p_min BETWEEN 0 AND 1),
    volatility_annualised double precision CHECK (volatility_annualised >= 0),
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_digest, subject, series, timeframe, source, origin)
);
CREATE INDEX variance_stability_sector ON variance_stability_tracking (sector, to_ns);

-- Recent out-of-sample scores of each version and pair as of one day, best first. Replaced as a whole when the day is computed again.
CREATE TABLE model_rankings (
    ranking_day     date NOT NULL,                         -- in New York
    timeframe       text NOT NULL,                         -- 'unknown' when the version's training was not recorded
    source          text NOT NULL,
    replay_id       text NOT NULL,
    sector          text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    pair            text NOT NULL,
    rank_position   integer NOT NULL CHECK (rank_position > 0),    -- within timeframe, source and replay
    sector_position integer NOT NULL CHECK (sector_position > 0),
    qlike_ratio     double precision NOT NULL CHECK (qlike_ratio >= 0),  -- below 1 the hybrid beat its own GARCH
    qlike           double precision NOT NULL,
    garch_qlike     double precision NOT NULL,
    bars            bigint NOT NULL CHECK (bars > 0),
    sessions        bigint NOT NULL CHECK (sessions > 0),
    last_ns         bigint NOT NULL,                       -- newest outcome that is in the score
    brier           double precision,                      -- NULL until a horizon has passed
    brier_base_rate double precision,                      -- of the labels' own mean, known afterwards only: hard to beat
    labels          bigint NOT NULL,
    trades          bigint NOT NULL,
    pnl_usd         numeric,                               -- of closed trades, NULL without one
    as_of_ns        bigint NOT NULL,
    PRIMARY KEY (ranking_day, source, replay_id, model_digest, model_name, model_version, sector, pair)
);

CREATE TABLE model_trends (
    trend_day       date NOT NULL,
    timeframe       text NOT NULL,
    source          text NOT NULL,
    replay_id       text NOT NULL,
    sector          text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    pair            text NOT NULL,
    qlike_ratio_7   double precision,                      -- of the stream's last 7 sessions; NULL when the pair was not scored in them
    qlike_ratio_30  double precision NOT NULL,
    bars_7          bigint NOT NULL,
    bars_30         bigint NOT NULL,
    best_session_ratio_30 double precision,
    versions_30     bigint NOT NULL,                       -- that were scored on this pair in the last 30 sessions
    direction       text NOT NULL CHECK (direction IN ('better', 'worse', 'steady', 'unknown')),
    as_of_ns        bigint NOT NULL,
    PRIMARY KEY (trend_day, source, replay_id, model_digest, model_name, model_version, sector, pair)
);

-- Each pre-market run of a sector: whether a new model was needed, which gates it passed, what became of it.
CREATE TABLE rebaseline_decisions (
    sector          text NOT NULL,
    timeframe       text NOT NULL,
    source          data_source NOT NULL,
    session_day     date NOT NULL,                         -- in New York
    attempt         integer NOT NULL CHECK (attempt > 0),  -- above 1 only when forced or after a failure
    outcome         text NOT NULL CHECK (outcome IN ('registered', 'rejected', 'not_needed', 'skipped', 'failed')),
    reason          text NOT NULL,
    weekly          boolean NOT NULL,
    half_day        boolean NOT NULL,
    needs           jsonb NOT NULL,                        -- [{name, found, reason}]
    gates           jsonb NOT NULL,                        -- [{name, passed, reason}], [] when nothing was trained
    metrics         jsonb NOT NULL,
    model_name      text NOT NULL,
    champion_version text NOT NULL,                        -- '' when there was none
    champion_digest text NOT NULL,
    model_version   text NOT NULL CHECK ((model_version <> '') = (outcome = 'registered')),
    model_digest    text NOT NULL,                         -- '' when nothing was trained
    data_digest     text NOT NULL,
    trained_from_ns bigint,
    trained_to_ns   bigint,
    decided_ns      bigint NOT NULL,                       -- the time that the decision was made for: --at, else the clock
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sector, timeframe, source, session_day, attempt)
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
