"""Settings of ClickHouse that do not depend on the profile of its user: of each connection, and of each INSERT."""

from typing import Final

QUERY_MAX_BYTES: Final = 1 << 30

OWN_SETTINGS: Final = {
    "max_query_size": str(QUERY_MAX_BYTES),
    # Without this each answer brings figures of its run, which nobody looks at and which asynch takes time to read.
    "send_profile_events": "0",
    # Mutations of a migration go on while the service runs.
    "mutations_sync": "0",
    # Set against the user's profile, because with 1 tables or answers would have another form, or be old.
    "aggregate_functions_null_for_empty": "0",
    "data_type_default_nullable": "0",
    "extremes": "0",
    "use_query_cache": "0",
    # Set against limits of the user's profile, which are for people: statements of ours have their own bounds. With one
    # of these a list would fail, or be cut short.
    **dict.fromkeys(
        (
            *("max_result_rows", "max_result_bytes", "max_rows_to_read", "max_bytes_to_read"),
            *("max_rows_to_read_leaf", "max_bytes_to_read_leaf", "max_rows_to_group_by", "max_rows_to_sort"),
            *("max_bytes_to_sort", "max_rows_in_set", "max_bytes_in_set", "max_rows_in_join", "max_bytes_in_join"),
            *("max_rows_in_distinct", "max_bytes_in_distinct", "max_columns_to_read", "max_temporary_columns"),
            *("max_rows_to_transfer", "max_bytes_to_transfer", "max_temporary_non_const_columns"),
        ),
        "0",
    ),
}
"""Settings of each connection to a server."""

INSERT_SETTINGS: Final = ", ".join(
    (
        "input_format_null_as_default = 0",
        "input_format_force_null_for_omitted_fields = 1",
        "input_format_skip_unknown_fields = 0",
        "input_format_allow_errors_num = 0",
        "input_format_allow_errors_ratio = 0",
        "input_format_json_read_numbers_as_strings = 0",
        "input_format_json_read_bools_as_strings = 0",
        "input_format_json_read_objects_as_strings = 0",
        "input_format_json_read_arrays_as_strings = 0",
        "input_format_parallel_parsing = 0",
        "materialized_views_ignore_errors = 0",
        "async_insert = 0",
        "max_threads = 1",
        "max_insert_threads = 1",
        "max_block_size = 1000000",
        "max_insert_block_size = 1000000",
        "min_insert_block_size_rows = 1000000",
        "min_insert_block_size_bytes = 1073741824",
    )
)
"""Settings of each INSERT: nothing is coerced or skipped silently, and it is one block, so one part and one row of the
ledger.
"""
