"""What is wrong with a value, where it stands, and what to do about it.

A path is built only for the value that is named: `state["messages"][3].tool`. Keys and items are `[…]`, fields of a named type
`.name`, items of a set `{…}`. What is wrong with a key, or inside one, is said of the key.
"""

from __future__ import annotations

import json
from typing import Any, Final

#: Longest key shown in a path, in characters, and most steps of it (even).
KEY_SHOWN_MAX: Final = 64
STEPS_SHOWN_MAX: Final = 16

#: How a step is written: a name by itself, a key or an index, a field, an item of a set, a key of a dict.
ROOT: Final = 0
ITEM: Final = 1
FIELD: Final = 2
MEMBER: Final = 3
KEY: Final = 4

#: A value, the step to it, how the step is written, and its slot among the items of the place above.
Step = tuple[Any, object, int, object]


class Unstorable(Exception):
    """A value cannot be stored: `what` follows its path in the message, `remedy` is what to do. It never leaves the codec."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class Place:
    """A value on the way down, and the step that led to it. `items` are its own values, `slot` is where it stands in those of
    the place above, so that what it becomes can be put there."""

    __slots__ = ("above", "depth", "form", "items", "slot", "step", "value")

    def __init__(self, value: Any, step: object, form: int, above: Place | None, slot: object) -> None:
        self.value = value
        self.step = step
        self.form = form
        self.above = above
        self.slot = slot
        #: Containers around the value. Above the outermost one is a place that holds only that.
        self.depth: int = -1 if above is None else above.depth + 1
        self.items: Any = None

    def become(self, value: object) -> None:
        """Put `value` where this one stands in the items of the place above."""
        if self.above is not None:
            self.above.items[self.slot] = value

    def path(self) -> str:
        """As in `state["messages"][3].tool`."""
        steps: list[str] = []
        place = self
        while place.form != ROOT and place.above is not None:
            steps.append(_step(place))
            place = place.above
        if len(steps) > STEPS_SHOWN_MAX:
            steps[STEPS_SHOWN_MAX // 2 : -STEPS_SHOWN_MAX // 2] = ["…"]
        return str(place.step) + "".join(reversed(steps))

    def says(self, what: str) -> str:
        """A sentence about the value; about the outermost key that it is, or is a part of, where there is one."""
        key: Place | None = None
        place: Place | None = self
        while place is not None:
            if place.form == KEY:
                key = place
            place = place.above
        if key is None or key.above is None:
            return f"{self.path()} {what}"
        holds = "" if key is self else "holds a value that "
        return f"a key of {key.above.path()}, {shown(key.step)}, {holds}{what}"


def _step(place: Place) -> str:
    if place.form == FIELD:
        return f".{place.step}"
    return "{…}" if place.form == MEMBER else f"[{shown(place.step)}]"


def shown(step: object) -> str:
    """A key or an index, cut to what a line can bear."""
    if type(step) is str:
        cut = step if len(step) <= KEY_SHOWN_MAX else step[:KEY_SHOWN_MAX] + "…"
        return json.dumps(cut, ensure_ascii=not cut.isprintable())
    if type(step) is int and step.bit_length() > 64:
        return f"an int of {step.bit_length()} bits"
    try:
        text = repr(step)
    except Exception:  # somebody else's __repr__, or an int in a tuple that is too long for one
        text = f"<{type_name(step)}>"
    return text if len(text) <= KEY_SHOWN_MAX else text[:KEY_SHOWN_MAX] + "…"


def type_name(value: object) -> str:
    """The type of a value as messages write it."""
    return name_of(type(value))


def name_of(kind: type) -> str:
    """A type as messages write it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def not_stored(value: object) -> Unstorable:
    """For a value of a type that is not stored."""
    return Unstorable(f"is of type {type_name(value)}, which is not stored", _remedy(value))


#: What to do about a type, by name, so that nothing is imported for a message. The first one among a type's bases counts.
_REMEDIES: Final = {
    "numpy.generic": "store its .item()",
    "numpy.ndarray": "store its .tolist()",
    "pydantic.main.BaseModel": "store its .model_dump()",
    "datetime.tzinfo": "store its name",
    "datetime.datetime": "make it a plain datetime",
    "datetime.date": "make it a plain date",
    "datetime.time": "make it a plain time",
    "datetime.timedelta": "make it a plain timedelta",
    "uuid.UUID": "make it a plain UUID",
    "decimal.Decimal": "make it a plain Decimal",
    "fractions.Fraction": "store its str()",
    "pathlib.PurePath": "store its str()",
    "pathlib._local.PurePath": "store its str()",
    "collections.deque": "make it a list",
    "builtins.memoryview": "make it bytes",
    "builtins.complex": "store a tuple of its two parts",
    "builtins.int": "make it a plain int",
    "builtins.float": "make it a plain float",
    "builtins.str": "make it a plain str",
    "builtins.bytes": "make it plain bytes",
    "builtins.bytearray": "make it a plain bytearray",
    "builtins.list": "make it a plain list",
    "builtins.dict": "make it a plain dict",
    "builtins.tuple": "make it a plain tuple",
    "builtins.set": "make it a plain set",
    "builtins.frozenset": "make it a plain frozenset",
}


def _remedy(value: object) -> str:
    kind = type(value)
    bases = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    named = {"enum.Enum", "msgspec.Struct"} & bases or hasattr(kind, "__dataclass_fields__")
    if named or ("builtins.tuple" in bases and hasattr(kind, "_fields")):
        return f"name it when the store is opened: aegis_store.open(…, types=[{kind.__name__}])"
    return next((remedy for base, remedy in _REMEDIES.items() if base in bases), "make it of values that are stored")
