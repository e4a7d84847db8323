"""Who may do what: keys, scopes, the table of routes, sessions of browsers, and limits."""
