"""The audit chain, what intents were decided on, and views of signals and pairs.

What is in the ledger or the chain is never changed: triggers refuse it to everyone but a superuser who switches them off, and the chain's
hashes show what such a one has done. Owner: services/tandem/portfolio.
"""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TABLES = """
-- What happened, in order; each row carries the hash of the row before it in the same book. flow/audit.py makes and checks it.
CREATE TABLE audit_log (
    book            text NOT NULL REFERENCES books,
    seq             bigint NOT NULL CHECK (seq >= 1),      -- without gaps
    kind            text NOT NULL,                         -- signal, intent, order, order_status, fill, entry, ...
    subject         text NOT NULL,
    refs            text[] NOT NULL,                       -- ids by which the row is found
    event_ns        bigint NOT NULL,
    document        text NOT NULL,                         -- canonical JSON, as it was hashed
    previous        text NOT NULL CHECK (length(previous) = 64),
    hash            text NOT NULL CHECK (length(hash) = 64),
    written_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (book, seq),
    UNIQUE (book, hash)
);
CREATE INDEX audit_log_refs ON audit_log USING gin (refs);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE FUNCTION follow_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stray record;
BEGIN
    SELECT a.book, a.seq INTO stray FROM added a LEFT JOIN audit_log p ON p.book = a.book AND p.seq = a.seq - 1
    WHERE a.seq > 1 AND p.hash IS DISTINCT FROM a.previous LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'audit_log of book %: link % does not follow link %', stray.book, stray.seq, stray.seq - 1
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER audit_log_follows AFTER INSERT ON audit_log REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION follow_chain();
CREATE TRIGGER audit_log_kept BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_log_not_emptied BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_kept BEFORE UPDATE OR DELETE ON entries FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER entries_not_emptied BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_kept BEFORE UPDATE OR DELETE ON postings FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_not_emptied BEFORE TRUNCATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What each intent was decided on: the prices of the moment, and the record of the log that held its forecast.
CREATE TABLE decisions (
    book            text NOT NULL,
    intent_id       text NOT NULL,
    price_a         numeric NOT NULL CHECK (price_a > 0),
    price_b         numeric NOT NULL CHECK (price_b > 0),
    half_spread_a   numeric CHECK (half_spread_a >= 0),    -- NULL: no quote was known
    half_spread_b   numeric CHECK (half_spread_b >= 0),
    beta            numeric NOT NULL,                      -- hedge ratio of the forecast
    topic           text,                                  -- NULL from here on: no forecast of this bar led to it
    partition       integer,
    "offset"        bigint CHECK ("offset" >= 0),
    sha256          text,                                  -- of the record's value
    tick_topic      text,
    tick_first      bigint CHECK (tick_first >= 0),        -- offsets of the ticks new in the batch; NULL: not told
    tick_last       bigint CHECK (tick_last >= tick_first),
    PRIMARY KEY (book, intent_id),
    FOREIGN KEY (book, intent_id) REFERENCES intents
);

-- Shares of each pair's sub-ledger; '' holds what belongs to no pair. Over all pairs they are the broker's positions.
CREATE VIEW positions AS
SELECT e.book, e.pair, p.commodity AS symbol, sum(p.amount) AS qty
FROM entries e JOIN postings p USING (book, entry_id)
WHERE p.account = 'assets:shares'
GROUP BY e.book, e.pair, p.commodity
HAVING sum(p.amount) <> 0;

-- What the rules asked for, under which model, what it was decided on, and what the trade that came of it earned.
CREATE VIEW trading_signals AS
SELECT s.book, s.run, s.pair, to_timestamp(s.bar_close_ns / 1e9) AS signal_at, s.bar_close_ns, s.action, s.reason, s.outcome, s.refusal,
       s.model_name, s.model_version, s.model_digest, s.z, s.reversion_probability, sqrt(s.variance) AS volatility,
       i.intent_id, i.trade_id, d.price_a, d.price_b, d.beta, d.topic, d."offset", d.tick_topic, d.tick_first, d.tick_last,
       t.direction, t.exit_reason, t.pnl_usd
FROM signals s
LEFT JOIN intents i USING (book, run, pair, bar_close_ns, action)
LEFT JOIN decisions d USING (book, intent_id)
LEFT JOIN pair_trades t USING (book, trade_id);

-- Each pair at each bar under each model version: prices, log returns, spread, and both forecasts of its variance.
CREATE VIEW pairs_data AS
SELECT sector, pair, source, replay_id, model_name, model_version, model_digest, closed_at, bar_close_ns, price_a, price_b,
       ln(price_a / lag(price_a) OVER w) AS return_a, ln(price_b / lag(price_b) OVER w) AS return_b,
       spread, z, sqrt(garch_variance) AS garch_volatility, sqrt(variance) AS volatility, reversion_probability
FROM forecast_scores
WINDOW w AS (PARTITION BY sector, pair, source, replay_id, model_name, model_version, model_digest ORDER BY bar_close_ns);
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
