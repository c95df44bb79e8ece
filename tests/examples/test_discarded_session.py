"""examples/discarded_session.py does what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aegis_store
from aegis_store.recovery import Decision, recovery_of

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "discarded_session.py"


def test_it_is_discarded_refused_and_begun_anew(tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", EXAMPLE, tmp_path], capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "to the owner: session order-17 is discarded, the failure was a security event (incident 1)"
    assert lines[1].startswith("held as evidence: checkpoint 1, hold ")
    assert [each.split(" can't")[0] for each in lines[2:4]] == ["refused: session 'order-17'", "refused: session 'order-17~2'"]
    assert lines[4].startswith("begun anew: order-17~2, because the newest checkpoint was discarded as evidence before")
    assert lines[4].endswith("calls done before: charge/17")
    assert [each.split()[1] for each in lines[5:]] == [
        "recovery.decided", "recovery.held", "recovery.notice", "recovery.act", "recovery.decided", "recovery.act",
    ]  # fmt: skip
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert store.verify(deep=True).ok
        assert recovery_of(store, "order-17").decision is Decision.RESTART
        assert [each.ordinal for each in store.holds()] == [1]
