"""The house as a test: who may use whom, where tests are, what is not called where, how long a file gets.

Each check takes a tree and returns findings, `path:line: what is wrong; what to do instead`. The first half of the tests runs
the checks on this project, the second half on small made-up trees, so that a check which finds nothing is seen to be able to
find.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TOP = Path(__file__).resolve().parents[1]

# ---- the tables: this is what one edits

PACKAGE = "aegis_store"
FACE = "__init__"
#: Floors of the package. An import goes to a lower floor, or sideways but never in a circle.
PYTHON_FLOORS = {
    # docs/decisions/0015 says why the rules lie below what they are for.
    0: ["errors", "types", "amounts", "rules", "lifetimes", "targets", "config"],
    1: ["_engine", "housekeeping"],
    2: ["codec", "schema", "trust", "catalog", "changes"],
    3: ["gaps", "states", "salts", "gathering", "dictionaries", "records"],
    # docs/decisions/0002 says why these lie below the store.
    # docs/decisions/0016 says why what stays and what goes lies there as well.
    4: [
        "opening",
        "checkpoint",
        "lineage",
        "chain",
        "autosave",
        "session",
        "indexing",
        "bulk_reading",
        "verification",
        "survey",
        "holders",
        "holding",
        "retention",
        "compaction",
        "peculiar",
        "erasure",
        "keeping",
        "open_tier",
        "stats",
        "audit",
        "incidents",
        "calls",
        "audit_chain",
        "heads",
        "write_once",
        "memory",
        "enrolment",
        "health",
    ],
    5: ["store"],
    6: ["workflow", "recovery", "aio"],
    7: ["replica"],
    8: ["failover", FACE],
    9: ["adapters", "importers", "bench"],
    10: ["cli", "console", "__main__"],
}
#: The same for the C core; headers and sources of one name are one unit.
C_FLOORS = {
    0: ["aegis", "base", "error", "mutants"],
    1: ["cpu", "crc32c", "crc32c_*", "sha256", "sha256_*", "vfs", "vfs_posix", "vfs_posix_*", "vfs_sim", "vfs_sim_*"],
    2: ["scope", "frame", "remains", "merkle", "delta", "chains", "hashing"],
    3: ["lockfile", "segment", "footer", "scan", "manifest", "tree", "outline"],
    4: ["log"],
    5: ["commit", "room", "upkeep", "recover", "follow", "unlisted", "rebuild", "compact", "verify", "store", "watch"],
    6: ["api"],
}
#: Two units that know each other, and why that is one concept in two files.
PAIRS = {
    frozenset({"base", "error"}): "base.h shows the failing functions to everybody; error.c needs its integers",
    frozenset({"vfs_sim", "vfs_sim_state"}): "vfs_sim.h is what tests see; the parts behind it share vfs_sim_state.h",
}

#: Modules without a test of their own, and where they are tested instead.
UNMIRRORED = {
    "aegis_store/__init__.py": "names only; tests/test_store.py uses them",
    "aegis_store/__main__.py": "one call; tests/cli runs it",
}
#: C files without a test of their own.
UNMIRRORED_C = {
    f"native/src/vfs_sim_{part}.c": "a part of the simulated machine; tests/native/test_vfs_sim.c"
    for part in ("cut", "machine", "outside", "state")
}

LINES_MAX = 650
LINES_AIM = 600

#: Functions and modules that may be used in some places only: (names, what to use instead, where they are at home).
BANNED = [
    (
        ["time.time", "time.time_ns", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
         "datetime.date.today"],
        "the Clock that is passed in",
        ["aegis_store/types.py"],
    ),
    (
        ["os.urandom", "os.getrandom", "secrets", "random", "uuid.uuid1", "uuid.uuid4", "nacl.utils.random"],
        "the Randomness that is passed in",
        ["aegis_store/trust/keys.py", "aegis_store/bench/"],  # where the same made-up states come up on every machine
    ),
    (["pickle", "marshal", "shelve", "dill", "cloudpickle"], "aegis_store.codec: bytes that are read must not run", []),
    (["print", "sys.stdout"], "a return value, or an exception", ["aegis_store/cli/"]),
    (["aegis_store._native"], "aegis_store._engine", ["aegis_store/_engine/"]),
]  # fmt: skip

SYSTEM_CALLS = """
    open openat creat close read pread readv write pwrite writev fsync fdatasync syncfs sync_file_range ftruncate truncate
    fallocate posix_fallocate rename renameat unlink unlinkat mkdir mkdirat rmdir opendir fdopendir readdir stat fstat fstatat
    lstat statfs fstatfs statvfs fcntl flock lockf ioctl mmap munmap msync copy_file_range sendfile getrandom getentropy time
    gettimeofday clock_gettime nanosleep usleep sleep getpid gethostname fork vfork execve system popen socket pipe eventfd dup
    dup2 syscall
