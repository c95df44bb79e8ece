from __future__ import annotations

import json

import pytest
import zstandard

from aegis_store.bench.sessions import Recorded, read


@pytest.mark.parametrize("name", ["s.jsonl", "s.jsonl.zst"])
def test_recorded_sessions_are_read_compressed_or_not(tmp_path, name):
    lines = b"".join(
        json.dumps({"source": "a", "session_id": str(n), "messages": [{"role": "user"}]}).encode() + b"\n" for n in range(2)
    )
    (tmp_path / name).write_bytes(zstandard.compress(lines) if name.endswith(".zst") else lines)
    assert list(read(tmp_path / name)) == [Recorded("a", str(n), [{"role": "user"}]) for n in range(2)]
