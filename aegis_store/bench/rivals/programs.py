"""The C programs among the rivals: built when they are needed with the C compiler that is there, run once a round.

Each tells one line of JSON. The engine's own sources come with the package, in bench/native, so that it can be measured without
Python too; they are what the installed extension was built from.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from aegis_store.bench.measure import Sample, Side
from aegis_store.bench.rivals.absent import NotHere

HERE: Final = Path(__file__).resolve().parent
#: In the installed package; in a checkout they lie at the top.
NATIVE: Final = next(
    (path for path in (HERE.parent / "native", HERE.parents[2] / "native") if (path / "include" / "aegis.h").is_file()), None
)
FLAGS: Final = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread"]
#: What native/build_ffi.py adds: the engine is measured as it is shipped.
HARDENING: Final = [
    *["-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection", "-U_FORTIFY_SOURCE"],
    *["-D_FORTIFY_SOURCE=3", "-Wl,-z,relro", "-Wl,-z,now"],
]
COMPILERS: Final = ("cc", "gcc", "clang")
PROGRAM_SECONDS_MAX: Final = 600

C_LOOP: Final = "C loop"
FROM_C: Final = "aegis, from C"
HASH_LOOP: Final = "C loop of hashes"


def compiler() -> list[str] | None:
    """The C compiler's command: $CC, or the first of the usual names that there is."""
    asked = shlex.split(os.environ.get("CC", ""))
    names = [asked[0]] if asked else list(COMPILERS)
    found = next((name for name in names if shutil.which(name)), None)
    return None if found is None else [found, *asked[1:]]


def build_c_loop(folder: Path) -> Path:
    """pwrite + fdatasync: `c_loop FILE THREADS SECONDS`. NotHere without a compiler."""
    return _compile(C_LOOP, folder / "c_loop", [HERE / "c_loop.c"], [])


def build_aegis_loop(folder: Path, native: Path | None = NATIVE) -> Path:
    """The engine without Python: `aegis_loop STORE THREADS SECONDS`. `native` may be another checkout's, to compare two."""
    sources, includes = _engine_sources(FROM_C, native)
    return _compile(FROM_C, folder / "aegis_loop", [HERE / "aegis_loop.c", *sources], [*HARDENING, *includes])


def build_hash_loop(folder: Path, native: Path | None = NATIVE) -> Path:
    """The hashes and checksums of a verification: `hash_loop FILE…`."""
    sources, includes = _engine_sources(HASH_LOOP, native, only=("cpu", "crc32c", "sha256", "error"))
    return _compile(HASH_LOOP, folder / "hash_loop", [HERE / "hash_loop.c", *sources], [*HARDENING, *includes])


def run(program: Path, place: Path, threads: int, seconds: float) -> Sample:
    """One round of a program that works on `place`."""
    return msgspec.json.decode(said(program, str(place), str(threads), str(seconds)), type=Sample)


def said(program: Path, *arguments: str) -> bytes:
    """What a program prints. It ends with this call, whatever ends the call."""
    done = subprocess.run([str(program), *arguments], check=True, stdout=subprocess.PIPE, timeout=PROGRAM_SECONDS_MAX)
    return done.stdout


def side(name: str, program: Path, place: Path, threads: int, seconds: float) -> Side:
    """A C program as one who takes part."""
    return Side(name=name, run=lambda: run(program, place, threads, seconds))


def _engine_sources(name: str, native: Path | None, only: tuple[str, ...] = ()) -> tuple[list[Path], list[str]]:
    if native is None:
        raise NotHere(name, "the engine's C sources are not here: install aegis-store from PyPI, or run this in a checkout")
    found = [path for pattern in ("*.c", "x86/*.c", "arm/*.c") for path in sorted((native / "src").glob(pattern))]
    sources = [path for path in found if not path.name.startswith("vfs_sim")]
    if only:
        sources = [path for path in sources if path.stem.split("_")[0] in only]
    return sources, [f"-I{native / 'include'}", f"-I{native / 'src'}"]


def _compile(name: str, program: Path, sources: list[Path], flags: list[str]) -> Path:
    if program.is_file():
        return program
    command = compiler()
    if command is None:
        raise NotHere(name, "no C compiler: install gcc or clang, or say which one with CC=…")
    program.parent.mkdir(parents=True, exist_ok=True)
    command += [*FLAGS, *flags, *map(str, sources), "-o", str(program)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[-200:])
        raise NotHere(name, f"{command[0]} cannot build it: {reason}")
    return program
