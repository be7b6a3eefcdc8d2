"""The recorder's tables: bars, forecasts with what then happened, and up to which record of each topic these are complete.

Source and replay id are part of every key, so recycled data never overwrites real history and no query mixes them by accident. Prices here
are statistics, hence double precision. Times are ns UTC (event time). Owner: services/tandem/recorder.
"""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE bars (
    symbol          text NOT NULL,
    timeframe       text NOT NULL,                         -- "1min", "5min", "1d"
    source          text NOT NULL CHECK (source IN ('live', 'paper', 'recycled')),
    replay_id       text NOT NULL,                         -- '' on live feeds
    close_ns        bigint NOT NULL,                       -- right edge, exclusive
    open_ns         bigint NOT NULL,
    open            double precision NOT NULL CHECK (open > 0),
    high            double precision NOT NULL CHECK (high >= open AND high >= close),
    low             double precision NOT NULL CHECK (low > 0 AND low <= open AND low <= close),
    close           double precision NOT NULL,
    volume          bigint NOT NULL CHECK (volume >= 0),
    trades          integer NOT NULL CHECK (trades > 0),
    closed_at       timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(close_ns / 1e9)) STORED,
    PRIMARY KEY (symbol, timeframe, source, replay_id, close_ns)
);

-- Every forecast that was published, and, once the pair's next bar is known, how it turned out.
CREATE TABLE forecast_scores (
    sector          text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    pair            text NOT NULL,
    source          text NOT NULL CHECK (source IN ('live', 'paper', 'recycled')),
    replay_id       text NOT NULL,
    bar_close_ns    bigint NOT NULL,
    bar_index       bigint NOT NULL,                       -- bars of the pair since the end of training
    price_a         double precision NOT NULL,
    price_b         double precision NOT NULL,
    beta            double precision NOT NULL,
    mu              double precision NOT NULL,
    spread          double precision NOT NULL,
    expected_spread double precision NOT NULL,             -- AR(1) mean of the next bar
    z               double precision NOT NULL,
    variance        double precision NOT NULL CHECK (variance > 0),
    garch_variance  double precision NOT NULL CHECK (garch_variance > 0),
    reversion_probability double precision NOT NULL,
    half_life_bars  double precision NOT NULL,
    next_close_ns   bigint,                                -- from here on NULL until the pair's next bar has closed
    realised        double precision CHECK (realised >= 0),  -- squared innovation: (next spread - expected_spread)^2
    qlike           double precision,                      -- of quant/scores.py: y/f - log(y/f) - 1
    garch_qlike     double precision,                      -- the same of garch_variance
    closed_at       timestamptz NOT NULL GENERATED ALWAYS AS (to_timestamp(bar_close_ns / 1e9)) STORED,
    PRIMARY KEY (sector, model_name, model_version, model_digest, pair, source, replay_id, bar_close_ns),
    CHECK (num_nulls(next_close_ns, realised, qlike, garch_qlike) IN (0, 4)),  -- scored as a whole or not at all
    CHECK (next_close_ns > bar_close_ns)
);
CREATE INDEX forecast_scores_unscored ON forecast_scores (sector, bar_close_ns) WHERE next_close_ns IS NULL;

-- Written in the transaction of the rows that the records led to: effect and position are one. A reader that starts again reads from
-- restart_offset (the first record that an open bar still needs) and lets records before next_offset have no second effect.
CREATE TABLE consumer_positions (
    consumer        text NOT NULL,
    topic           text NOT NULL,
    partition       integer NOT NULL,
    next_offset     bigint NOT NULL CHECK (next_offset >= 0),
    restart_offset  bigint NOT NULL CHECK (restart_offset >= 0 AND restart_offset <= next_offset),
    source          text NOT NULL DEFAULT '',              -- the stream that the watermark belongs to; '' before the first record
    replay_id       text NOT NULL DEFAULT '',
    watermark_ns    bigint,                                -- bars that close up to here are closed
    PRIMARY KEY (consumer, topic, partition)
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
