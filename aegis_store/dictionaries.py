"""The dictionaries of a tier: which one new payloads are compressed with, what the older ones hold, and when the next is due.

A dictionary is a record of the log like any other, immutable; what is compressed with it names it by its index. The newest one
that is not retired is the current one. It is looked up when it is first needed, so that opening reads nothing.

For erasure: `content` of all that the catalogue lists shows which hold a text; `retire` those, and `forget` what was gathered,
and nothing that is written from then on has seen the text.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from aegis_store.catalog import Catalog, DictionaryMade, DictionaryRetired
from aegis_store.codec.compression import Dictionary
from aegis_store.errors import AegisError
from aegis_store.gathering import Gatherer
from aegis_store.types import LogIndex, Tier

#: Dictionaries that are kept ready, beside the current one: those of older records that are read.
KEPT: Final = 8


class Dictionaries:
    """See the module's text. Any number of threads may use it."""

    def __init__(self, catalog: Catalog, tier: Tier, read: Callable[[LogIndex], bytes]) -> None:
        """`read(index)` gives the content of the dictionary record at an index, every check made."""
        self._catalog = catalog
        self._tier = tier
        self._read = read
        self._kept: OrderedDict[int, Dictionary] = OrderedDict()
        self._lock = threading.Lock()
        self._gatherer = Gatherer()
        self._current: Dictionary | None = None
        self._is_known = False

    # ---- using ------------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Dictionary | None:
        """What new payloads are compressed with. None: with none yet, or the one that there is cannot be read."""
        if not self._is_known:
            with self._lock:
                if not self._is_known:
                    self._current = self._newest()
                    self._is_known = True
        return self._current

    def _newest(self) -> Dictionary | None:
        standing = [each.index for each in self._catalog.dictionaries(self._tier) if not each.is_retired]
        if not standing:
            return None
        try:
            return Dictionary(standing[-1], self._read(standing[-1]))
        except AegisError:
            return None  # what is damaged is not built upon: the next one starts from nothing

    def get(self, index: int) -> Dictionary:
        """The dictionary that the record at `index` holds. Corrupt, Foreign, …: it holds none that is to be believed."""
        current = self._current
        if current is not None and current.index == index:
            return current
        with self._lock:
            known = self._kept.get(index)
            if known is not None:
                self._kept.move_to_end(index)
                return known
        made = Dictionary(index, self._read(LogIndex(index)))
        with self._lock:
            self._keep(made)
        return made

    def _keep(self, made: Dictionary) -> None:
        self._kept[made.index] = made
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def content(self, index: int) -> bytes:
        """The bytes of the dictionary at `index`, every check made. Errors as of `get`."""
        return self.get(index).content

    # ---- making -----------------------------------------------------------------------------------------------------------

    def learn(self, session: int, text: bytes, write: Callable[[bytes], DictionaryMade]) -> DictionaryMade | None:
        """Take in what a root session had to say; where a dictionary is due, `write(content)` it, and give its row.

        Where it cannot be written there is none, and nothing else is amiss. The caller's records come behind it in the log.
        """
        gatherer = self._gatherer
        if not gatherer.hears(session):
            return None
        current = self.current
        with self._lock:
            if gatherer is not self._gatherer:
                return None  # forgotten meanwhile, and what it would learn with it
            old = b"" if current is None else current.content
            try:
                if not gatherer.listen(session, text, old):
                    return None
                content = gatherer.content(old)
                try:
                    row = write(content)
                except AegisError:
                    gatherer.put_off()
                    return None
                if current is not None:
                    self._keep(current)
                self._current = Dictionary(row.index, content)
                gatherer.made()
            except BaseException:
                # An interrupt in the middle: what was gathered may contradict itself.
                self._gatherer = Gatherer()
                raise
            return row

    # ---- taking back ------------------------------------------------------------------------------------------------------

    def retire(self, indexes: Collection[int]) -> None:
        """Use these for nothing new, from now on and after the next open. What was gathered is forgotten.

        The record that says why, so that a catalogue made from the log knows it too, is the caller's."""
        with self._lock:
            for index in indexes:
                self._catalog.note(DictionaryRetired(tier=self._tier, index=LogIndex(index)))
                self._kept.pop(index, None)
            self._gatherer = Gatherer()
            self._current = None
            self._is_known = False

    def forget(self) -> None:
        """Let go of all text that was gathered and is in no dictionary yet."""
        with self._lock:
            self._gatherer = Gatherer()
