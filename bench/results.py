"""What a run leaves: results/NAME.json, with all that one needs to judge the figures, and tables for people.

Raw samples are kept. No path and no host name is: these files are committed.
"""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

import aegis_store
from aegis_store._engine import Description
from bench.measure import Figure, Samples, Spread

TOP: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = Path(__file__).resolve().parent / "results"
#: What figures depend on.
MEASURED: Final = ("native", "aegis_store", "bench/*.py", "bench/rivals")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it was measured. Load is the one-minute average when the run began and when it ended."""

    at: str
    commit: str
    uncommitted_changes: bool
    aegis_store: str
    compiler: str
    python: str
    system: str
    cpu: str
    cores: int
    crc_path: str
    sha_path: str
    file_system: str
    load_before: float
    load_after: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a workload found. `plain` has numbers without a peer; `samples` is what the figures were made from."""

    figures: list[Figure]
    samples: dict[str, Samples] = msgspec.field(default_factory=dict)
    plain: dict[str, Any] = msgspec.field(default_factory=dict)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One file in results/."""

    name: str
    promise: str
    quick: bool
    facts: Facts
    outcome: Outcome


# ---- facts ------------------------------------------------------------------------------------------------------------------


def facts(place: Path, engine: Description, load_before: float) -> Facts:
    """Of this machine, the checkout, and the file system that holds `place`."""
    return Facts(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_said_by("git", "-C", str(TOP), "rev-parse", "HEAD"),
        uncommitted_changes=bool(_said_by("git", "-C", str(TOP), "status", "--porcelain", "--", *MEASURED)),
        aegis_store=f"{aegis_store.__version__} (distribution {version('aegis-store')})",
        compiler=_said_by(os.environ.get("CC", "cc"), "--version").partition("\n")[0],
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        crc_path=engine.crc_path,
        sha_path=engine.sha_path,
        file_system=file_system_of(place),
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def _said_by(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def file_system_of(place: Path) -> str:
    """Type and options of the mount that holds `place`; "unknown" where /proc does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    device = place.stat().st_dev
    for line in lines:
        fields = line.split()
        if fields[2] == f"{os.major(device)}:{os.minor(device)}":
            after = fields[fields.index("-") + 1 :]
            return f"{after[0]} ({fields[5]},{after[2]})"
    return "unknown"


# ---- files ------------------------------------------------------------------------------------------------------------------


def write(result: Result, folder: Path = RESULTS) -> Path:
    """NAME.json in `folder`, readable by people too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    raw = msgspec.json.encode(result)
    path.write_bytes(msgspec.json.format(raw, indent=1) + b"\n")
    return path


def read(path: Path) -> Result:
    """A file that `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


# ---- tables -----------------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Short: three digits or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(value: Spread, sign: str = "") -> str:
    """`median (min … max)`."""
    return f"{number(value.median)}{sign} ({number(value.min)} … {number(value.max)})"


def show(result: Result, console: Console) -> None:
    """The figures as a table, then what has no peer."""
    console.print(
        f"[bold]{result.name}[/]: {result.promise}" + (" [dim](--quick: figures mean little)[/]" if result.quick else "")
    )
    table = Table("", "ours", "peer", "compared", "wanted", "rounds", "durability", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for each in result.outcome.figures:
        compared = (
            spread(each.compared, "x") if each.comparison == "ratio" else f"{spread(each.compared, f' {each.unit}')} over"
        )
        verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[each.met]
        table.add_row(
            f"{each.title}\n[dim]{each.note}[/]",
            f"{each.ours}\n{spread(each.ours_value)} {each.unit}",
            f"{each.peer}\n{spread(each.peer_value)} {each.unit}",
            compared,
            f"{each.wanted}\n{verdict}".strip(),
            str(each.rounds),
            each.durability,
        )
    if result.outcome.figures:
        console.print(table)
    for what, value in result.outcome.plain.items():
        console.print(f"  {what}: {value:,}" if isinstance(value, int) else f"  {what}: {value}")
    told = result.facts
    console.print(
        f"[dim]  {told.cores} x {told.cpu}, {told.file_system}, {told.python}, {told.compiler}, crc {told.crc_path}, "
        f"sha {told.sha_path}, load {told.load_before:.1f} -> {told.load_after:.1f}[/]\n",
        highlight=False,
    )
