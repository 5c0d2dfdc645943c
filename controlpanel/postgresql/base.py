"""The connection to PostgreSQL of a thread that lives as long as its process.

Django lets go of a broken connection when a request ends. Most of what the panel does on its own is no request: after a
restart of the server every such thread would fail for ever.
"""

from __future__ import annotations

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's, which makes a new connection where the server has closed the last one, outside of transactions."""

    def ensure_connection(self) -> None:
        """Within a transaction a broken connection stays broken, so that no half of it is done."""
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().ensure_connection()
