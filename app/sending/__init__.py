"""Parts that the commands use to talk to a running service: a client, recordings, a simulator."""
