"""Sharded, durable buffering between HTTP and ClickHouse. Usable without HTTP: imports nothing of ``app``."""
