"""Tables of tasks, as aiomonitor makes them, in a terminal of 80 columns."""

from collections.abc import Iterator

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.output import DummyOutput

from app.server.console.task_table import TaskTable

COLUMNS = ("Task ID", "State", "Name", "Coroutine", "Created Location", "Since")
TASK = ("140346247670144", "PENDING", "flusher shard 0", "Watched._live()")
LONG = ("140346247670145", "PENDING", "poller of liga-2026-" + "x" * 60, "run.<locals>.wrapper()")


@pytest.fixture(autouse=True)
def _terminal() -> Iterator[None]:
    output = DummyOutput()
    assert output.get_size().columns == 80
    with create_app_session(output=output):
        yield


def test_names_wrap_and_ids_do_not() -> None:
    lines = TaskTable([COLUMNS, (*TASK, "-", "-"), (*LONG, "-", "-")]).table.splitlines()
    assert {len(line) for line in lines} == {80}
    for task in (TASK, LONG):
        assert sum(task[0] in line for line in lines) == 1


def test_a_column_without_a_value_is_left_out_unless_there_are_no_tasks() -> None:
    table = TaskTable([COLUMNS, (*TASK, "-", "-")]).table
    assert "flusher shard 0" in table
    assert "since" not in table
    assert "created location" in TaskTable([COLUMNS]).table


def test_where_a_task_was_made_is_the_first_to_go() -> None:
    table = TaskTable([COLUMNS, (*LONG, "app/live/topic.py:199", "0:00:12.123456")]).table
    assert max(map(len, table.splitlines())) <= 80
    assert "created location" not in table
    assert "0:00:12.123456" in table
