"""Erasure: everything of a match that came before a cut-off is removed from wherever it is."""
