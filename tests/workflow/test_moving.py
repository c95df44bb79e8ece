"""From store to store: what is taken in is what was given out, once, however often it is cut short."""

from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store import Rule
from aegis_store.codec import tagged
from aegis_store.errors import BadSignature, Corrupt, NewerFormat
from aegis_store.trust.signer import FileSigner
from aegis_store.workflow import DurableWorkflowEngine, checking, moving
from tests.stores import noise
from tests.workflow.orders import Order, moved


@pytest.fixture
def data(tmp_path):
    """An export with a pruned beginning, checkpoints between, a way back, and transitions that were not saved at its end."""
    with aegis_store.open(tmp_path / "from") as store:
        order = moved(store, "o", "paid", "packed")
        engine, loose = DurableWorkflowEngine(store), DurableWorkflowEngine(store, checkpoint_on_transition=False)
        order.lines.append("tea")
        engine.checkpoint(order)
        loose.transition(order, "lost")
        order = engine.load(Order, "o")
        engine.transition(order, "sent")
        loose.transition(order, "back", request_id="r")
        store.retain([Rule(keep_last=3)])
        yield engine.export("o")


def resigned(data: bytes, change) -> bytes:
    """An export that somebody else has changed and signed."""
    body = tagged.loads(data.split(b"\n")[0])
    change(body)
    line, signer = tagged.dumps(body), FileSigner("x", noise(32))
    seal = {
        "agent": "x",
        "public_key": signer.public_key.hex(),
        "signature": signer.sign(b"aegis-store/v0/workflow-export\n" + line).hex(),
    }
    return line + b"\n" + msgspec.json.encode(seal) + b"\n"


def test_everything_arrives(tmp_path, data):
    with aegis_store.open(tmp_path / "to") as store:
        engine = DurableWorkflowEngine(store)
        assert engine.import_(data) == "o"
        assert checking.integrity(store, "o") == (True, None)
        body = tagged.loads(data.split(b"\n")[0])
        assert [each.hash for each in engine.history("o")] == [wire["hash"] for _, wire in body["transitions"]]
        assert [each.state for each in store.session("workflow/o").history()][::-1] == [
            each["content"] for each in body["checkpoints"]
        ]
        order = engine.load(Order, "o")
        assert (order.state, order.lines) == ("sent", ["tea"])
        assert engine.transition(order, "done").number == len(body["transitions"]) + 1  # behind the way back from what was lost
        assert engine.verify_integrity("o") == (True, None)


@pytest.mark.parametrize("waits", range(1, 8))
def test_an_import_that_was_cut_short_goes_on_when_it_is_repeated(tmp_path, data, waits):
    with aegis_store.open(tmp_path / "to") as store:
        engine = DurableWorkflowEngine(store)
        steps = moving.import_(store, engine._moves, data, public_key=None)
        for _ in range(waits):
            try:
                wait = next(steps)
            except StopIteration:
                break
            store.records.engine.commit(wait.tier, wait.record)
            wait.settle()
        steps.close()
    with aegis_store.open(tmp_path / "to") as store:
        engine = DurableWorkflowEngine(store)
        assert engine.import_(data) == engine.import_(data) == "o"
        assert checking.integrity(store, "o") == (True, None)
        assert len(list(store.session("workflow/o").history())) == 3
        assert [each.to_state for each in engine.history("o")] == ["new", "paid", "packed", "lost", "packed", "sent", "back"]


CHANGES = {
    "another state": lambda body: body["transitions"][1][1].update(to="x"),
    "another actor": lambda body: body["transitions"][1].__setitem__(0, "x"),
    "another workflow": lambda body: body.update(workflow="p"),
    "one left out": lambda body: body["transitions"].pop(1),
    "two swapped": lambda body: body["checkpoints"].reverse(),
    "a checkpoint of another state": lambda body: body["checkpoints"][0].update(state="x"),
    "a checkpoint of no transition": lambda body: body["checkpoints"][-1].update(transition=99),
    "no checkpoint": lambda body: body["checkpoints"].clear(),
    "not an export": lambda body: body.pop("transitions"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_does_not_hold_together_is_refused_before_anything_is_written(tmp_path, data, change):
    with aegis_store.open(tmp_path / "to") as store:
        with pytest.raises(Corrupt):
            DurableWorkflowEngine(store).import_(resigned(data, change))
        assert store.records.size() == 0


def test_another_version_or_signature_is_refused(tmp_path, data):
    with aegis_store.open(tmp_path / "to") as store:
        engine = DurableWorkflowEngine(store)
        with pytest.raises(NewerFormat):
            engine.import_(resigned(data, lambda body: body.update(version=1)))
        with pytest.raises(BadSignature, match="is not what"):
            engine.import_(data.replace(b"tea", b"pie"))
        for broken in (b"", data[:-1], data + b"x", data.split(b"\n")[0] + b"\n{}\n"):
            with pytest.raises(Corrupt):
                engine.import_(broken)
        assert store.records.size() == 0
