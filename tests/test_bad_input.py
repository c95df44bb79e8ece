"""Whatever is handed in: a typed error that says what and what next, or the right behaviour; and nothing acknowledged is lost.

Each case does its worst to a store that holds acknowledged checkpoints, and looks afterwards that they are all there.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Config
from aegis_store.errors import (
    AegisError,
    Corrupt,
    Foreign,
    InvalidArgument,
    KeysMissing,
    KeysWrong,
    Locked,
    NewerFormat,
    NoSpace,
    NotAStore,
    OutcomeUnknown,
    Poisoned,
    StateTooLarge,
    StorageError,
    UsedAfterFork,
)
from tests.stores import SMALL, edit, fill, noise, segments, snapshot, states

#: Names that a path, a C string, an encoding or a column width would break on.
NAMES = [
    "",
    " ",
    ".",
    "..",
    "../../etc/passwd",
    "a/b\\c",
    "a\0b",
    "\0",
    "line\nbreak\r\n",
    "\U0001f600\U0001f3f4\U000e0067\U000e007f",
    "e\u0301",
    "\u00e9",
    "\ud800",
    "tail \udfff",
    "\u202eright to left",
    "x" * 10_240,
    "\U0001f600" * 10_240,
    "\ud800" * 10_240,
    "CON",
    "session-begin",
    "%s%n{0}",
    "'; DROP TABLE checkpoints; --",
]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def filled(place):
    """A closed store of several segments, and what it must still hold whatever happens."""
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        saved = fill(store, "s", each=60)
    return saved["s"]


def holds(place: Path, saved: list[object]) -> None:
    with aegis_store.open(place, mode="r") as store:
        assert states(store, "s") == saved
        assert store.verify(deep=True).ok


# ---- names and states -------------------------------------------------------------------------------------------------------


def test_a_session_has_any_name_and_names_do_not_mix(place):
    with aegis_store.open(place, config=SMALL) as store:
        for number, name in enumerate(NAMES):
            store.session(name).checkpoint(number, request_id=f"r{number}")
            store.session(name).fork(f"fork of {number}").checkpoint(-number)
    for mode in ("a", "r"):
        with aegis_store.open(place, mode=mode) as store:
            assert [store.session(name).latest().state for name in NAMES] == list(range(len(NAMES)))
            assert {info.id for info in store.sessions()} >= set(NAMES)
            assert [store.session(f"fork of {number}").info().forked_from for number in range(len(NAMES))] == NAMES
            assert [info.id for info in store.sessions(prefix="\ud800")] == ["\ud800", "\ud800" * 10_240]
    assert not [path for path in place.rglob("*") if path.name in NAMES]


@pytest.mark.parametrize("agent", NAMES)
def test_an_agent_has_any_name(place, agent):
    with aegis_store.open(place, agent=agent, config=SMALL) as store:
        store.session("s").checkpoint(1)
    with aegis_store.open(place) as store:
        assert store.session("s").latest().agent == agent


@pytest.mark.parametrize("state", [b"", "", None, [], {}], ids=repr)
def test_an_empty_state_is_a_state(place, state):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(state)
        assert store.session("s").latest().state == state


def test_a_state_of_a_hundred_megabytes_comes_back(place):
    large = noise(100 << 20)
    with aegis_store.open(place) as store:
        store.session("s").checkpoint({"large": large, "small": 1})
        store.session("s").checkpoint("after")
    with aegis_store.open(place, mode="r") as store:
        assert store.session("s").get(0).state == {"large": large, "small": 1}
        assert store.verify(deep=True).ok


def test_a_state_over_the_limit_is_refused_and_the_session_goes_on(place):
    with aegis_store.open(place, config=Config(state_limit_bytes=1 << 20)) as store:
        session = store.session("s")
        session.checkpoint(1)
        with pytest.raises(StateTooLarge, match=r"has 2,097,157 bytes, and the limit for a state is 1,048,576"):
            session.checkpoint(bytes(2 << 20))
        session.checkpoint(2)
        assert states(store, "s") == [1, 2]


# ---- places -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["a", "r", "x"])
@pytest.mark.parametrize("kind", ["file", "folder of something else", "pipe", "symlink into nothing"])
def test_what_is_no_store_is_refused_by_name_and_left_alone(tmp_path, kind, mode):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("not a store")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "symlink into nothing":
        place.symlink_to(tmp_path / "nowhere")
    else:
        place.mkdir()
        (place / "thesis.tex").write_text("precious")
    before = snapshot(tmp_path)
    with pytest.raises((NotAStore, StorageError)) as caught:
        aegis_store.open(place, mode=mode)
    assert str(place) in str(caught.value)
    after = snapshot(tmp_path)
    assert {name: found for name, found in after.items() if not name.startswith("place.keys") and name != "."} == {
        name: found for name, found in before.items() if name != "."
    }


def test_keys_that_are_missing_or_of_another_store_are_named(place, tmp_path, filled):
    with aegis_store.open(tmp_path / "other") as store:
        store.session("s").checkpoint(1)
    with pytest.raises(KeysMissing) as caught:
        aegis_store.open(place, keys=tmp_path / "nowhere")
    assert "keys=" in caught.value.hint
    with pytest.raises(KeysWrong):
        aegis_store.open(place, keys=tmp_path / "other.keys")
    holds(place, filled)


def test_a_newer_format_is_named_with_what_to_do(place, filled):
    manifest = place / "MANIFEST"
    kept = manifest.read_bytes()

    def newer(data: bytearray) -> None:
        at = data.find(b"AEGISMAN")
        while at >= 0:
            length = int.from_bytes(data[at + 12 : at + 16], "little")
            data[at + 8] = 1
            data[at + length - 8 : at + length - 4] = crc32c(data[at : at + length - 8]).to_bytes(4, "little")
            at = data.find(b"AEGISMAN", at + 8)

    edit(manifest, newer)
    for mode in ("a", "r"):
        with pytest.raises(NewerFormat) as caught:
            aegis_store.open(place, mode=mode)
        assert "upgrade" in caught.value.hint
    manifest.write_bytes(kept)
    holds(place, filled)


def crc32c(data: bytes) -> int:
    """Castagnoli's, bit by bit (RFC 3720, B.4)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


