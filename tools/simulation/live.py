"""The table of rounds as they happen: redrawn in place on a terminal, one line a round elsewhere."""

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from simulation.columns import NAMES, aborts, columns, fitting, kilobytes, shown
from simulation.history import HEADLINES, RoundRow
from simulation.task import Kind

if TYPE_CHECKING:
    from typing_extensions import Self

MARGIN = 8
"""Lines of a terminal that the table leaves free for its frame and for what else is said."""


class LiveTable:
    """Shows rounds while they run; used as a context manager, after which the whole table stands.

    Args:
        title: what runs.
        kind: the task.
        console: where to; `Console(stderr=True)` leaves standard output to JSON. None takes standard output.
    """

    def __init__(self, title: str, kind: Kind, console: Console | None = None) -> None:
        self._title = title
        self._kind = kind
        self._console = console or Console()
        self._rows: list[RoundRow] = []
        self._caption = ""
        self._live: Live | None = None

    def __enter__(self) -> "Self":
        if self._console.is_terminal:
            # No refresh thread: rows come seldom, and each one draws.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._draw()
        else:
            self.say(self._title)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._console.print(self._table(self._rows))

    def add(self, row: RoundRow) -> None:
        """Show a round that has ended."""
        self._rows.append(row)
        if self._live is None:
            self.say(line(row, self._kind))
        else:
            self._draw()

    def say(self, text: str) -> None:
        """Show a sentence: above the table on a terminal, else as a line. Its text is never read as markup."""
        self._console.print(Text(text), soft_wrap=True)

    def caption(self, text: str) -> None:
        """Show a sentence below the table, such as what the baselines reached; elsewhere say it once."""
        self._caption = text
        if self._live is None:
            self.say(text)
        else:
            self._draw()

    def _draw(self) -> None:
        """Redraw the last rounds that fit."""
        if self._live is not None:
            self._live.update(self._table(self._rows[-max(1, self._console.height - MARGIN) :]), refresh=True)

    def _table(self, rows: list[RoundRow]) -> Table:
        """Return the table of some rounds."""
        table = Table(title=Text(self._title), caption=Text(self._caption) if self._caption else None)
        every = columns(self._kind)
        shape = fitting(every, rows, self._console.width)
        for column in shape:
            table.add_column(column.heading, justify="left" if column is every[-1] else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(c.cell(row)) for c in shape), style=None if row.gave_sum else "red")
        return table


def line(row: RoundRow, kind: Kind) -> str:
    """Return a round as one line, for logs."""
    metric = HEADLINES[kind]
    attempt = "" if row.attempt == 1 else f" (attempt {row.attempt})"
    ended = "" if row.gave_sum else "  no sum, the model stays"
    aborted = f"  aborted {aborts(row)}" if row.aborted else ""
    cut = f"  {100 * row.saturated:.2g} % of values cut: scales doubled" if row.doubled else ""
    up, down = (
        kilobytes(count, at_least=row.bytes_at_least) for count in (row.bytes_up_per_device, row.bytes_down_per_device)
    )
    return (
        f"round {row.round}{attempt}  {NAMES[metric]} {shown(metric, getattr(row.evaluation, metric))}"
        f"  loss {shown('loss', row.evaluation.loss)}  {row.participants} in, {row.dropouts} dropped,"
        f" {row.recovered} recovered  {up} kB up, {down} kB down per device  {row.seconds:.1f} s{ended}{cut}{aborted}"
    )
