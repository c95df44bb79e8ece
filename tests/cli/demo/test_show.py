from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from aegis_store.cli.demo.facts import Cost, Damage, Flip, Point, Run, Source
from aegis_store.cli.demo.show import Show, cost_rows, damage_lines, is_ahead
from aegis_store.cli.demo.tasks import RecordedPlan, RecordedTask, Recording
from aegis_store.types import Tier
from aegis_store.verification import Result, TierResult


def at(step, number=1, session="a-session-with-a-name"):
    return Point(number=number, session=session, step=step)


KILLED = Run(
    resumed=at(1),
    acknowledged=163,
    last=at(163),
    heard=at(162),
    killed_after_us=1310.0,
    latest=at(164),
    reopened_seconds=0.0412,
    cut_bytes=0,
)
ENDED = Run(resumed=at(165), acknowledged=36, last=at(200))
FLIP = Flip(file="session/00000001.seg", offset=152331, before=0x2F, after=0x2E, record=361, frame_offset=151900)
DAMAGE = Damage(
    flip=FLIP,
    victim=at(359),
    opened=True,
    refusal="record 361 is damaged (checksum of segment 00000001.seg at byte 151900)",
    findings=[(361, "record 361 is damaged (checksum of segment 00000001.seg at byte 151900)")],
    refused=[at(359), at(360), at(361)],
    served=497,
)
COST = Cost(
    checkpoints=500,
    state_bytes=24_000_000,
    disk_bytes=3_600_000,
    median_us=2244.0,
    p99_us=18081.0,
    syncs=521,
    reopened_seconds=[0.0412, 0.0384, 0.041],
    verified_seconds=0.31,
    file_system="ext4",
    processors=2,
    sync_median_us=1950.0,
    sync_p99_us=4010.0,
    sources=[
        Source(
            name="a/source/with/quite/a/long/name/in/it",
            sessions=22,
            sessions_complete=21,
            checkpoints=500,
            state_bytes=24_000_000,
            frame_bytes=3_000_000,
            median_us=2244.0,
        )
    ],
)
RESULT = Result(
    tiers=(
        TierResult(
            tier=Tier.SESSION, records=502, bytes=3_500_000, root=bytes(range(32)), segments=12, segments_sealed=11,
            segments_signed=11, signatures=502,
        ),
    ),
    findings=(),
    deep=True,
)  # fmt: skip


def show(width, tasks, plan, cost=COST, damage=DAMAGE):
    out, err = io.StringIO(), io.StringIO()
    with Show(Console(file=out, width=width, highlight=False), Console(file=err, width=width)) as teller:
        teller.begins(plan, tasks)
        teller.works(at(5), 0.1)
        teller.ran(KILLED)
        teller.ran(ENDED)
        teller.held(500, 3)
        teller.verified(RESULT, 0.31)
        teller.damaged(damage)
        teller.cost(cost)
    assert err.getvalue() == ""
    return out.getvalue()


@pytest.fixture
def recorded():
    messages = [{"role": "user", "content": "x"}] * 100
    tasks = [RecordedTask(Recording(source=f"s{n}", session_id=f"i{n}", messages=messages)) for n in range(20)]
    return tasks, RecordedPlan(path="/nowhere")


def test_it_is_readable_in_80_columns_and_has_no_trailing_spaces(library, recorded):
    for text in (show(80, library.tasks(), library), show(80, *recorded)):
        assert max(len(line) for line in text.splitlines()) <= 80
        assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_lines_do_not_get_too_long_on_a_wide_terminal(library):
    assert 80 < max(len(line) for line in show(200, library.tasks(), library).splitlines()) <= 96


def test_the_runs_are_a_table(library):
    rows = [line.split() for line in show(80, library.tasks(), library).splitlines()]
    assert ["1", "1", "163", "162", "+", "1.31", "ms", "164", "*", "41.2", "ms"] in rows
    assert ["2", "165", "36", "not", "killed", "200"] in rows


