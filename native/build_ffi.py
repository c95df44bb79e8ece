"""Builds the extension `aegis_store._native` from native/src, by cffi's API mode.

There is one declaration of the C interface: the part of include/aegis.h between its two marks is what cffi reads, so Python can
call nothing that the header doesn't declare, and the compiler checks what cffi derived from it against the header itself.

From the environment: CFLAGS and LDFLAGS come after ours (sanitizers), AEGIS_WERROR=1 makes warnings errors, as CI does.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from cffi import FFI

NATIVE = Path(__file__).resolve().parent
TOP = NATIVE.parent

CDEF_BEGIN = "/* <cdef> */"
CDEF_END = "/* </cdef> */"

WARNINGS = ["-Wall", "-Wextra", "-Wformat=2", "-Wconversion"]
COMPILE = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-fvisibility=hidden", "-pthread", "-fstack-protector-strong"]
LINK = ["-pthread"]
# What only GNU ld, or only compilers on Linux, understand. Not -z nodlopen: the module could not be loaded then. Some systems
# set a fortify level of their own, and setting it twice is a warning.
COMPILE_LINUX = ["-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3"]
LINK_LINUX = ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]

# cffi's own C is not written for these warnings; the core, which is, is another file and keeps them.
PREAMBLE = """
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
#include "aegis.h"
"""


def declarations(header: str) -> str:
    """What cffi is to know: the header between its two marks, without the visibility attribute."""
    begin, end = header.find(CDEF_BEGIN), header.find(CDEF_END)
    if not 0 <= begin < end:
        raise ValueError(f"aegis.h has no part between {CDEF_BEGIN} and {CDEF_END}")
    return re.sub(r"\bAEGIS_API\b", "", header[begin + len(CDEF_BEGIN) : end])


def sources() -> list[Path]:
    """The whole core. A file for another processor guards itself with #if; the simulated vfs is for tests only."""
    found = [path for pattern in ("*.c", "x86/*.c", "arm/*.c") for path in sorted(NATIVE.glob(f"src/{pattern}"))]
    return [path for path in found if not path.name.startswith("vfs_sim")]


def headers() -> list[Path]:
    """What a change of must compile everything anew."""
    return sorted([*NATIVE.glob("include/*.h"), *NATIVE.glob("src/**/*.h")])


def from_top(paths: list[Path]) -> list[str]:
    """As setuptools wants them: relative to the project, with slashes."""
    return [path.relative_to(TOP).as_posix() for path in paths]


def builder() -> FFI:
    linux = sys.platform == "linux"
    werror = ["-Werror"] if os.environ.get("AEGIS_WERROR") == "1" else []
    ffi = FFI()
    ffi.cdef(declarations((NATIVE / "include" / "aegis.h").read_text(encoding="utf-8")))
    ffi.set_source(
        "aegis_store._native",
        PREAMBLE,
        sources=from_top(sources()),
        depends=from_top(headers()),
        include_dirs=["native/include", "native/src"],
        extra_compile_args=[*COMPILE, *(COMPILE_LINUX if linux else []), *WARNINGS, *werror],
        extra_link_args=[*LINK, *(LINK_LINUX if linux else [])],
    )
    return ffi


ffi = builder()
