from __future__ import annotations

from aegis_store.bench import commit_n
from aegis_store.bench.commit_n import FROM_PYTHON, LMDB, SQLITE, SQLITE_LOCKED
from tests.bench.facts import tiny


def test_every_thread_of_every_peer_appends_and_all_are_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")  # what is compiled has its test with one thread
    found = commit_n.run(tiny(tmp_path))
    (threads,) = commit_n.THREADS_QUICK
    samples = found.samples[f"{threads} threads"]
    assert all(each[0].operations >= threads for each in samples.values())
    compared = {each.peer: each.wanted for each in found.figures if each.ours == FROM_PYTHON}
    assert {SQLITE, SQLITE_LOCKED, LMDB} <= compared.keys()
    assert compared[SQLITE] == ">= 8"
