"""The demo for people: what happens, as it happens, in 80 columns.

Answers go to stdout; while the agent works, a bar and the runs until now are on stderr, if that is a terminal.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table

from aegis_store.cli import figures
from aegis_store.cli.demo.facts import Cost, Damage, Point, Run, Source
from aegis_store.cli.demo.machine import IN_MEMORY
from aegis_store.cli.demo.story import KILLS, Teller
from aegis_store.cli.demo.tasks import LibraryPlan, Plan, Task
from aegis_store.cli.output import line
from aegis_store.cli.verify import show_tiers
from aegis_store.verification import Result

#: Longer lines are tiring to read, however wide the terminal is.
WIDTH_MAX: Final = 96
_INDENT: Final = 3
_BAR_WIDTH: Final = 28
_FIGURES_WIDTH: Final = 52
_TIMES: Final = {1: "once", 2: "twice"}


class Show(Teller):
    """Tells the story on a console; as a context manager it takes the bar away, however the story ends."""

    def __init__(self, console: Console, progress: Console) -> None:
        self._console = console
        self._width = min(console.width, WIDTH_MAX)
        self._live = Live(console=progress, transient=True, refresh_per_second=8) if progress.is_terminal else None
        self._runs: list[Run] = []
        self._has_sessions = False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._still()

    # ---- what the story tells ---------------------------------------------------------------------------------------------

    def begins(self, plan: Plan, tasks: list[Task]) -> None:
        self._has_sessions = not isinstance(plan, LibraryPlan)
        line(self._console, "aegis demo   an agent is killed, and goes on", "bold")
        line(self._console)
        self._say(what_it_does(plan, tasks), indent=0)
        self._title(1, f"Killed, opened again, resumed   ({'session · message' if self._has_sessions else 'file by file'})")
        if self._live is not None:
            self._live.start()

    def works(self, at: Point, part: float) -> None:
        if self._live is not None:
            doing = f"run {len(self._runs) + 1} of {KILLS + 1}: {self._where(at)} saved"
            bar = Table.grid(padding=(0, 2))
            bar.add_row(ProgressBar(total=1.0, completed=part, width=_BAR_WIDTH), doing)
            self._live.update(_indented(Group(self._table(), "", bar) if self._runs else bar))

    def ran(self, run: Run) -> None:
        self._runs.append(run)

    def held(self, compared: int, sessions: int) -> None:
        self._still()
        self._print(self._table())
        kills = sum(run.was_killed for run in self._runs)
        line(self._console)
        if any(is_ahead(run) for run in self._runs):
            self._say("* was on its way when the agent was killed: stored, but not acknowledged yet")
        self._say(
            f"Killed {_TIMES.get(kills, f'{kills} times')}: nothing that was acknowledged is lost, and each run went on at the "
            "very next step."
        )
        self._title(2, "Held against the same steps, done without a store")
        of = f" of {figures.counted(sessions, 'session')}" if self._has_sessions else ""
        self._say(f"{figures.counted(compared, 'checkpoint')}{of} read back: each is what it must be.")

    def verified(self, result: Result, took_seconds: float) -> None:
        self._say(f"aegis verify --deep, {figures.seconds(took_seconds)}:")
        with self._console.capture() as captured:
            show_tiers(self._console, result)
        self._put(captured.get(), indent=_INDENT - 2)

    def damaged(self, damage: Damage) -> None:
        self._title(3, "One byte changes on the disk (of a copy)")
        for each in damage_lines(damage, unit="message" if self._has_sessions else "file"):
            self._say(each.lstrip(), indent=_INDENT + len(each) - len(each.lstrip()))

    def cost(self, cost: Cost) -> None:
        self._title(4, "What it cost")
        grid = Table.grid(padding=(0, 2))
        for name, value in cost_rows(cost):
            grid.add_row(name, value)
        self._print(grid)
        if self._has_sessions:
            line(self._console)
            self._print(sources_table(cost.sources, self._width - _INDENT))
        if cost.file_system in IN_MEMORY:
            line(self._console)
            self._say(
                f"This is {cost.file_system}: memory, where a sync costs nothing. For a disk's figures: --keep DIR on one."
            )

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _where(self, at: Point) -> str:
        return f"session {at.number}, message {at.step}" if self._has_sessions else f"file {at.step}"

    def _short(self, at: Point | None) -> str:
        if at is None:
            return "-"
        return f"{at.number} · {at.step}" if self._has_sessions else str(at.step)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("run", justify="right")
        for name in ("goes on at", "acknowledged"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in ("killed at", "then it holds"):
            table.add_column(name, no_wrap=True)
        table.add_column("opened in", justify="right", no_wrap=True)
        for number, run in enumerate(self._runs, 1):
            table.add_row(str(number), self._short(run.resumed), figures.count(run.acknowledged), *self._end(run))
        return table

    def _end(self, run: Run) -> tuple[str, str, str]:
        if run.killed_after_us is None or run.reopened_seconds is None:
            return "not killed", self._short(run.last), ""
        killed = f"{self._short(run.heard)} + {figures.seconds(run.killed_after_us / 1e6)}"
        return killed, self._short(run.latest) + (" *" if is_ahead(run) else ""), figures.seconds(run.reopened_seconds)

    def _title(self, number: int, text: str) -> None:
        line(self._console)
        line(self._console, f"{number}  {text}", "bold")
        line(self._console)

    def _say(self, text: str, *, indent: int = _INDENT) -> None:
        self._print(text, indent=indent)

    def _print(self, what: RenderableType, *, indent: int = _INDENT) -> None:
        with self._console.capture() as captured:
            self._console.print(what, width=self._width - indent)
        self._put(captured.get(), indent=indent)

    def _put(self, rendered: str, *, indent: int) -> None:
        """What was rendered, indented, without the spaces that fill its lines up."""
        for each in rendered.splitlines():
            self._console.out((" " * indent + each).rstrip(), highlight=False)

    def _still(self) -> None:
        if self._live is not None:
            self._live.stop()


def is_ahead(run: Run) -> bool:
    """Whether the store held one checkpoint more than the killed agent had heard of."""
    return run.latest is not None and run.latest != run.last


def _indented(what: RenderableType, indent: int = _INDENT) -> RenderableType:
    return Padding(what, (0, 0, 0, indent), expand=False)


# ---- words ----------------------------------------------------------------------------------------------------------------


def what_it_does(plan: Plan, tasks: list[Task]) -> str:
    """The story's first lines."""
    if isinstance(plan, LibraryPlan):
        work = (
            f"An agent reads {figures.counted(tasks[0].steps, 'module')} of this Python's standard library, one a step. "
            "It counts lines, functions and imports, and keeps totals, notes and its messages."
        )
    else:
        steps = sum(task.steps for task in tasks)
        work = (
            f"An agent lives through recorded sessions again: {figures.counted(len(tasks), 'session')} of "
            f"{figures.counted(len({task.source for task in tasks}), 'source')}, {figures.counted(steps, 'message')}, one "
            "a step. Its state is the conversation until then."
        )
    return (
        f"{work} After each step it saves all of that with session.checkpoint(). It is a process of its own, and is killed "
        f"{KILLS} times when it does not expect it; then the store is opened again."
    )


