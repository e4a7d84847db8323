"""Counting matches of very many teams, highlights or texts, so that neither answer nor memory grows with them."""