""".split()
ALLOCATIONS = "malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup".split()
STDIO = """
    printf fprintf dprintf vprintf vfprintf snprintf vsnprintf puts fputs putchar fopen fdopen fread fwrite fclose fflush
""".split()
#: Units that open, grow or prepare something; never the path of an append.
ALLOCATING = """
    api chains commit compact delta follow footer log manifest outline rebuild recover scan segment store tree upkeep verify
    vfs_posix vfs_posix_bell vfs_sim
    vfs_sim_* watch
""".split()
#: For C: (names, what to use instead, which units may).
BANNED_C = [
    (SYSTEM_CALLS, "the vfs", ["vfs_posix", "vfs_posix_*", "vfs_sim", "vfs_sim_*"]),
    (ALLOCATIONS, "the caller's memory", ALLOCATING),
    (STDIO, "fail(), fail_at()", ["error", "vfs_posix", "vfs_sim", "vfs_sim_*"]),
    (["abort", "exit", "_exit", "raise", "kill", "assert"], "CHECK(): the process is somebody else's", ["vfs_sim_*"]),
    (["strcpy", "strcat", "sprintf", "vsprintf", "gets", "strtok", "alloca", "atoi"], "a function that is told the size", []),
    (["getenv", "setenv"], "an option of the call", ["cpu"]),
]  # fmt: skip

#: Put together so that this file does not hold them.
SOFT = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]


# ---- findings


class Import(NamedTuple):
    file: str
    line: int
    module: str


def files(top: Path, *patterns: str) -> list[str]:
    """Paths that match, relative to `top`; nothing hidden, nothing built."""
    found = {path.relative_to(top) for pattern in patterns for path in top.glob(pattern) if path.is_file()}
    return sorted(
        path.as_posix() for path in found if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )


def text(top: Path, file: str) -> str:
    return (top / file).read_text(encoding="utf-8")


def floor_of(unit: str, floors: dict[int, list[str]]) -> int | None:
    """The floor of a unit; a `*` at the end of a name stands for more of it."""
    for floor, names in floors.items():
        for name in names:
            if unit == name or (name.endswith("*") and unit.startswith(name[:-1])):
                return floor
    return None


def at_home(unit: str, homes: list[str]) -> bool:
    return floor_of(unit, {0: homes}) is not None


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Some circle, as the nodes on it with the first one repeated; empty if there is none."""
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        for following in sorted(edges.get(node, ())):
            if found := walk(following, [*way, node]):
                return found
        done.add(node)
        return []

    for node in sorted(edges):
        if found := walk(node, []):
            return found
    return []


# ---- floors of Python


def module_of(file: str) -> str:
    """`aegis_store/codec/zstd.py` -> `aegis_store.codec.zstd`; a package is its `__init__`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def unit_of(module: str) -> str:
    """The first name below the package: `aegis_store.codec.zstd` -> `codec`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACE


