"""Whose book it is by the name that people give an account. Owner: services/tandem/portfolio."""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. A portfolio names its account's newest book when it opens it; older books keep NULL."""
    op.execute("ALTER TABLE books ADD COLUMN trading_account text  -- of the TradingAccount, TANDEM_ACCOUNT")


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
