"""The ways to ClickHouse, behind one base."""
