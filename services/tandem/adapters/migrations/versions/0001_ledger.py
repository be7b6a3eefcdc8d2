"""The portfolio's tables: intents, orders, fills, the double-entry book, states of pairs and of trading, and what was measured.

Every key starts with `book`, so that accounts share a database without sharing a row. An account has one book; that of a recycler starts
anew with each replay, and so does its book, under the next generation. Times are ns UTC (event time), money and shares numeric, never
float; statistics double precision. Owner: services/tandem/portfolio.
"""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE books (
    book            text PRIMARY KEY,
    account         text NOT NULL,                         -- the broker's account id
    generation      integer NOT NULL CHECK (generation >= 1),
    source          text NOT NULL CHECK (source IN ('live', 'paper', 'recycled')),
    capital_usd     numeric NOT NULL CHECK (capital_usd > 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account, generation)
);

-- What was asked of the portfolio at a bar and what came of it: an action, or a refusal with its reason (the first of a row of equal ones).
CREATE TABLE signals (
    book            text NOT NULL REFERENCES books,
    run             text NOT NULL,
    pair            text NOT NULL,
    bar_close_ns    bigint NOT NULL,
    action          text NOT NULL CHECK (action IN ('open_long', 'open_short', 'close', 'unwind')),
    reason          text NOT NULL,
    outcome         text NOT NULL CHECK (outcome IN ('taken', 'refused')),
    refusal         text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    z               double precision,
    reversion_probability double precision,
    variance        double precision,
    PRIMARY KEY (book, run, pair, bar_close_ns, action)
);

CREATE TABLE intents (
    book            text NOT NULL REFERENCES books,
    intent_id       text NOT NULL,
    run             text NOT NULL,
    pair            text NOT NULL,
    sector          text NOT NULL,
    action          text NOT NULL CHECK (action IN ('open_long', 'open_short', 'close', 'unwind')),
    reason          text NOT NULL,
    bar_close_ns    bigint NOT NULL,
    trade_id        text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    PRIMARY KEY (book, intent_id)
);

CREATE TABLE orders (
    book            text NOT NULL,
    client_order_id text NOT NULL CHECK (length(client_order_id) <= 48),
    seq             bigint GENERATED ALWAYS AS IDENTITY,   -- order of the decisions
    intent_id       text NOT NULL,
    pair            text NOT NULL,
    leg             text NOT NULL CHECK (leg IN ('a', 'b')),
    attempt         integer NOT NULL CHECK (attempt >= 0),
    symbol          text NOT NULL,
    side            text NOT NULL CHECK (side IN ('buy', 'sell')),
    qty             numeric NOT NULL CHECK (qty > 0),
    limit_usd       numeric CHECK (limit_usd > 0),
    decided_ns      bigint NOT NULL,
    status          text NOT NULL,
    filled_qty      numeric NOT NULL DEFAULT 0 CHECK (filled_qty >= 0 AND filled_qty <= qty),
    reported_qty    numeric NOT NULL DEFAULT 0,            -- filled as the broker counts; more than filled_qty: executions are missing
    broker_order_id text NOT NULL DEFAULT '',
    reason          text NOT NULL DEFAULT '',
    PRIMARY KEY (book, client_order_id),
    UNIQUE (book, intent_id, leg, attempt),
    FOREIGN KEY (book, intent_id) REFERENCES intents
);
-- Never more than one live order per leg of a pair.
CREATE UNIQUE INDEX orders_live_per_leg ON orders (book, pair, leg)
    WHERE status NOT IN ('denied', 'canceled', 'expired', 'rejected', 'filled');
CREATE INDEX orders_seq ON orders (book, seq);

CREATE TABLE fills (
    book            text NOT NULL,
    execution_id    text NOT NULL,
    seq             bigint GENERATED ALWAYS AS IDENTITY,
    client_order_id text NOT NULL,
    pair            text NOT NULL,
    symbol          text NOT NULL,
    side            text NOT NULL CHECK (side IN ('buy', 'sell')),
    qty             numeric NOT NULL CHECK (qty > 0),
    price_usd       numeric NOT NULL CHECK (price_usd > 0),
    event_ns        bigint NOT NULL,
    PRIMARY KEY (book, execution_id),
    FOREIGN KEY (book, client_order_id) REFERENCES orders
);
CREATE INDEX fills_event ON fills (book, event_ns);

CREATE TABLE entries (
    book            text NOT NULL REFERENCES books,
    entry_id        text NOT NULL,
    kind            text NOT NULL CHECK (kind IN ('deposit', 'fill', 'fee')),
    source_id       text NOT NULL,
    pair            text NOT NULL,                         -- '' for what belongs to no pair
    event_ns        bigint NOT NULL,
    PRIMARY KEY (book, entry_id),
    UNIQUE (book, kind, source_id)
);

