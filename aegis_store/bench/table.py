"""Figures as people read them: a table a workload, one line a comparison, and a line for whoever could not take part."""

from __future__ import annotations

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aegis_store.bench.measure import Figure, Spread
from aegis_store.bench.results import Result

_VERDICTS: Final = {True: ("met", "green"), False: ("missed", "red"), None: ("", "")}
#: Of tables that go to a file.
WIDTH: Final = 128


def number(value: float) -> str:
    """Short: three digits, or all before the point."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(value: Spread, sign: str = "") -> str:
    """`median (min … max)`."""
    return f"{number(value.median)}{sign} ({number(value.min)} … {number(value.max)})"


def compared(figure: Figure) -> str:
    """The comparison in words."""
    match figure.comparison:
        case "ratio":
            return spread(figure.compared, "x")
        case "over":
            return f"{spread(figure.compared, f' {figure.unit}')} over"
        case "alone":
            return ""


def show(result: Result, console: Console) -> None:
    """The figures as a table, then what has no peer, then where it was measured."""
    title = Text.assemble((result.name, "bold"), f": {result.promise}")
    if result.quick:
        title.append("  (--quick: figures mean little)", "dim")
    console.print(title)
    if result.outcome.figures or result.outcome.missing:
        console.print(table_of(result))
    for what, value in result.outcome.plain.items():
        console.print(Text(f"  {what}: {value:,}" if isinstance(value, int) else f"  {what}: {value}"), soft_wrap=True)
    facts = result.facts
    where = (
        f"  {facts.cores} x {facts.cpu}, {facts.file_system}, {facts.python}, {facts.compiler}, crc {facts.crc_path}, "
        f"sha {facts.sha_path}, load {facts.load_before:.1f} -> {facts.load_after:.1f}\n"
    )
    console.print(Text(where, "dim"), soft_wrap=True)


def table_of(result: Result) -> Table:
    """One row a figure, one a missing peer."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("", "ours", "peer", "ours / peer", "wanted", "durability"):
        table.add_column(column)
    for each in result.outcome.figures:
        word, colour = _VERDICTS[each.met]
        table.add_row(
            Text.assemble(each.title, *((("\n" + each.note, "dim"),) if each.note else ())),
            Text(f"{each.ours}\n{spread(each.ours_value)} {each.unit}"),
            Text("" if each.peer_value is None else f"{each.peer}\n{spread(each.peer_value)} {each.unit}"),
            Text(compared(each)),
            Text.assemble(each.wanted, (f"\n{word}", colour)) if each.wanted else Text(""),
            Text(each.durability, "dim"),
        )
    for missing in result.outcome.missing:
        table.add_row(Text("left out", "dim"), "", Text(missing.name), Text(missing.remedy, "dim"), "", "")
    return table
