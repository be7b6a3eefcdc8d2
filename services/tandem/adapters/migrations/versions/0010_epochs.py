"""A writer proves its epoch within the message that it writes with. Owner: services/tandem/portfolio."""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_FUNCTION = """
-- Raises unless the account's writer has this epoch, and holds the epoch still until the transaction ends (see the key of `writers`).
CREATE FUNCTION hold_epoch(of_account text, of_epoch bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE now_epoch bigint;
BEGIN
    SELECT w.epoch INTO now_epoch FROM writers w WHERE w.account = of_account FOR KEY SHARE;
    IF now_epoch IS DISTINCT FROM of_epoch THEN
        RAISE EXCEPTION 'account %: epoch % is over, the writer has %', of_account, of_epoch, now_epoch USING ERRCODE = 'TDM01';
    END IF;
END $$;
"""


def upgrade() -> None:
    """Make the function. Portfolios of before ask for the epoch by themselves, and go on to."""
    op.execute(_FUNCTION)


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
