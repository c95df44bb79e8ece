from __future__ import annotations

import json
import statistics

import ormsgpack
import pytest
import zstandard

from aegis_store.bench import sessions
from aegis_store.bench.sessions import CODING, DIALOGUE, Session, families, made_up, read
from aegis_store.errors import InvalidArgument


def lines(*sources: str) -> bytes:
    return b"".join(
        json.dumps({"source": source, "session_id": str(n), "messages": [{"role": "user"}]}).encode() + b"\n"
        for n, source in enumerate(sources)
    )


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.zst"])
def test_recorded_sessions_are_read_compressed_or_not(tmp_path, name):
    raw = lines("a", "a")
    (tmp_path / name).write_bytes(zstandard.compress(raw) if name.endswith(".zst") else raw)
    assert list(read(tmp_path / name)) == [Session("a", str(n), [{"role": "user"}]) for n in range(2)]


def test_a_line_that_is_no_session_is_named(tmp_path):
    (tmp_path / "s.jsonl").write_bytes(lines("a") + b'{"source": 1}\n')
    with pytest.raises(InvalidArgument, match="line 2 is no session"):
        list(read(tmp_path / "s.jsonl"))


def test_the_state_after_a_message_has_all_up_to_it():
    session = Session("a", "1", [{"role": "user", "content": "x" * 400}, {"role": "tool", "content": [1]}, "no dict"])
    first, second, third = session.states()
    assert first == {"messages": session.messages[:1], "position": 0, "scratchpad": "x" * 300}
    assert second == {"messages": session.messages[:2], "position": 1, "scratchpad": ""}
    assert third["messages"] == session.messages


def test_of_a_large_file_the_same_sessions_are_taken_each_time(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(lines(*["tau-bench/airline"] * 170, *["mini-swe-agent"] * 5, *["others"] * 70))
    chosen = families(path)
    assert {name: len(found) for name, found in chosen.items()} == {"tau-bench": 60, "mini-swe-agent": 5, "others": 60}
    assert chosen == families(path)
    assert [each.session_id for each in chosen["tau-bench"]] != [str(n) for n in range(100, 160)]


@pytest.mark.parametrize("counts", [(170, 190, 70), (130, 10, 130)])
def test_what_is_held_out_is_none_of_what_is_measured(tmp_path, counts):
    path = tmp_path / "s.jsonl"
    tau, coding, others = counts
    path.write_bytes(lines(*["tau-bench/airline"] * tau, *["mini-swe-agent"] * coding, *["others"] * others))
    for where in (path, None):
        measured, held_out = families(where), families(where, held_out=True)
        assert held_out
        for name, found in held_out.items():
            assert len(found) == len(measured[name]) or where is not None
            assert not {each.session_id for each in found} & {each.session_id for each in measured[name]}


@pytest.mark.parametrize(
    ("family", "count", "messages", "state_bytes", "compressed"),
    # What was counted in the recorded ones: 26 messages, 13 kB and 1/3.2; 71 messages, 60 kB and 1/3.7.
    [(DIALOGUE, 20, (20, 33), (10_000, 17_000), (2.5, 3.8)), (CODING, 10, (55, 90), (40_000, 80_000), (3.2, 4.4))],
)
def test_made_up_sessions_have_the_shape_of_recorded_ones(family, count, messages, state_bytes, compressed):
    made = made_up(family, count)
    states = [ormsgpack.packb(state) for session in made for state in session.states()]
    sample = states[::7]
    assert messages[0] < statistics.mean(len(session.messages) for session in made) < messages[1]
    assert state_bytes[0] < statistics.mean(map(len, states)) < state_bytes[1]
    assert compressed[0] < sum(map(len, sample)) / sum(len(zstandard.compress(state)) for state in sample) < compressed[1]


def test_made_up_sessions_are_the_same_everywhere_and_taken_where_there_is_no_file():
    chosen = families(None)
    assert chosen[DIALOGUE][:2] == made_up(DIALOGUE, 2)
    assert {name: len(found) for name, found in chosen.items()} == sessions.MADE_UP
