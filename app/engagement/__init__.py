"""Engagement metrics of a match: from its aggregates to the JSON of the API. Pure functions, and a cache of answers."""
