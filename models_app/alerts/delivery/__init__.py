"""Where alerts are sent besides the pages: receivers, a queue in rows, and the worker that empties it."""
