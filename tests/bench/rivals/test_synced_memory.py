from __future__ import annotations

import pytest

from aegis_store.bench.rivals import synced_memory as module
from aegis_store.bench.rivals.synced_memory import RECORD_BYTES, synced_memory

pytest.importorskip("langgraph.checkpoint.memory", reason="not installed: pip install '.[test]'")


@pytest.mark.parametrize("signs", [False, True])
def test_each_call_is_written_synced_and_kept_in_memory(tmp_path, monkeypatch, signs):
    from langgraph.checkpoint.base import empty_checkpoint

    synced, signed, place = [], [], tmp_path / "file"
    monkeypatch.setattr(module.os, "fdatasync", lambda descriptor: synced.append(place.read_bytes().rstrip(b"\0")))
    monkeypatch.setattr(module.FileSigner, "sign", lambda self, message: signed.append(message))
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    with synced_memory(place, signs=signs) as saver:
        made = saver.put(config, empty_checkpoint(), {"source": "loop", "step": 1, "parents": {}}, {})
        saver.put_writes(made, [("channel", 1)], "task")
        found = saver.get_tuple(made)
    assert [each[2] for each in found.pending_writes] == [1]
    assert [len(each) for each in synced] == [RECORD_BYTES, 2 * RECORD_BYTES]
    assert len(signed) == (2 if signs else 0)
