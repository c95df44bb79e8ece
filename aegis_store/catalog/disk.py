"""The tables in LMDB.

The file is a cache without a durability of its own: no syncs, and no lock file, since the store's writer lock covers it. It is
opened only if its sidecar vouches for it, else it is deleted and made anew. One environment a process, and none across a fork:
LMDB breaks on both.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from aegis_store.catalog import sidecar
from aegis_store.catalog.sidecar import Seal
from aegis_store.catalog.tables import Item, Table, Updates
from aegis_store.errors import Locked
from aegis_store.types import Head

if TYPE_CHECKING:
    from lmdb import _Database

#: Items in one transaction of a rebuild.
LOAD_ITEMS = 16_384
#: A file up to so large is written anew at a clean close, without its free pages: 46 bytes a checkpoint where there are 1,600.
#: Of a larger one they are a small part.
PACKED_MAX = 4 << 20

_here: weakref.WeakValueDictionary[tuple[int, int], DiskTables] = weakref.WeakValueDictionary()
_here_lock = threading.RLock()


def _forget_after_fork() -> None:
    global _here, _here_lock
    _here, _here_lock = weakref.WeakValueDictionary(), threading.RLock()


os.register_at_fork(after_in_child=_forget_after_fork)


class DiskTables:
    """Tables in `directory`, made if need be. `covers` is what they know: empty if they had to be made anew.

    `vouch` is asked whether the covers of a sidecar fit the log. Locked if this process has them open already; OSError or
    lmdb.Error where they cannot be had."""

    def __init__(self, directory: Path, *, seal: Seal, vouch: Callable[[list[Head]], bool], map_bytes: int) -> None:
        self._env: lmdb.Environment | None = None
        self._seal = seal
        self._path, self._map_bytes = directory, map_bytes
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        # Held open, so that no other directory gets its inode number while this one is registered.
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._release = weakref.finalize(self, os.close, self._directory)
        found = os.fstat(self._directory)
        self._place = found.st_dev, found.st_ino
        try:
            with _here_lock:
                if self._place in _here:
                    raise Locked(
                        "the catalogue is open in this process already",
                        path=str(directory),
                        op="open",
                        hint="Close the other store object, or share it: a process has a store open for writing once",
                    )
                _here[self._place] = self
            covers = seal.read(self._directory)
            self._written = covers is None or not vouch(covers) or not self._open(directory, map_bytes, fresh=False)
            if self._written:
                covers = []
                sidecar.remove_all(self._directory)
                self._open(directory, map_bytes, fresh=True)
            self.covers = covers or []
        except BaseException:
            self.close()
            raise

    def _open(self, directory: Path, map_bytes: int, *, fresh: bool) -> bool:
        env: lmdb.Environment | None = None
        try:
            env = lmdb.open(
                os.fsencode(directory),
                map_size=map_bytes,
                mode=0o600,
                max_dbs=len(Table),
                max_spare_txns=1,
                sync=False,
                metasync=False,
                map_async=False,
                writemap=False,
                readahead=False,
                lock=False,
            )
            # Handles outlive a write transaction only; one that changes nothing writes nothing.
            with env.begin(write=True) as txn:
                self._dbs: list[_Database] = [env.open_db(table.name.encode(), txn, create=fresh) for table in Table]
        except lmdb.Error:
            if env is not None:
                env.close()
            if fresh:
                raise
            return False  # vouched for, and yet of another machine or another LMDB
        self._env = env
        return True

    def _live(self) -> lmdb.Environment:
        if self._env is None:
            raise lmdb.Error("the environment is closed")
        return self._env

    def get(self, table: Table, key: bytes) -> bytes | None:
        with self._live().begin() as txn:
            return txn.get(key, db=self._dbs[table])

    def sessions_after(self, key: bytes, limit: int) -> list[Item]:
        found: list[Item] = []
        with self._live().begin() as txn, txn.cursor(self._dbs[Table.SESSIONS]) as cursor:
            more = cursor.set_range(key)
            if more and cursor.key() == key:
                more = cursor.next()
            while more and len(found) < limit:
                found.append(cursor.item())
                more = cursor.next()
        return found

    def items(self, table: Table, prefix: bytes, *, after: bytes = b"", limit: int | None = None) -> list[Item]:
        found: list[Item] = []
        with self._live().begin() as txn, txn.cursor(self._dbs[table]) as cursor:
            more = cursor.set_range(max(prefix, after))
            if more and cursor.key() == after:
                more = cursor.next()
            while more and cursor.key().startswith(prefix) and (limit is None or len(found) < limit):
                found.append(cursor.item())
                more = cursor.next()
        return found

    def write(self, updates: Updates) -> None:
        self._write({table: sorted(items.items()) for table, items in updates.items() if items})

    def load(self, table: Table, items: Iterator[Item]) -> None:
        while batch := list(islice(items, LOAD_ITEMS)):
            self._write({table: batch})

    def _write(self, updates: dict[Table, list[Item]]) -> None:
        """Items sorted by key, in one transaction."""
        env = self._live()
        if not self._written:
            sidecar.remove(self._directory)
            self._written = True
        while True:
            try:
                with env.begin(write=True) as txn:
                    for table, items in updates.items():
                        self._put(txn, self._dbs[table], items)
                return
            except lmdb.MapFullError:
                env.set_mapsize(env.info()["map_size"] * 2)

    @staticmethod
    def _put(txn: lmdb.Transaction[bytes], db: _Database, items: list[Item]) -> None:
        with txn.cursor(db) as cursor:
            last = cursor.key() if cursor.last() else b""
            new = bisect_right(items, last, key=itemgetter(0))
            cursor.putmulti(items[:new])
            # Appending fills pages to the brim, where inserting splits them in halves; what is not in order it leaves out.
            if cursor.putmulti(items[new:], append=True) != (len(items) - new, len(items) - new):
                raise lmdb.Error("items that are not sorted")

    def vouch(self, covers: list[Head]) -> None:
        """Sync, close, and leave a sidecar that says `covers`: the last thing before a clean end."""
        env = self._live()
        packed = self._written and self._pack(env)
        if self._written and not packed:
            env.sync(True)
        self._shut()
        if packed:
            os.rename(sidecar.PACKED, sidecar.DATA, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        if self._written or covers != self.covers:
            self._seal.write(self._directory, covers)
        self.close()

    def renew(self) -> None:
        """Begin anew with an empty file: nothing that was ever written to the old one is in it."""
        self._live()
        self._shut()
        sidecar.remove_all(self._directory)
        self._written, self.covers = True, []
        self._open(self._path, self._map_bytes, fresh=True)

    def _pack(self, env: lmdb.Environment) -> bool:
        """A synced copy without the pages that are free: of a small file they are most. Whether there is one.

        No sidecar stands while this goes on: whatever a crash leaves is not vouched for, and made anew."""
        if env.stat()["psize"] * (env.info()["last_pgno"] + 1) > PACKED_MAX:
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(sidecar.PACKED, flags, 0o600, dir_fd=self._directory)
            try:
                env.copyfd(descriptor, compact=True)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except (lmdb.Error, OSError):
            with suppress(OSError):
                os.unlink(sidecar.PACKED, dir_fd=self._directory)
            return False
        return True

    def discard(self) -> None:
        """Close and delete: what is there is not to be believed, or takes space that is needed."""
        self._shut()
        if self._release.alive:
            with suppress(OSError):
                sidecar.remove_all(self._directory)
        self.close()

    def close(self) -> None:
        """Close as a crash would: what was written is not vouched for."""
        self._shut()
        with _here_lock:
            if _here.get(self._place) is self:
                del _here[self._place]
            self._release()

    def _shut(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None
