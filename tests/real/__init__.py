"""Tests against a real llama-server, built by `make llama-server`."""
