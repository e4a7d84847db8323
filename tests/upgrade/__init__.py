"""From the release before to this one and back, with real processes, rows pending, and exact counts at each step."""
