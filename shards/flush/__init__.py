"""One shard's way into ClickHouse: pending rows, attempts, confirmation."""
