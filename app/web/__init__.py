"""What the handlers share of HTTP, without a word about matches."""
