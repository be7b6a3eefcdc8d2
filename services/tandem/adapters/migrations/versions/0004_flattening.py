"""The trading mode `flattening`: what is open closes at the next bar, nothing opens. Owner: services/tandem/portfolio."""

from alembic import op

from tandem.domain.errors import Permanent

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the table take the mode."""
    op.execute(
        "ALTER TABLE trading_states DROP CONSTRAINT trading_states_mode_check, "
        "ADD CONSTRAINT trading_states_mode_check CHECK (mode IN ('active', 'reducing', 'flattening', 'halted'))"
    )


def downgrade() -> None:
    """Never: history is append-only. Restore a backup instead."""
    raise Permanent("migrations do not go back: restore a backup into an older version instead")
