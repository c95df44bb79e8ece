"""What a run leaves: NAME.json, with all that one needs to judge the figures.

Raw samples are kept. No path and no host name is: these files are published.
"""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

import aegis_store
from aegis_store._engine import Description
from aegis_store.bench.measure import Figure, Samples
from aegis_store.bench.rivals import programs
from aegis_store.bench.rivals.absent import Missing
from aegis_store.checkpoint import moment
from aegis_store.types import Clock, SystemClock, TimeMs

#: The installed package.
PACKAGE: Final = Path(aegis_store.__file__).resolve().parent
#: File systems that keep nothing, so that a sync is nothing.
MEMORY_FILE_SYSTEMS: Final = ("tmpfs", "ramfs")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it was measured. Load is the one-minute average when the run began and when it ended.

    `commit` is known where the working directory is a checkout of exactly what is installed.
    """

    at: str
    commit: str
    aegis_store: str
    peers: dict[str, str]
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
    missing: list[Missing] = msgspec.field(default_factory=list)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One workload's outcome: one file."""

    name: str
    promise: str
    quick: bool
    facts: Facts
    outcome: Outcome


# ---- facts ------------------------------------------------------------------------------------------------------------------


def facts(place: Path, engine: Description, load_before: float, clock: Clock | None = None) -> Facts:
    """Of this machine, the package, and the file system that holds `place`."""
    now = (SystemClock() if clock is None else clock).now_ms()
    command = programs.compiler()
    return Facts(
        at=moment(TimeMs(now)).isoformat(timespec="seconds"),
        commit=commit_of(PACKAGE, Path.cwd()),
        aegis_store=f"{aegis_store.__version__} (distribution {version('aegis-store')})",
        peers=_versions("langgraph-checkpoint-sqlite", "lmdb", "rocksdict", "pynacl", "zstandard"),
        compiler="none" if command is None else _said_by(*command, "--version").partition("\n")[0],
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_model(),
        cores=cores(),
        crc_path=engine.crc_path,
        sha_path=engine.sha_path,
        file_system=file_system_of(place),
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def cores() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def commit_of(package: Path, folder: Path) -> str:
    """The commit that a package is of: that of the checkout around `folder`, if its Python files are the package's."""
    top = Path(_said_by("git", "-C", str(folder), "rev-parse", "--show-toplevel"))
    source = top / package.name
    if not (source / "__init__.py").is_file():
        return "unknown"
    for file in sorted(source.rglob("*.py")):
        other = package / file.relative_to(source)
        if not other.is_file() or other.read_bytes() != file.read_bytes():
            return "unknown: what is installed is not what is checked out here"
    head = _said_by("git", "-C", str(top), "rev-parse", "HEAD")
    changed = _said_by("git", "-C", str(top), "status", "--porcelain", "--", package.name, "native")
    return f"{head} and changes" if changed else head


def _versions(*distributions: str) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except ModuleNotFoundError:  # PackageNotFoundError is one
            continue
    return found


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


def keeps_nothing(file_system: str) -> bool:
    """Whether it is memory, and its syncs say nothing about a disk."""
    return file_system.partition(" ")[0] in MEMORY_FILE_SYSTEMS


# ---- files ------------------------------------------------------------------------------------------------------------------


def write(result: Result, folder: Path) -> Path:
    """NAME.json in `folder`, readable by people too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    raw = msgspec.json.encode(result)
    path.write_bytes(msgspec.json.format(raw, indent=1) + b"\n")
    return path


def read(path: Path) -> Result:
    """A file that `write` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Result)
