"""Rules that watch the fleet, the alerts they raise with evidence and a proposed action, and their delivery."""
