"""One writer per book, and orders that serve several pairs. Owner: services/tandem/portfolio."""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = """
-- Who writes for an account now. Whoever takes over raises the epoch; nobody writes an intent under an older one (trigger below).
CREATE TABLE writers (
    account         text PRIMARY KEY,
    epoch           bigint NOT NULL CHECK (epoch >= 1),
    holder          text NOT NULL,                         -- host and process, for people
    renewed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (account, epoch)  -- makes the epoch part of a key: FOR KEY SHARE holds it still and lets renewals pass
);

ALTER TABLE intents ADD COLUMN epoch bigint;               -- NULL: written before there were epochs
ALTER TABLE intents DROP CONSTRAINT intents_action_check,
    ADD CONSTRAINT intents_action_check CHECK (action IN ('open_long', 'open_short', 'close', 'unwind', 'complete'));

CREATE FUNCTION fence_writer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE now_epoch bigint;
BEGIN
    SELECT w.epoch INTO now_epoch FROM writers w JOIN books b USING (account) WHERE b.book = NEW.book FOR KEY SHARE OF w;
    IF NEW.epoch IS DISTINCT FROM now_epoch THEN
        RAISE EXCEPTION 'intent % of epoch %, the writer of book % has epoch %', NEW.intent_id, NEW.epoch, NEW.book, now_epoch
            USING ERRCODE = 'TDM01';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER intents_fenced BEFORE INSERT ON intents FOR EACH ROW EXECUTE FUNCTION fence_writer();

-- Orders of several pairs in one symbol meet inside first; what is left goes to the broker.
ALTER TABLE orders ADD COLUMN crossed_qty numeric NOT NULL DEFAULT 0 CHECK (crossed_qty >= 0 AND crossed_qty <= qty);
ALTER TABLE orders ADD COLUMN inside_qty numeric NOT NULL DEFAULT 0 CHECK (inside_qty >= 0 AND inside_qty <= crossed_qty);
DROP INDEX orders_live_per_leg;
CREATE UNIQUE INDEX orders_live_per_leg ON orders (book, pair, leg)
    WHERE status NOT IN ('denied', 'canceled', 'expired', 'rejected', 'replaced', 'filled');
ALTER TABLE fills ADD COLUMN internal boolean NOT NULL DEFAULT false;  -- a meeting of two pairs, which no broker knows of

-- Shares that pass from one pair to another without a broker. Priced by the first execution of the order that goes out beside it.
CREATE TABLE crosses (
    book            text NOT NULL,
    cross_id        text NOT NULL,
    symbol          text NOT NULL,
    qty             numeric NOT NULL CHECK (qty > 0),
    buy_order       text NOT NULL,
    sell_order      text NOT NULL,
    priced_by       text NOT NULL,                         -- client_order_id; '' when nothing goes out: priced by the bar's last trade
    mark_usd        numeric NOT NULL CHECK (mark_usd > 0), -- the bar's last trade
    decided_ns      bigint NOT NULL,
    price_usd       numeric CHECK (price_usd > 0),         -- NULL until it has happened
    event_ns        bigint,
    PRIMARY KEY (book, cross_id),
    FOREIGN KEY (book, buy_order) REFERENCES orders,
    FOREIGN KEY (book, sell_order) REFERENCES orders,
    CHECK (num_nulls(price_usd, event_ns) IN (0, 2))
);
CREATE INDEX crosses_open ON crosses (book) WHERE price_usd IS NULL;

-- leaving: the pair is to end flat, not hedged with less. completions: orders sent for what a bare opening still lacked.
ALTER TABLE pair_states ADD COLUMN leaving boolean NOT NULL DEFAULT false;
ALTER TABLE pair_states ADD COLUMN completions integer NOT NULL DEFAULT 0 CHECK (completions >= 0);

-- What somebody else did in the account belongs to no pair (kind 'foreign_fill') until a person gives it to one ('adopted').
ALTER TABLE entries DROP CONSTRAINT entries_kind_check,
    ADD CONSTRAINT entries_kind_check CHECK (kind ~ '^[a-z_]{1,40}$');  -- kinds are made by flow/accounting.py alone
"""


def upgrade() -> None:
    """Make the tables."""
    if _TABLES.strip():
        op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
