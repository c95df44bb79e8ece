"""Tool calls that happen once, for tasks: `aegis_store.calls` as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from aegis_store import calls as sync
from aegis_store.aio.turns import in_thread_to_its_end
from aegis_store.calls import Call, CallInfo

Answer = TypeVar("Answer")


class Calls:
    """The tool calls of a session, as `aio.Session.calls`.

    Everything is as in `aegis_store.Session.calls`, but for what is said here. A task that is cancelled in a call leaves it
    unknown.
    """

    def __init__(self, calls: sync.Calls) -> None:
        self._calls = calls

    async def once(
        self, name: str, make: Callable[[], Awaitable[Answer]], arguments: object = None, *, id: str, idempotent: bool = False
    ) -> Answer:
        """The result of a call: of `await make()`, or what was recorded when it was made before."""
        async with self.enter(name, arguments, id=id, idempotent=idempotent) as call:
            if not call.is_done:
                call.result = await make()
        answer: Answer = call.result
        return answer

    @asynccontextmanager
    async def enter(self, name: str, arguments: object = None, *, id: str, idempotent: bool = False) -> AsyncIterator[Call]:
        """Around a tool call: `async with session.calls.enter(…) as call: if not call.is_done: call.result = await …`."""
        call = Call(await self.begin(name, arguments, id=id, idempotent=idempotent))
        if call.is_done:
            yield call
            return
        try:
            yield call
        except Exception as error:
            await self.finish(call.info, error=f"{type(error).__name__}: {error}")
            raise
        await self.finish(call.info, result=call.recorded)

    async def begin(self, name: str, arguments: object = None, *, id: str, idempotent: bool = False) -> CallInfo:
        """The first half of `enter`: what was recorded, or that it is to be made now."""
        return await in_thread_to_its_end(partial(self._calls.begin, name, arguments, id=id, idempotent=idempotent))

    async def finish(self, call: CallInfo, *, result: object = None, error: str | None = None) -> None:
        """The second half of `enter`: record how it ended. A task that is cancelled in here has recorded it all the same."""
        await in_thread_to_its_end(partial(self._calls.finish, call, result=result, error=error))

    async def resolve(self, id: str, *, result: object = None, error: str | None = None) -> None:
        """Say how a call ended that was begun: what somebody found out."""
        await in_thread_to_its_end(partial(self._calls.resolve, id, result=result, error=error))

    async def get(self, id: str) -> CallInfo | None:
        """What is recorded of a call, every check made; None: it never was begun."""
        return self._calls.get(id)

    async def all(self) -> list[CallInfo]:
        """All of them, oldest first, every check made."""
        return self._calls.all()

    async def unknown(self) -> list[CallInfo]:
        """Those that were begun and whose outcome nobody recorded."""
        return self._calls.unknown()