@pytest.mark.parametrize("how", ["truncated", "foreign", "missing", "swapped"])
def test_a_segment_that_is_not_what_it_was_is_named(place, tmp_path, filled, how):
    files = segments(place)
    assert len(files) > 2
    kept = {file: file.read_bytes() for file in files}
    if how == "truncated":
        edit(files[0], lambda data: bytes(data[: len(data) // 2]))
    elif how == "missing":
        files[0].unlink()
    elif how == "swapped":
        files[0].write_bytes(kept[files[1]])
    else:
        with aegis_store.open(tmp_path / "other", config=SMALL) as store:
            fill(store, "s", each=60)
        shutil.copyfile(segments(tmp_path / "other")[0], files[0])
    try:
        with aegis_store.open(place, mode="r") as store:
            assert not store.verify().ok
            assert store.session("s").latest().state == filled[-1]
            with pytest.raises(Corrupt):
                list(store.session("s").history())
    except AegisError as error:
        assert isinstance(error, Corrupt | Foreign | StorageError)
        assert "00000000.seg" in str(error)
    for file, data in kept.items():
        file.write_bytes(data)
    holds(place, filled)


# ---- space and rights -------------------------------------------------------------------------------------------------------


def in_child(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )


FILL_UP = """
import os, sys, aegis_store
from aegis_store.errors import NoSpace, OutcomeUnknown, Poisoned
acknowledged = 0
with aegis_store.open(sys.argv[1]) as store:
    session = store.session("s")
    try:
        for number in range(100_000):
            session.checkpoint({"number": number, "noise": os.urandom(65536)})
            acknowledged = number + 1
    except (NoSpace, OutcomeUnknown, Poisoned) as error:
        print(type(error).__name__)
        assert session.latest().state["number"] == acknowledged - 1
    print(acknowledged, flush=True)
"""


def test_a_file_that_may_not_grow_refuses_a_checkpoint_and_keeps_the_others(place):
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))

    done = in_child(FILL_UP, str(place), preexec_fn=limit)
    error, acknowledged = done.stdout.split()
    assert error == "NoSpace", done.stderr
    with aegis_store.open(place) as store:
        assert [each.state["number"] for each in store.session("s").history()][::-1] == list(range(int(acknowledged)))
        store.session("s").checkpoint("there is space again")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_refuses_a_checkpoint_and_works_again_when_there_is_space(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        (disk / "ballast").write_bytes(bytes(1 << 20))
        with aegis_store.open(disk / "state", keys=tmp_path / "keys", config=Config(segment_bytes=1 << 20)) as store:
            session, saved = store.session("s"), []
            with pytest.raises(NoSpace) as caught:
                for number in range(1000):
                    session.checkpoint(noise(20_000, number))
                    saved.append(noise(20_000, number))
            assert caught.value.can_retry
            assert session.latest().state == saved[-1]
            (disk / "ballast").unlink()
            session.checkpoint("there is space again")
            assert states(store, "s") == [*saved, "there is space again"]
            assert store.verify(deep=True).ok
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# ---- processes --------------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_holds_it(place, filled):
    with aegis_store.open(place) as store:
        done = in_child(
            "import sys, aegis_store\n"
            "try: aegis_store.open(sys.argv[1])\n"
            "except aegis_store.errors.Locked as error: print(error); sys.exit(error.exit_code)",
            str(place),
        )
        store.session("s").checkpoint("goes on")
        with pytest.raises(Locked):
            aegis_store.open(place)
    assert done.returncode == 4
    assert str(os.getpid()) in done.stdout
    holds(place, [*filled, "goes on"])


def test_a_forked_child_is_refused_and_harms_nothing(place, filled):
    with aegis_store.open(place) as store:
        session = store.session("s")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            said = []
            for use in (
                lambda: session.checkpoint(1),
                session.latest,
                store.head,
                lambda: list(store.sessions()),
                store.verify,
            ):
                try:
                    use()
                    said.append("nothing")
                except UsedAfterFork:
                    said.append("refused")
                except BaseException as error:
                    said.append(type(error).__name__)
            os.write(write, " ".join(said).encode())
            os._exit(0)
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as pipe:
            assert pipe.read().split() == ["refused"] * 5
        session.checkpoint("goes on")
    holds(place, [*filled, "goes on"])


def test_a_failed_write_is_said_and_what_was_acknowledged_is_there(place, filled):
    """The descriptor is taken away from under the engine: every write of this process to the log fails from then on."""
    code = (
        "import os, sys, aegis_store\n"
        "store = aegis_store.open(sys.argv[1])\n"
        "session = store.session('s')\n"
        "session.checkpoint('one more')\n"
        "for name in os.listdir('/proc/self/fd'):\n"
        "    try: target = os.readlink(f'/proc/self/fd/{name}')\n"
        "    except OSError: continue\n"
        "    if target.endswith('.seg'): os.dup2(os.open(target, os.O_RDONLY), int(name))\n"
        "said = []\n"
        "for number in range(3):\n"
        "    try: session.checkpoint(number)\n"
        "    except aegis_store.AegisError as error: said.append(type(error).__name__)\n"
        "print(*said, session.latest().state, flush=True)\n"
        "os._exit(0)\n"
    )
    done = in_child(code, str(place))
    first, *later = done.stdout.split()
    assert first in {OutcomeUnknown.__name__, NoSpace.__name__}, done.stderr
    assert later[-2:] == ["one", "more"]
    assert set(later[:-2]) <= {Poisoned.__name__, NoSpace.__name__}
    with aegis_store.open(place) as store:
        assert states(store, "s")[: len(filled) + 1] == [*filled, "one more"]


def test_what_is_no_argument_is_an_invalid_argument(place, filled):
    with aegis_store.open(place) as store:
        for use in (
            lambda: store.session(7),
            lambda: store.session(b"bytes"),
            lambda: store.session("s", agent=7),
            lambda: store.head("nowhere"),
            lambda: store.sessions(limit=-1),
            lambda: store.session("s").history(limit=-1),
        ):
            with pytest.raises(InvalidArgument):
                use()
    for wrong in ({"mode": "w"}, {"mode": "rb"}, {"agent": None}, {"keys": ""}):
        with pytest.raises(InvalidArgument):
            aegis_store.open(place, **wrong)
    holds(place, filled)
