"""The tables of aiomonitor's ``ps`` and ``ps-terminated``, made as the service's own are."""

from collections.abc import Sequence

from app.server.console.tables import table_text, terminal_width

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
        return table_text(columns, rows, terminal_width()).rstrip("\n")
