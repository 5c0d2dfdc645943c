"""What a model takes on each device, as pure functions from values to bytes."""