def damage_lines(damage: Damage, *, unit: str) -> list[str]:
    """What was changed, how that was named, and what was served all the same."""
    flip = damage.flip
    of = f' of session "{damage.victim.session}"' if unit == "message" else ""
    lines = [
        f"{flip.file}, byte {flip.offset}: {flip.before:02x} became {flip.after:02x}. That is in record {flip.record}, whose "
        f"frame begins at byte {flip.frame_offset}: the checkpoint of {unit} {damage.victim.step}{of}.",
        "",
    ]
    if not damage.opened:
        return [
            *lines,
            "The store refuses to open:",
            f"  {damage.refusal}",
            "",
            "Nothing is served from it, so nothing wrong is.",
        ]
    lines.append("aegis verify finds:")
    lines += [f"  {problem}" for _, problem in damage.findings[:3]]
    if len(damage.findings) > 3:
        lines.append(f"  and {len(damage.findings) - 3} more")
    steps: dict[str, list[int]] = {}
    for point in damage.refused:
        steps.setdefault(point.session, []).append(point.step)
    refused = "; ".join(
        (f'session "{session}", ' if unit == "message" else "") + f"{unit} {figures.ranges(numbers)}"
        for session, numbers in steps.items()
    )
    lines += [
        "",
        f"Read one by one: {figures.counted(len(damage.refused), 'checkpoint')} refused ({refused}), and the "
        f"{figures.count(damage.served)} others served, each as it was saved. Nothing wrong was served.",
    ]
    return lines


def cost_rows(cost: Cost) -> list[tuple[str, str]]:
    """Names and figures."""
    number = cost.checkpoints
    disk = cost.file_system or "this file system"
    reopened = ", ".join(figures.seconds(each) for each in cost.reopened_seconds) or "-"
    return [
        ("checkpoints", f"{figures.count(number)}, with {figures.counted(cost.syncs, 'sync')}"),
        (
            "a durable checkpoint",
            f"{_micros(cost.median_us)} median, {_micros(cost.p99_us)} p99",
        ),
        (
            "  the disk alone",
            f"{_micros(cost.sync_median_us)} median, {_micros(cost.sync_p99_us)} p99: 4 KiB and a sync, {disk}",
        ),
        ("states", f"{figures.size(cost.state_bytes)}, {figures.size(cost.state_bytes / number)} each"),
        ("on disk, everything", f"{figures.size(cost.disk_bytes)}, {figures.size(cost.disk_bytes / number)} a checkpoint"),
        ("  of the states", figures.share(cost.disk_bytes, cost.state_bytes)),
        ("opened after a kill", reopened),
        ("verified, deep", figures.seconds(cost.verified_seconds)),
    ]


def _micros(number: float) -> str:
    return f"{figures.count(round(number))} µs"


def sources_table(sources: list[Source], width: int) -> Table:
    """What the work cost by where it comes from. In `width` columns a long name gives way to the figures."""
    name_width = max(12, width - _FIGURES_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("source", no_wrap=True)
    for name in ("saved", "a state", "its record", "", "median"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in sources:
        if each.checkpoints:
            table.add_row(
                each.name if len(each.name) <= name_width else each.name[: name_width - 1] + "…",
                figures.count(each.checkpoints),
                figures.size(each.state_bytes / each.checkpoints),
                figures.size(each.frame_bytes / each.checkpoints),
                figures.share(each.frame_bytes, each.state_bytes),
                _micros(each.median_us),
            )
    return table