def test_places_of_sessions_are_pairs(recorded):
    text = show(80, *recorded)
    assert "1 · 162 + 1.31 ms" in text
    assert "20 sessions of 20 sources, 2 000 messages" in " ".join(text.split())


def test_a_long_name_of_a_source_gives_way_to_the_figures(recorded):
    row = next(line for line in show(80, *recorded).splitlines() if "a/source" in line)
    assert row.split()[1:] == "500 48.0 kB 6.00 kB 12.5 % 2 244 µs".split()
    assert "a/source/with/quite/a/long/name/in/it " in show(120, *recorded)


def test_a_checkpoint_on_its_way_is_marked_and_explained(library):
    assert is_ahead(KILLED)
    assert not is_ahead(msgspec.structs.replace(KILLED, latest=KILLED.last))
    assert not is_ahead(ENDED)
    assert "* was on its way" in show(80, library.tasks(), library)


def test_the_damage_is_told_with_file_byte_record_and_checkpoint():
    text = " ".join(damage_lines(DAMAGE, unit="file"))
    assert "session/00000001.seg, byte 152331: 2f became 2e" in text
    assert "record 361, whose frame begins at byte 151900: the checkpoint of file 359." in text
    assert "3 checkpoints refused (file 359-361), and the 497 others served" in text
    text = " ".join(damage_lines(DAMAGE, unit="message"))
    assert 'message 359 of session "a-session-with-a-name"' in text
    assert '(session "a-session-with-a-name", message 359-361)' in text


def test_many_findings_are_cut_short():
    many = msgspec.structs.replace(DAMAGE, findings=[(n, f"record {n} is damaged") for n in range(9)])
    lines = damage_lines(many, unit="file")
    assert "  record 2 is damaged" in lines
    assert "  record 3 is damaged" not in lines
    assert "  and 6 more" in lines


def test_a_store_that_does_not_open_serves_nothing():
    lines = damage_lines(msgspec.structs.replace(DAMAGE, opened=False, findings=[], served=0), unit="file")
    assert "The store refuses to open:" in lines
    assert "Nothing is served from it, so nothing wrong is." in lines
    assert not any("others served" in line for line in lines)


def test_the_bill():
    rows = dict(cost_rows(COST))
    assert rows["checkpoints"] == "500, with 521 syncs"
    assert rows["a durable checkpoint"] == "2 244 µs median, 18 081 µs p99"
    assert rows["  the disk alone"] == "1 950 µs median, 4 010 µs p99: 4 KiB and a sync, ext4"
    assert rows["states"] == "24.0 MB, 48.0 kB each"
    assert rows["on disk, everything"] == "3.60 MB, 7.20 kB a checkpoint"
    assert rows["  of the states"] == "15.0 %"
    assert rows["opened after a kill"] == "41.2 ms, 38.4 ms, 41.0 ms"


def test_figures_from_memory_say_so(library):
    assert "memory" not in show(80, library.tasks(), library)
    in_memory = msgspec.structs.replace(COST, file_system="tmpfs")
    assert "This is tmpfs: memory" in show(80, library.tasks(), library, cost=in_memory)


def test_on_a_terminal_a_bar_shows_the_work_and_is_gone_afterwards(library):
    out, err = io.StringIO(), io.StringIO()
    terminal = Console(file=err, width=80, force_terminal=True, legacy_windows=False)
    with Show(Console(file=out, width=80), terminal) as teller:
        teller.begins(library, library.tasks())
        teller.works(at(5), 0.1)
        teller.ran(KILLED)
        teller.works(at(170), 0.6)
    shown = err.getvalue()
    assert "run 2 of 4: file 170 saved" in shown
    # The table until then is above the bar; at the end both are erased, and the cursor is back.
    assert "162 + 1.31 ms" in shown
    assert shown.rindex("\x1b[2K") > shown.rindex("file 170 saved")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
