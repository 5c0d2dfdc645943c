"""Whether program and database belong together: an older program on a newer database would fail at whatever it writes."""

from __future__ import annotations

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

APP = "models_app"


class WrongSchema(Exception):
    """The database is another version's; the message says what to do."""


def refuse_newer_schema() -> None:
    """Raises WrongSchema where a newer Berth has migrated the database."""
    loader = MigrationExecutor(connection).loader
    unknown = sorted(name for app, name in set(loader.applied_migrations) - set(loader.disk_migrations) if app == APP)
    if unknown:
        raise WrongSchema(
            f"The database is that of a newer Berth: it has {unknown[-1]}, which this one does not know. "
            "Start the newer one, or restore the copy that was made before the upgrade."
        )


def refuse_other_schema() -> None:
    """Raises WrongSchema where the database is newer than the program, or has not been migrated to it yet."""
    refuse_newer_schema()
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise WrongSchema("The database is not migrated to this version. Run `manage.py migrate` once, then start again.")
