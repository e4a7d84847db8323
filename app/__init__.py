"""The HTTP service around :mod:`shards`: ingestion, reads, dashboard, command line."""
