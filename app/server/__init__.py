"""The HTTP server: the application and its middleware, connections, start and end, the console."""
