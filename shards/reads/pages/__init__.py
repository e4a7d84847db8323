"""Pages of one match's events."""
