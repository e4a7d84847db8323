"""Access: keys, scopes, the table of routes, sessions of browsers, and limits."""
