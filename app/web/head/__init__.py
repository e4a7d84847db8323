"""The head of a request: what is looked at before its handler is called."""
