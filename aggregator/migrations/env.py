"""What Alembic runs for each command: the steps, in the transaction of the connection that it was given."""

from alembic import context

from aggregator.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
