"""Agents of hosts that are not there: many in one process, each with a socket of its own that speaks the real protocol."""
