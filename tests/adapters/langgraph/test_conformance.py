"""LangGraph's own suite for savers, whole: by the async methods, and by the sync ones."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryDirectory

import pytest

from tests.adapters.langgraph.conftest import REASON, UNSYNCED

conformance = pytest.importorskip("langgraph.checkpoint.conformance", reason=REASON)

from aegis_store.adapters.langgraph import AegisSaver  # noqa: E402


class Sync(AegisSaver):
    """Whose async methods are the sync ones."""

    async def aput(self, *arguments, **options):
        return self.put(*arguments, **options)

    async def aput_writes(self, *arguments, **options):
        return self.put_writes(*arguments, **options)

    async def aget_tuple(self, *arguments, **options):
        return self.get_tuple(*arguments, **options)

    async def alist(self, *arguments, **options):
        for each in self.list(*arguments, **options):
            yield each

    async def adelete_thread(self, *arguments, **options):
        return self.delete_thread(*arguments, **options)

    async def adelete_for_runs(self, *arguments, **options):
        return self.delete_for_runs(*arguments, **options)

    async def acopy_thread(self, *arguments, **options):
        return self.copy_thread(*arguments, **options)

    async def aprune(self, *arguments, **options):
        return self.prune(*arguments, **options)


#: Tests by capability, as of version 0.0.2.
EXPECTED = {
    "put": 17, "put_writes": 10, "get_tuple": 10, "list": 16, "delete_thread": 5,
    "delete_for_runs": 7, "copy_thread": 8, "prune": 8,
}  # fmt: skip


@pytest.mark.parametrize("kind", [AegisSaver, Sync], ids=["async", "sync"])
def test_every_test_of_the_suite_passes(kind):
    async def savers():
        with TemporaryDirectory() as folder:
            async with kind.from_path(f"{folder}/state", config=UNSYNCED) as saver:
                yield saver

    registered = conformance.checkpointer_test(name=kind.__name__)(savers)
    assert registered.skip_capabilities == set()
    report = asyncio.run(conformance.validate(registered)).to_dict()
    failures = [failure for result in report["results"].values() for failure in result["failures"]]
    assert failures == []
    assert {name: result["tests_passed"] for name, result in report["results"].items()} == EXPECTED
    assert sum(EXPECTED.values()) == 81
    assert all(result["detected"] and result["passed"] for result in report["results"].values())
    assert report["conformance_level"] == "FULL"
