"""Reads of matches: the destination table and the pending rows, counted together."""
