"""Courses of matches, as tables: what happened, and how the match stands at each step."""
