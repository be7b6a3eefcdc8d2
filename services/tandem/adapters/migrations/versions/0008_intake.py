"""What happens to symbols besides trades, revisions of stored bars, and which parts of history were downloaded.

Owner: services/tandem/recorder (market_events, bar_revisions) and `tandem download` (downloads). Times are ns UTC, as in 0002.
"""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TABLES = """
-- Corrections, cancels, halts and price bands as they came: with them a decision can be judged by what was known.
CREATE TABLE market_events (
    symbol          text NOT NULL,
    source          text NOT NULL CHECK (source IN ('live', 'paper', 'recycled')),
    replay_id       text NOT NULL,                         -- '' on live feeds
    event_ns        bigint NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('correction', 'cancel', 'status', 'band_low', 'band_high')),
    trade_id        bigint NOT NULL,                       -- of the trade that is corrected or cancelled; 0 for the rest
    price           double precision NOT NULL,             -- as corrected, as it was printed, of the band; 0 for a status
    size            bigint NOT NULL,
    flags           smallint NOT NULL,                     -- of a status: 1 halted, 2 short sales restricted
    topic           text NOT NULL,                         -- the first record that told it
    record_offset   bigint NOT NULL,
    outcome         text NOT NULL CHECK (outcome IN ('noted', 'bar_open', 'bar_revised', 'trade_unknown', 'trade_outside')),
    PRIMARY KEY (symbol, source, replay_id, event_ns, kind, trade_id, price, flags)
);
CREATE INDEX market_events_time ON market_events (source, event_ns);

-- A stored bar before a correction or cancel changed it; the bar itself is in bars.
CREATE TABLE bar_revisions (
    symbol          text NOT NULL,
    timeframe       text NOT NULL,
    source          text NOT NULL,
    replay_id       text NOT NULL,
    close_ns        bigint NOT NULL,
    event_ns        bigint NOT NULL,                       -- of the correction or cancel
    kind            text NOT NULL CHECK (kind IN ('correction', 'cancel')),
    trade_id        bigint NOT NULL,
    open            double precision NOT NULL,
    high            double precision NOT NULL,
    low             double precision NOT NULL,
    close           double precision NOT NULL,
    volume          bigint NOT NULL,
    trades          integer NOT NULL,
    revised_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, timeframe, source, replay_id, close_ns, event_ns, kind, trade_id)
);

-- Replays by the wall clock, which their rows do not have: retention goes by when a replay was last recorded.
CREATE TABLE replays (
    replay_id       text PRIMARY KEY,
    first_seen_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at    timestamptz NOT NULL DEFAULT now()
);

-- A part of history that is in bars; written in the transaction of its rows, so a download that was broken off goes on after it.
CREATE TABLE downloads (
    part            text NOT NULL,                         -- digest of what was asked for: symbols, timeframe, feed, span
    timeframe       text NOT NULL,
    source          text NOT NULL,
    replay_id       text NOT NULL,
    feed            text NOT NULL,
    from_ns         bigint NOT NULL,
    until_ns        bigint NOT NULL,
    symbols         integer NOT NULL CHECK (symbols > 0),
    bars            bigint NOT NULL CHECK (bars >= 0),     -- received; those that were there already are among them
    fetched_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, source, replay_id)
);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