def imports(top: Path) -> Iterator[Import]:
    """Every import of the package's own modules, wherever it stands: one for typing alone is a dependency too."""
    known = {module_of(file) for file in files(top, f"{PACKAGE}/**/*.py")} | {f"{PACKAGE}._native"}
    for file in files(top, f"{PACKAGE}/**/*.py"):
        here = module_of(file).split(".")
        package = here if file.endswith("/__init__.py") else here[:-1]
        for node in ast.walk(ast.parse(text(top, file))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = (
                    ".".join([*package[: len(package) - node.level + 1], node.module or ""])
                    if node.level
                    else node.module or ""
                )
                base = base.strip(".")
                whole = [f"{base}.{alias.name}" for alias in node.names]
                names = [name if name in known else base for name in whole]
            else:
                continue
            for name in names:
                if name.split(".")[0] == PACKAGE:
                    yield Import(file, node.lineno, name)


def python_floors(top: Path) -> list[str]:
    found = []
    between: dict[str, set[str]] = {}
    within: dict[str, set[str]] = {}
    for file in files(top, f"{PACKAGE}/**/*.py"):
        if floor_of(unit_of(module_of(file)), PYTHON_FLOORS) is None:
            found.append(f"{file}:1: {unit_of(module_of(file))} has no floor; give it one in PYTHON_FLOORS")
    for file, line, module in imports(top):
        own = module_of(file)
        mine, other = unit_of(own), unit_of(module)
        if other == "_native":
            continue  # who may is in BANNED
        low, high = floor_of(other, PYTHON_FLOORS), floor_of(mine, PYTHON_FLOORS)
        if low is None or high is None:
            continue  # said once, below
        if low > high:
            found.append(f"{file}:{line}: {mine} (floor {high}) uses {other} (floor {low}); hand down what it needs")
        if mine != other:
            between.setdefault(mine, set()).add(other)
        elif own != module:
            within.setdefault(own, set()).add(module)
    found += [f"{PACKAGE}: {' -> '.join(way)} is a circle" for way in (circle(between), circle(within)) if way]
    return found


# ---- floors of C

C_FILES = ["native/include/*.h", "native/src/*.[ch]", "native/src/x86/*.[ch]", "native/src/arm/*.[ch]"]


def c_floors(top: Path) -> list[str]:
    found = []
    edges: dict[str, set[str]] = {}
    for file in files(top, *C_FILES):
        mine = Path(file).stem
        high = floor_of(mine, C_FLOORS)
        if high is None:
            found.append(f"{file}:1: {mine} has no floor; give it one in C_FLOORS")
            continue
        for line, content in enumerate(text(top, file).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"(?:.*/)?(\w+)\.h"', content)
            if not match or (other := match[1]) == mine:
                continue
            low = floor_of(other, C_FLOORS)
            if low is not None and low > high:
                found.append(f"{file}:{line}: {mine} (floor {high}) uses {other} (floor {low}); hand down what it needs")
            if frozenset({mine, other}) not in PAIRS:
                edges.setdefault(mine, set()).add(other)
    if way := circle(edges):
        found.append(f"native/src: {' -> '.join(way)} is a circle")
    return found


# ---- mirrored tests


def mirror_of(file: str) -> str:
    """`aegis_store/codec/_zstd.py` -> `tests/codec/test_zstd.py`; `native/src/log.c` -> `tests/native/test_log.c`."""
    path = Path(file)
    if path.suffix == ".c":
        return f"tests/native/test_{path.name}"
    folders = [part.lstrip("_") for part in path.parent.parts[1:]]
    return "/".join(["tests", *folders, f"test_{path.name.lstrip('_')}"])


def mirrors(top: Path) -> list[str]:
    found = []
    for file in files(top, f"{PACKAGE}/**/*.py", "native/src/*.c"):
        # A package's __init__ shows the names of its modules, which have tests.
        inner = file.endswith("/__init__.py") and file.count("/") > 1
        if inner or file in UNMIRRORED or file in UNMIRRORED_C or (top / mirror_of(file)).is_file():
            continue
        found.append(f"{file}:1: has no test; write {mirror_of(file)}")
    listed = {**UNMIRRORED, **UNMIRRORED_C}
    found += [f"{file}:1: has a test now; take it out of UNMIRRORED" for file in listed if (top / mirror_of(file)).is_file()]
    return found


# ---- lengths, soft spots

SOURCES = [f"{folder}/**/*.{suffix}" for folder in (PACKAGE, "native", "tests") for suffix in ("py", "pyi", "c", "h")]


def lengths(top: Path, limit: int = LINES_MAX) -> list[str]:
    found = []
    for file in files(top, *SOURCES, "*.py"):
        count = len(text(top, file).splitlines())
        if count > limit:
            found.append(f"{file}:{limit}: {count} lines, more than {limit}; which concept wants a file of its own?")
    return found


def soft_spots(top: Path) -> list[str]:
    found = []
    for file in files(top, *SOURCES, "*.py"):
        for line, content in enumerate(text(top, file).splitlines(), 1):
            words = [word for word in SOFT if re.search(rf"\b{word}\b", content)]
            found += [f"{file}:{line}: {word}; do it, or say why not in plain words" for word in words]
    return found


# ---- banned in Python


def used_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every dotted name in use, by what it was imported as: `dt.now` after `from datetime import datetime as dt` is
    `datetime.datetime.now`. Imports count as uses."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
                known[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.lineno, known.get(node.id, node.id if node.id == "print" else "")
        elif isinstance(node, ast.Attribute):
            parts: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in known:
                yield node.lineno, ".".join([known[inner.id], *reversed(parts)])


def banned(top: Path) -> list[str]:
    found = set()
    for file in files(top, f"{PACKAGE}/**/*.py"):
        uses = list(used_names(ast.parse(text(top, file))))
        for names, instead, homes in BANNED:
            if any(file.startswith(home) for home in homes):
                continue
            for line, used in uses:
                for name in names:
                    if used == name or used.startswith(name + "."):
                        found.add(f"{file}:{line}: {name}; use {instead}")
    return sorted(found)


# ---- banned in C


def without_comments(code: str) -> str:
    """C with comments, strings and characters blanked out, line by line as it was."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda match: re.sub(r"[^\n]", " ", match[0]), code, flags=re.DOTALL)


def banned_c(top: Path) -> list[str]:
    found = []
    for file in files(top, *C_FILES):
        lines = without_comments(text(top, file)).splitlines()
        for names, instead, homes in BANNED_C:
            if at_home(Path(file).stem, homes):
                continue
            # Not `->open(` nor `.open(`: those go through the vfs.
            call = re.compile(rf"(?<![\w.>])({'|'.join(names)})\s*\(")
            for line, content in enumerate(lines, 1):
                found += [f"{file}:{line}: {match[1]}(); use {instead}" for match in call.finditer(content)]
    return found


# ---- this project


@pytest.mark.parametrize("check", [python_floors, c_floors, mirrors, lengths, soft_spots, banned, banned_c])
def test_the_house_is_tidy(check):
    found = check(TOP)
    assert not found, "\n".join(["", *found])


def test_files_stay_below_the_aim():
    for finding in lengths(TOP, LINES_AIM):
        warnings.warn(f"tidy: {finding}", stacklevel=1)


def test_exceptions_are_of_things_that_exist():
    gone = [file for file in {**UNMIRRORED, **UNMIRRORED_C} if not (TOP / file).is_file()]
    units = {Path(file).stem for file in files(TOP, *C_FILES)}
    gone += [unit for pair in PAIRS for unit in pair if unit not in units]
    assert gone == []


# ---- the checks can fail


@pytest.fixture
def tree(tmp_path):
    def plant(**contents: str) -> Path:
        """Files by path, with `__` for a slash and the suffix last: `aegis_store__codec__a_py`."""
        for name, content in contents.items():
            path = tmp_path / re.sub(r"_(py|c|h)$", r".\1", name.replace("__", "/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return plant


@pytest.mark.parametrize(
    "line",
    [
        "import aegis_store.store",
        "from aegis_store import store",
        "from aegis_store.store import Store",
        "from ..store import Store",
        "from .. import store",
        "def f():\n    from aegis_store.store import Store",
        "if TYPE_CHECKING:\n    from aegis_store.store import Store",
        "from aegis_store import Store",
    ],
)
def test_an_import_up_is_found(tree, line):
    found = python_floors(tree(aegis_store__codec__a_py=line, aegis_store__store_py=""))
    assert len(found) == 1 and found[0].startswith("aegis_store/codec/a.py:") and "codec (floor 2)" in found[0]


def test_an_import_down_or_sideways_is_not_found(tree):
    top = tree(
        aegis_store__codec__a_py="from aegis_store.errors import AegisError\nfrom aegis_store._engine import E\nimport json",
        aegis_store__schema__b_py="from aegis_store.codec.a import c",
    )
    assert python_floors(top) == []


def test_a_circle_of_units_is_found(tree):
    top = tree(aegis_store__codec__a_py="import aegis_store.schema.d", aegis_store__schema__b_py="import aegis_store.codec.c")
    assert python_floors(top) == ["aegis_store: codec -> schema -> codec is a circle"]


def test_a_circle_within_a_unit_is_found(tree):
    top = tree(aegis_store__codec__a_py="from .b import x", aegis_store__codec__b_py="from aegis_store.codec import a")
    assert python_floors(top) == ["aegis_store: aegis_store.codec.a -> aegis_store.codec.b -> aegis_store.codec.a is a circle"]


def test_a_module_without_a_floor_is_found(tree):
    assert "attic has no floor" in python_floors(tree(aegis_store__attic_py="import aegis_store.errors"))[0]


def test_an_include_up_is_found(tree):
    found = c_floors(tree(native__src__frame_c='#include "frame.h"\n#include "log.h"\n', native__src__log_h=""))
    assert found == ["native/src/frame.c:2: frame (floor 2) uses log (floor 4); hand down what it needs"]


def test_a_circle_of_includes_is_found(tree):
    top = tree(native__src__frame_c='#include "merkle.h"\n', native__src__merkle_h='#include "frame.h"\n')
    assert c_floors(top) == ["native/src: frame -> merkle -> frame is a circle"]


def test_includes_of_system_and_own_headers_are_not_found(tree):
    assert c_floors(tree(native__src__frame_c='#include <log.h>\n#include "frame.h"\n#include "base.h"\n')) == []


def test_a_c_file_without_a_floor_is_found(tree):
    assert c_floors(tree(native__src__attic_c="")) == ["native/src/attic.c:1: attic has no floor; give it one in C_FLOORS"]


def test_a_missing_mirror_is_found_and_a_private_name_is_mirrored_without_its_underscore(tree):
    top = tree(aegis_store___engine__a_py="", aegis_store___native_py="", native__src__log_c="", tests__engine__test_a_py="")
    (top / "aegis_store" / "codec").mkdir()
    (top / "aegis_store" / "codec" / "__init__.py").touch()
    assert mirrors(top) == [
        "aegis_store/_native.py:1: has no test; write tests/test_native.py",
        "native/src/log.c:1: has no test; write tests/native/test_log.c",
    ]


def test_a_long_file_is_found(tree):
    top = tree(native__src__log_c="\n" * LINES_MAX, aegis_store__a_py="\n" * (LINES_MAX + 1))
    assert [finding.split(":")[0] for finding in lengths(top)] == ["aegis_store/a.py"]


@pytest.mark.parametrize("word", SOFT)
def test_a_soft_spot_is_found(tree, word):
    assert len(soft_spots(tree(aegis_store__a_py=f"x = 1\n# {word} later\n"))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import time\ntime.time()",
        "import time as t\nf = t.time_ns",
        "from time import time",
        "from datetime import datetime as dt\ndt.now()",
        "import datetime\ndatetime.datetime.now()",
        "import os\nos.urandom(16)",
        "import secrets",
        "from random import choice",
        "import uuid\nuuid.uuid4()",
        "def f():\n    import pickle",
        "from marshal import loads",
        "print(1)",
        "from aegis_store._native import lib",
        "from aegis_store import _native",
    ],
)
def test_a_banned_name_is_found(tree, code):
    assert banned(tree(aegis_store__session_py=code))


def test_banned_names_are_at_home_somewhere(tree):
    top = tree(
        aegis_store__types_py="import time\ntime.time_ns()",
        aegis_store__trust__keys_py="import os\nos.urandom(32)",
        aegis_store__cli__show_py="print(1)",
        aegis_store___engine__engine_py="from aegis_store._native import lib",
        aegis_store__a_py="import time\ntime.monotonic()\nclock.time()\nrandom = draw\nrandom.x()\n'pickle'  # print()",
    )
    assert banned(top) == []


@pytest.mark.parametrize(
    "code",
    ["int n = open(path, 0);", "x = malloc (3);", "if (read(fd, b, 1) < 1) {", 'printf("%d", 1);', "abort();", "strcpy(a, b);"],
)
def test_a_banned_call_of_c_is_found(tree, code):
    assert len(banned_c(tree(native__src__frame_c=f"/* what */\n{code}\n"))) == 1


def test_calls_through_the_vfs_and_words_in_comments_are_not_found(tree):
    code = """
        v->open(v, 1); self.read(x); /* malloc( */
        log_read(l); // abort()
        fail(1, "printf(%d)", 2);
        int (*open)(vfs *self);
    """
    assert banned_c(tree(native__src__frame_c=code, native__src__vfs_posix_c="open(a, 1);")) == []
