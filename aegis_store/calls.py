"""Tool calls that happen once: what was to be called is durable before it is, and how it ended after.

    intent ──▶ the call ──▶ outcome        durable, in this order
       │                       └─ the call is done: whoever enters it again gets its result, and nothing is called
       └─ no outcome: it may have happened. Nobody enters it again unless it is idempotent, or somebody says how it ended

Both are writes records (`schema.writes`) beside the session's chain, so they go when the session is erased, and only then:
their request ids are in a space of their own, so no checkpoint takes them along. A call is told from others by an id that the
caller chooses, and that a program which starts anew chooses again: "charge/order 17", not a random one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec

from aegis_store.chain import Chain
from aegis_store.codec import canonical
from aegis_store.codec.registry import StateTypes
from aegis_store.errors import CallFailed, CallUnknown, Conflict, Corrupt, InvalidArgument, NotFound
from aegis_store.schema.writes import Write, Writes

#: Before a call's id in the request id of its records: no checkpoint's may start with it by accident.
CALL_REQUEST: Final = "\x00call/"
INTENT: Final = "intent"
RESULT: Final = "result"
ERROR: Final = "error"
#: What the value of a write is encoded in: FORMAT.md, canonical bytes.
ENCODING: Final = "aegis"

Answer = TypeVar("Answer")


class CallInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of a tool call. With `is_done` there is a `result`, or an `error` as a line; without, it may have
    happened. `tries` counts how often it was begun."""

    id: str
    name: str
    arguments: Any
    is_done: bool
    result: Any = None
    error: str | None = None
    tries: int = 1


class Call:
    """A tool call that was entered. Where `is_done` says so it was made before, and is not to be made: take its `result`."""

    def __init__(self, info: CallInfo) -> None:
        self.info: Final = info
        self._result: Any = info.result
        self._error = info.error

    @property
    def id(self) -> str:
        """What tells it from others."""
        return self.info.id

    @property
    def is_done(self) -> bool:
        """Whether it was made before."""
        return self.info.is_done

    @property
    def result(self) -> Any:
        """What it gave. CallFailed: what it gave before was an error."""
        if self._error is not None:
            raise CallFailed(
                f"call {self.id!r} of {self.info.name!r} failed before: {self._error}",
                op="call",
                hint="give it another id, or enter it as idempotent, if it may be made again",
            )
        return self._result

    @result.setter
    def result(self, value: Any) -> None:
        if self.is_done:
            raise InvalidArgument(f"call {self.id!r} was made before, and its outcome is recorded", op="call")
        self._result = value

    @property
    def recorded(self) -> Any:
        """What is to be recorded when its body has ended."""
        return self._result


class Owner(Protocol):
    """The session, as its calls see it."""

    @property
    def id(self) -> str: ...
    def write(self, writes: Writes) -> None: ...
    def writes(self, request_id: str) -> Sequence[Writes]: ...


