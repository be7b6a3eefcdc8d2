"""Risk events and the state of limits. Owner: services/tandem/portfolio."""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLES = """
-- What guards remember over a restart: breakers, rests after a stop, drift of a pair. The newest of each, as its reader wrote it.
CREATE TABLE risk_guards (
    book            text NOT NULL REFERENCES books,
    name            text NOT NULL CHECK (name IN ('breakers', 'rest', 'drift', 'corporate', 'morning')),
    scope           text NOT NULL,                         -- '' of the account, or a pair
    document        jsonb NOT NULL,
    event_ns        bigint NOT NULL,
    PRIMARY KEY (book, name, scope)
);
"""


def upgrade() -> None:
    """Make the tables."""
    if _TABLES.strip():
        op.execute(_TABLES)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
