"""kill -9 between a put and its writes, and anywhere else: what the saver has said is there, and the thread goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from tests.adapters.langgraph import killed
from tests.adapters.langgraph.made_up import checkpoint, config
from tests.crash.test_kill import TOP

RUN = "import sys; sys.path.append(sys.argv[1]); from tests.adapters.langgraph.killed import main; main(*sys.argv[2:])"


@pytest.mark.parametrize("lines", [2, 151])
def test_what_the_saver_has_said_is_there(place, lines):
    for run in ("first", "second"):
        told: list[list[str]] = []
        command = [sys.executable, "-c", RUN, str(TOP), str(place), run]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                told.append(line.split())
                if len(told) == lines:
                    process.kill()  # what it has said until it is dead is heard as well
        assert len(told) >= lines
        with aegis_store.open(place) as store:
            saver = AegisSaver(store)
            put = [(name, int(step)) for what, name, step in told if what == "put"]
            for name, step in put:
                found = saver.get_tuple(config(run, name))
                assert found.checkpoint["channel_values"] == {"value": killed.value_of(step)}
                assert found.metadata["step"] == step
            listed = [each.metadata["step"] for each in saver.list(config(run))]
            assert listed == list(range(len(listed)))[::-1]
            assert len(listed) - len(put) in (0, 1)  # one more may have landed unheard
            for what, name, step in told:
                if what == "writes" and (name, int(step)) in put:
                    value = killed.value_of(int(step))
                    assert saver.get_tuple(config(run, name)).pending_writes == [("task", "value", value)]
            newest = saver.get_tuple(config(run))
            before = config(run) if newest is None else newest.config
            saver.put(before, checkpoint({"value": "gone on"}, version="later"), {"step": len(listed)}, {})
            assert saver.get_tuple(config(run)).checkpoint["channel_values"] == {"value": "gone on"}
            assert store.verify(deep=True).findings == ()
