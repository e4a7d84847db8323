"""Parts of HTTP that the handlers share, without a word about matches."""