CREATE TABLE postings (
    book            text NOT NULL,
    entry_id        text NOT NULL,
    line            smallint NOT NULL,
    account         text NOT NULL,
    commodity       text NOT NULL,
    amount          numeric NOT NULL,
    PRIMARY KEY (book, entry_id, line),
    FOREIGN KEY (book, entry_id) REFERENCES entries
);

CREATE TABLE pair_states (
    book            text NOT NULL REFERENCES books,
    pair            text NOT NULL,
    sector          text NOT NULL,
    state           text NOT NULL CHECK (state IN ('flat', 'opening', 'hedged', 'closing', 'unwinding', 'quarantined')),
    direction       smallint NOT NULL CHECK (direction IN (-1, 0, 1)),
    trade_id        text NOT NULL,
    symbol_a        text NOT NULL,
    symbol_b        text NOT NULL,
    target_a        numeric NOT NULL,                      -- signed shares wanted while hedged
    target_b        numeric NOT NULL,
    held_a          numeric NOT NULL,                      -- signed shares held now
    held_b          numeric NOT NULL,
    order_a         text NOT NULL,                         -- newest order of the leg, '' if none
    order_b         text NOT NULL,
    attempts        integer NOT NULL,
    waited_bars     integer NOT NULL,
    first_fill_ns   bigint,
    last_fill_ns    bigint,
    decided_ns      bigint NOT NULL,                       -- bar of the newest intent: no second decision at it
    opened_bar_index bigint NOT NULL,
    half_life_bars  double precision NOT NULL,
    model_digest    text NOT NULL,
    reason          text NOT NULL DEFAULT '',
    PRIMARY KEY (book, pair)
);

-- One round trip of a pair, from the intent that opened it.
CREATE TABLE pair_trades (
    book            text NOT NULL REFERENCES books,
    trade_id        text NOT NULL,                         -- the id of the opening intent
    pair            text NOT NULL,
    sector          text NOT NULL,
    direction       smallint NOT NULL CHECK (direction IN (-1, 1)),
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    model_digest    text NOT NULL,
    opened_ns       bigint NOT NULL,                       -- bar of the decision
    hedged_ns       bigint,                                -- last fill of the opening
    closed_ns       bigint,                                -- last fill of the closing
    entry_z         double precision NOT NULL,
    exit_z          double precision,
    exit_reason     text NOT NULL DEFAULT '',
    unhedged_open_s double precision NOT NULL DEFAULT 0,   -- event time from the first fill to both legs in
    unhedged_close_s double precision NOT NULL DEFAULT 0,  -- event time from the first closing fill to both legs out
    cash_at_open_usd numeric NOT NULL,                     -- cash of the pair's sub-ledger before the trade
    pnl_usd         numeric,                               -- after fees, once closed
    PRIMARY KEY (book, trade_id)
);

CREATE TABLE trading_states (
    book            text NOT NULL REFERENCES books,
    scope           text NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('active', 'reducing', 'halted')),
    reason          text NOT NULL,
    applied_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, scope)
);

-- The last bar of a run whose decisions are in this database: a replayed record at or before it decides nothing again.
CREATE TABLE stream_positions (
    book            text NOT NULL REFERENCES books,
    run             text NOT NULL,
    decided_ns      bigint NOT NULL,
    ended           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (book, run)
);

CREATE TABLE equity_curve (
    book            text NOT NULL REFERENCES books,
    run             text NOT NULL,
    bar_close_ns    bigint NOT NULL,
    equity_usd      numeric NOT NULL,
    cash_usd        numeric NOT NULL,
    gross_usd       numeric NOT NULL,
    open_pairs      integer NOT NULL,
    PRIMARY KEY (book, run, bar_close_ns)
);

CREATE TABLE risk_events (
    book            text NOT NULL REFERENCES books,
    event_id        text NOT NULL,
    seq             bigint GENERATED ALWAYS AS IDENTITY,
    scope           text NOT NULL,
    code            text NOT NULL,
    detail          text NOT NULL,
    event_ns        bigint NOT NULL,
    PRIMARY KEY (book, event_id)
);

CREATE TABLE reconciliations (
    book            text NOT NULL REFERENCES books,
    seq             bigint GENERATED ALWAYS AS IDENTITY,
    run             text NOT NULL,
    occasion        text NOT NULL CHECK (occasion IN ('start', 'end_of_stream')),
    event_ns        bigint NOT NULL,
    equal           boolean NOT NULL,
    differences     jsonb NOT NULL,
    ledger_cash_usd numeric NOT NULL,
    broker_cash_usd numeric NOT NULL,
    made_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, seq)
);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Never: the book is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