class Calls:
    """The tool calls of a session, as `Session.calls`. Any number of threads may use it."""

    def __init__(self, owner: Owner, chain: Chain, types: StateTypes) -> None:
        self._owner = owner
        self._chain = chain
        self._types = types

    def once(
        self, name: str, make: Callable[[], Answer], arguments: object = None, *, id: str, idempotent: bool = False
    ) -> Answer:
        """The result of a call: of `make()`, or what was recorded when it was made before. Errors as of `enter`; CallFailed."""
        with self.enter(name, arguments, id=id, idempotent=idempotent) as call:
            if not call.is_done:
                call.result = make()
        answer: Answer = call.result
        return answer

    @contextmanager
    def enter(self, name: str, arguments: object = None, *, id: str, idempotent: bool = False) -> Iterator[Call]:
        """Around a tool call: `with session.calls.enter(…) as call: if not call.is_done: call.result = …`.

        The intent is durable when the body begins, `call.result` when it has ended; an exception that leaves the body is
        recorded as the call's error. CallUnknown: it was begun before, and nobody recorded how it ended; with `idempotent` it
        is made again, also after an error. Conflict: the id is another call's.
        """
        call = Call(self.begin(name, arguments, id=id, idempotent=idempotent))
        if call.is_done:
            yield call
            return
        try:
            yield call
        except Exception as error:
            self.finish(call.info, error=f"{type(error).__name__}: {error}")
            raise
        self.finish(call.info, result=call.recorded)

    def begin(self, name: str, arguments: object = None, *, id: str, idempotent: bool = False) -> CallInfo:
        """The first half of `enter`: what was recorded, or that it is to be made now."""
        intent = self._writes(id, INTENT, name, arguments)
        with self._chain.calling:
            before = self.get(id)
            if before is not None and (before.name, self._encoded(before.arguments)) != (name, intent.writes[0].value):
                raise Conflict(
                    f"call {id!r} of session {self._owner.id!r} is one of {before.name!r} with other arguments",
                    op="call",
                    hint="give each call an id of its own",
                )
            if before is not None and before.is_done and not (idempotent and before.error is not None):
                return before
            if before is not None and not before.is_done and not idempotent:
                raise CallUnknown(
                    f"call {id!r} of {name!r} in session {self._owner.id!r} was begun, and how it ended is not recorded:"
                    " it may have happened",
                    op="call",
                    hint=f"find out, then say so: session.calls.resolve({id!r}, result=…); or enter it as idempotent",
                )
            self._owner.write(intent)
        tries = 1 if before is None else before.tries + 1
        return CallInfo(id=id, name=name, arguments=arguments, is_done=False, tries=tries)

    def finish(self, call: CallInfo, *, result: object = None, error: str | None = None) -> None:
        """The second half of `enter`: record how it ended."""
        self._owner.write(
            self._writes(call.id, RESULT, call.name, result)
            if error is None
            else self._writes(call.id, ERROR, call.name, error)
        )

    def resolve(self, id: str, *, result: object = None, error: str | None = None) -> None:
        """Say how a call ended that was begun: what somebody found out. NotFound: it never was. Conflict: it is recorded."""
        with self._chain.calling:
            before = self.get(id)
            if before is None:
                raise NotFound(f"session {self._owner.id!r} has begun no call {id!r}", op="call")
            if before.is_done:
                raise Conflict(f"how call {id!r} of session {self._owner.id!r} ended is recorded", op="call")
            self.finish(before, result=result, error=error)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def get(self, id: str) -> CallInfo | None:
        """What is recorded of a call, every check made; None: it never was begun."""
        return _read(_request(id), self._owner.writes(_request(id)), self._types)

    def all(self) -> list[CallInfo]:
        """All of them, oldest first, every check made."""
        found = (
            _read(each[0].request_id, each, self._types)
            for each in self._chain.lineage.written()
            if each and each[0].request_id.startswith(CALL_REQUEST)
        )
        return [each for each in found if each is not None]

    def unknown(self) -> list[CallInfo]:
        """Those that were begun and whose outcome nobody recorded."""
        return [each for each in self.all() if not each.is_done]

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _encoded(self, value: object, name: str = "arguments") -> bytes:
        return canonical.encode(value, name=name, types=self._types)

    def _writes(self, id: str, task: str, name: str, value: object) -> Writes:
        for text, what in ((id, "id"), (name, "name")):
            if type(text) is not str or not text:
                raise InvalidArgument(f"the {what} of a call is a text, and not empty", op="call")
        what = "arguments" if task == INTENT else task
        write = Write(0, task, ENCODING, self._encoded(value, what))
        return Writes(request_id=_request(id), task=task, path=name, writes=(write,))


def _request(id: str) -> str:
    return CALL_REQUEST + id


def _read(request_id: str, written: Sequence[Writes], types: StateTypes) -> CallInfo | None:
    """What is recorded of the call of a request."""
    found: CallInfo | None = None
    id = request_id.removeprefix(CALL_REQUEST)
    for each in written:
        value = _value(each, types)
        if each.task == INTENT:
            tries = 1 if found is None else found.tries + 1
            found = CallInfo(id=id, name=each.path, arguments=value, is_done=False, tries=tries)
        elif found is not None and each.task == RESULT:
            found = msgspec.structs.replace(found, is_done=True, result=value, error=None)
        elif found is not None and each.task == ERROR and isinstance(value, str):
            found = msgspec.structs.replace(found, is_done=True, result=None, error=value)
        else:
            raise Corrupt(f"what is recorded of call {id!r} is no call", op="read")
    return found


def _value(written: Writes, types: StateTypes) -> Any:
    if len(written.writes) != 1 or written.writes[0].type != ENCODING:
        raise Corrupt("what is recorded of a call is not one value", op="read")
    return canonical.decode(written.writes[0].value, types=types)
