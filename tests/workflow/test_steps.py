"""A call is done up to its end, and hears of a wait that failed."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.errors import NotFound
from aegis_store.workflow.steps import Steps, Wait, run


def test_what_is_waited_for_is_durable_then_settled_then_gone_on_from(tmp_path):
    done = []
    with aegis_store.open(tmp_path / "state") as store:

        def call() -> Steps[str]:
            pending = store.session("s").submit({"x": 1})
            yield Wait(Tier.SESSION, pending.ref.index, lambda: done.append(store.records.size() > pending.ref.index))
            done.append("after")
            return "result"

        assert run(store, call()) == "result"
        assert done == [True, "after"]


def test_a_wait_that_fails_is_thrown_into_the_call(tmp_path):
    heard = []
    with aegis_store.open(tmp_path / "state") as store:

        def call() -> Steps[None]:
            try:
                yield Wait(Tier.SESSION, 99, lambda: heard.append("settled"))
            except NotFound:
                heard.append("failed")
                raise

        with pytest.raises(NotFound):
            run(store, call())
        assert heard == ["failed"]


def test_a_call_without_a_wait_is_one_too(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:

        def call() -> Steps[int]:
            return 7
            yield

        assert run(store, call()) == 7
