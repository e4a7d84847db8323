"""Reports of the service about itself: logs, Prometheus metrics, response times."""
