"""The C programs among the rivals: built with cc when they are needed, run once a round, their one line of JSON read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from bench.measure import Sample

HERE: Final = Path(__file__).resolve().parent
NATIVE: Final = HERE.parents[1] / "native"
FLAGS: Final = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread"]
#: What native/build_ffi.py adds: the engine is measured as it is shipped.
HARDENING: Final = [
    *["-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE"],
    *["-D_FORTIFY_SOURCE=3", "-Wl,-z,relro", "-Wl,-z,now"],
]


def build_c_loop(folder: Path) -> Path:
    """pwrite + fdatasync: `c_loop FILE THREADS SECONDS`."""
    return _compile(folder / "c_loop", [HERE / "c_loop.c"], [])


def build_aegis_loop(folder: Path, native: Path = NATIVE) -> Path:
    """The engine without Python: `aegis_loop STORE THREADS SECONDS`. `native` may be another checkout's, to compare two."""
    found = [path for pattern in ("*.c", "x86/*.c", "arm/*.c") for path in sorted((native / "src").glob(pattern))]
    sources = [path for path in found if not path.name.startswith("vfs_sim")]
    flags = [*HARDENING, f"-I{native / 'include'}", f"-I{native / 'src'}"]
    return _compile(folder / "aegis_loop", [HERE / "aegis_loop.c", *sources], flags)


def run(program: Path, place: Path, threads: int, seconds: float) -> Sample:
    """One round of a program that works on `place`."""
    command = [str(program), str(place), str(threads), str(seconds)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return msgspec.json.decode(said, type=Sample)


def _compile(program: Path, sources: list[Path], flags: list[str]) -> Path:
    command = [os.environ.get("CC", "cc"), *FLAGS, *flags, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program
