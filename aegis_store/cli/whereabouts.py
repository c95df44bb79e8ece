"""Which checkpoints a damaged record costs: from an index of the log to sessions and ordinals, as the catalogue knows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from aegis_store.cli import figures

if TYPE_CHECKING:
    from aegis_store.catalog import Catalog, CheckpointRecord, SessionRecord

#: Checkpoints that are looked through at a time.
PAGE: Final = 1024


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a record is to its session: one of the checkpoints `ordinals`, or with none of them its begin."""

    session: str
    ordinals: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.ordinals:
            return f'this begins session "{self.session}": none of its checkpoints can be read'
        return f'this is checkpoint {" or ".join(map(figures.count, self.ordinals))} of session "{self.session}"'


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Checkpoints of a session that can't be read, all of them if none is named. `before` is the newest below that can."""

    session: str
    ordinals: tuple[int, ...] = ()
    before: int | None = None

    def __str__(self) -> str:
        if not self.ordinals:
            return f'session "{self.session}" can\'t be read'
        one = len(self.ordinals) == 1
        which = f"checkpoint{'' if one else 's'} {figures.ranges(self.ordinals)}"
        return f'{which} of session "{self.session}" can\'t be read; its others can'


def whereabouts(catalog: Catalog, index: int | None) -> Place | None:
    """What a record is; None where it is no checkpoint and begins no session, or the catalogue has not seen it."""
    if index is None:
        return None
    for session in _sessions(catalog):
        if index == session.number:
            return Place(session=session.id)
        is_within = session.number < index <= session.last_index
        if is_within and (ordinals := _ordinals(catalog, session, index)):
            return Place(session=session.id, ordinals=ordinals)
    return None


def losses(places: Iterable[Place]) -> list[Loss]:
    """What places add up to, a session each, in the order in which they were met. A place that may be several counts as all."""
    hit: dict[str, set[int] | None] = {}
    for place in places:
        known = hit.setdefault(place.session, set())
        if not place.ordinals:
            hit[place.session] = None
        elif known is not None:
            known.update(place.ordinals)
    found = []
    for session, ordinals in hit.items():
        if ordinals is None:
            found.append(Loss(session=session))
            continue
        lost = tuple(sorted(ordinals))
        found.append(Loss(session=session, ordinals=lost, before=lost[0] - 1 if lost[0] > 0 else None))
    return found


def _sessions(catalog: Catalog) -> Iterator[SessionRecord]:
    after: int | None = None
    while page := catalog.sessions(after=after):
        yield from page
        after = page[-1].number


def _ordinals(catalog: Catalog, session: SessionRecord, index: int) -> tuple[int, ...]:
    """Which checkpoint of a session the record is, or which ones it may be.

    A record that can't be read may be missing in the catalogue: then a gap between two ordinals shows where it was.
    """
    above: CheckpointRecord | None = None
    for point in _points(catalog, session.number):
        if point.index == index:
            return (point.ordinal,)
        if point.index < index:
            return _gap(point.ordinal + 1, above)
        above = point
    return _gap(session.first_ordinal, above)


def _gap(first: int, above: CheckpointRecord | None) -> tuple[int, ...]:
    return () if above is None else tuple(range(first, above.ordinal))


def _points(catalog: Catalog, session: int) -> Iterator[CheckpointRecord]:
    """A session's own checkpoints, newest first."""
    before: int | None = None
    while page := catalog.checkpoints(session, before=before, limit=PAGE):
        yield from page
        before = page[-1].ordinal
