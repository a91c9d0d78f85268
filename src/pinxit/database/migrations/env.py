"""Alembic's entry: runs inside the transaction that `pinxit.database.migrate` has opened."""

from alembic import context

from pinxit.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
