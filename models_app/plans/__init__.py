"""Placement plans: what should be served, where the solver would put it, and what differs from what runs."""
