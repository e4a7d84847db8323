"""What the service tells of itself: logs, Prometheus metrics, response times."""
