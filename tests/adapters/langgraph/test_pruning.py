"""Which ancestors a checkpoint needs."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph.pruning import ancestors_needed
from aegis_store.adapters.langgraph.rows import Opener, Row

SERDE = JsonPlusSerializer(allowed_msgpack_modules=None)


def row(name: str, parent: str | None, *, has=(), counts=(), written=("m", "n")) -> Row:
    """A checkpoint with the values of `has`, whose metadata counts for `counts`."""
    about = {"counters_since_delta_snapshot": dict.fromkeys(counts, (1, 1))} if counts else {}
    return Row(
        id=name,
        parent=parent,
        checkpoint=SERDE.dumps_typed({"channel_versions": dict.fromkeys(written, "1")}),
        metadata=SERDE.dumps_typed(about),
        channels={channel: ("null", b"") for channel in has},
    )


@pytest.mark.parametrize(
    ("rows", "needed"),
    [
        pytest.param([row("a", None), row("b", "a")], "", id="no delta channel"),
        pytest.param([row("a", None, has="m"), row("b", "a"), row("c", "b", counts="m")], "ba", id="back to the value"),
        pytest.param([row("a", None), row("b", "a", has="m"), row("c", "b", counts="m")], "b", id="not beyond it"),
        pytest.param([row("a", None), row("b", "a"), row("c", "b", counts="m")], "ba", id="to the start where there is none"),
        pytest.param([row("a", None), row("b", "a", has="m", counts="m")], "", id="it has the value itself"),
        pytest.param([row("a", None), row("b", "a", counts="x")], "", id="never written"),
        pytest.param(
            [row("a", None, has="n"), row("b", "a", has="m"), row("c", "b", counts="mn")], "ba", id="each channel's own"
        ),
        pytest.param([row("b", "gone", counts="m")], "", id="an ancestor that is gone"),
        pytest.param([row("a", "b"), row("b", "a", counts="m")], "a", id="a circle"),
    ],
)
def test_the_ancestors_of_the_last_one(rows, needed):
    by_id = {each.id: each for each in rows}
    assert "".join(each.id for each in ancestors_needed(rows[-1], by_id.get, Opener(SERDE))) == needed
