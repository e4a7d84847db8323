"""Counting matches that are too large to be read row by row."""
