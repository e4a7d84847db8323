"""Rows that only ClickHouse refuses: their file, and what is done with them by hand."""
