"""Alembic's environment: migrates over the connection that adapters/postgres.py hands in. Run by alembic, never imported."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
