"""Plain baselines of the target's own field."""
