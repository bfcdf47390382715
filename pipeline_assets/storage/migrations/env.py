"""Alembic's entry: runs the revisions on the connection, and in the transaction, it is given."""

from alembic import context

from pipeline_assets.storage.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
