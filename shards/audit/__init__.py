"""The accounting, checked against what ClickHouse shows."""
