"""The tables of aiomonitor's ``ps`` and ``ps-terminated``, made as the service's own are.

Import it late, because it loads ``prompt_toolkit``.
"""

from collections.abc import Sequence

from prompt_toolkit.application.current import get_app_session

from app.server.console.tables import WIDTH, table_text

NO_VALUE = "-"


class TaskTable:
    """Stands for terminaltables' ``AsciiTable``, which knows no terminal.

    Args:
        rows: the first one names the columns.

    Attributes:
        inner_row_border: set by aiomonitor; changes nothing here.
        inner_column_border: the same.
    """

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self._columns, *self._rows = rows
        self.inner_row_border = False
        self.inner_column_border = False

    @property
    def table(self) -> str:
        """The table, as wide as the terminal at most. Columns in which no row has a value are left out."""
        told = [
            number
            for number in range(len(self._columns))
            if not self._rows or any(row[number] != NO_VALUE for row in self._rows)
        ]
        columns = [self._columns[number].lower() for number in told]
        rows = [[row[number] for number in told] for row in self._rows]
        width = int(get_app_session().output.get_size().columns) or WIDTH
        return table_text(columns, rows, width).rstrip("\n")
