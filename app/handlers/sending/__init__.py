"""What the routes that take events have in common: what a client may send, and what it is told of it."""
