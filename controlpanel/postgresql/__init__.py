"""Django's PostgreSQL backend, which connects anew after the server was away."""
