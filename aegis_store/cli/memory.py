"""`aegis memory`: what agents remember, under namespaces and keys.

On the command line a namespace is its parts joined by `/`, and `""` the empty one; a `/` or `\\` within a part is written
`\\/` or `\\\\`. Values are JSON, as `aegis export` writes it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, StorePath, Types, named_types, reading, writing
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, bar, busy, command, emit, line, problems, shown, table

if TYPE_CHECKING:
    from aegis_store import MemoryItem, MemoryPointer, Store
    from aegis_store.codec.registry import StateTypes

#: Of a value, in a table.
VALUE_CHARACTERS: Final = 80

app = typer.Typer(help="What agents remember.", no_args_is_help=True, rich_markup_mode=None)

NamespaceArgument = Annotated[
    str, typer.Argument(metavar="NAMESPACE", help='Its parts joined by "/"; a "/" within a part is written "\\/".')
]
Within = Annotated[str, typer.Argument(metavar="[NAMESPACE]", help="Of this namespace and all below it; all if left out.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The key.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="INDEX:ROOT", help="As of a pointer: what `aegis memory pointer` or `aegis show` says."),
]


@app.command("list")
@guarded
def list_(
    path: StorePath,
    namespace: Within = "",
    prefix: Annotated[str | None, typer.Option("--prefix", help="Only keys of that very namespace that begin so.")] = None,
    limit: Limit = None,
    at: At = None,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List what is stored, by namespace and key."""
    parts, pointer = parts_of(namespace), pointer_of(at)
    with reading(path, keys=keys, types=named_types(types)) as store:
        if prefix is None:
            found = store.memory.search(parts, limit=limit, at=pointer)
        else:
            found = store.memory.list(parts, prefix=prefix, limit=limit, at=pointer)
        _show_items(str(path), found, store.types, as_json=as_json)


@app.command("search")
@guarded
def search(
    path: StorePath,
    namespace: Within = "",
    where: Annotated[
        str, typer.Option("--where", metavar="JSON", help='Fields that values have, as in {"score": {"$gte": 3}}.')
    ] = "{}",
    limit: Limit = None,
    offset: Annotated[int, typer.Option("--offset", min=0, metavar="N", help="Leave out so many first.")] = 0,
    at: At = None,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Find what is stored by the fields of its value."""
    wanted, parts, pointer = _where_of(where), parts_of(namespace), pointer_of(at)
    with reading(path, keys=keys, types=named_types(types)) as store:
        found = store.memory.search(parts, where=wanted, limit=limit, offset=offset, at=pointer)
        _show_items(str(path), found, store.types, as_json=as_json)


@app.command("get")
@guarded
def get(
    path: StorePath,
    namespace: NamespaceArgument,
    key: KeyArgument,
    at: At = None,
    versions: Annotated[bool, typer.Option("--versions", help="All that there are, newest first.")] = False,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show what is stored under a key. Exit code 1: nothing is."""
    parts, pointer = parts_of(namespace), pointer_of(at)
    if versions and pointer is not None:
        raise typer.BadParameter("at a pointer there is one version: give one of --at and --versions", param_hint="--versions")
    with reading(path, keys=keys, types=named_types(types)) as store:
        if versions:
            _show_items(str(path), store.memory.versions(parts, key), store.types, as_json=as_json)
            return
        item = store.memory.get(parts, key, at=pointer)
        if item is None:
            _missing(store, parts, key)
        elif as_json:
            emit({"path": str(path), **as_fields(item, store.types)})
        else:
            _show_item(item, store.types)


@app.command("put")
@guarded
def put(
    path: StorePath,
    namespace: NamespaceArgument,
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="JSON", help="The value; - reads it from the standard input.")],
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="AGE", help="It expires after that, such as 30d.")] = None,
    expect: Annotated[
        int | None, typer.Option("--expect", min=0, metavar="VERSION", help="Only if the key is at that version; 0: has none.")
    ] = None,
    request_id: Annotated[str | None, typer.Option("--request-id", metavar="ID", help="A repeated one stores nothing.")] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Store a value as the key's next version."""
    from aegis_store import DEFAULT
    from aegis_store.codec import tagged

    stored = tagged.loads(sys.stdin.read() if value == "-" else value)
    with writing(path, keys=keys) as store:
        item = store.memory.put(
            parts_of(namespace), key, stored, ttl=DEFAULT if ttl is None else ttl, expect=expect, request_id=request_id
        )
        if as_json:
            emit({"path": str(path), **as_fields(item, store.types)})
            return
    line(answers(), f"{place_of(item.namespace)} {key}   version {figures.count(item.version)}{_until(item)}", "bold")


@app.command("delete")
@guarded
def delete(
    path: StorePath,
    namespace: NamespaceArgument,
    key: KeyArgument,
    expect: Annotated[
        int | None, typer.Option("--expect", min=0, metavar="VERSION", help="Only if the key is at that version.")
    ] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let a key have no value. Exit code 1: it had none. Its versions stay until retention lets them go."""
    with writing(path, keys=keys) as store:
        parts = parts_of(namespace)
        if not store.memory.delete(parts, key, expect=expect):
            _missing(store, parts, key)
    if as_json:
        emit({"path": str(path), "namespace": parts, "key": key, "deleted": True})
        return
    line(answers(), f"{place_of(parts)} {key}   deleted", "bold")


@app.command("namespaces")
@guarded
def namespaces(
    path: StorePath,
    namespace: Within = "",
    max_depth: Annotated[int | None, typer.Option("--max-depth", min=1, metavar="N", help="Cut to so many parts.")] = None,
    at: At = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List the namespaces that have something, in order."""
    parts, pointer = parts_of(namespace), pointer_of(at)
    with reading(path, keys=keys) as store:
        found = list(store.memory.namespaces(prefix=parts, max_depth=max_depth, at=pointer))
    if as_json:
        emit({"path": str(path), "namespaces": found})
        return
    for each in found:
        line(answers(), place_of(each))
    if not found:
        line(answers(), "no namespaces")


@app.command("pointer")
@guarded
def pointer(path: StorePath, keys: Keys = None, as_json: AsJson = False) -> None:
    """Show the pointer to all that can be read now, for --at."""
    with reading(path, keys=keys) as store:
        here = store.memory.pointer()
    if as_json:
        emit({"path": str(path), "index": here.index, "root": here.root.hex()})
        return
    line(answers(), f"{here.index}:{here.root.hex()}")


@app.command("sweep")
@guarded
def sweep(path: StorePath, namespace: Within = "", limit: Limit = None, keys: Keys = None, as_json: AsJson = False) -> None:
    """Delete what has expired. What has is given to nobody in any case; now retention may let it go."""
    parts = parts_of(namespace)
    with writing(path, keys=keys) as store, bar("sweep", None, "keys") as advance:
        done = store.memory.sweep(parts, limit=limit, watch=lambda looked_at, deleted: advance(looked_at))
    if as_json:
        emit({"path": str(path), "looked_at": done.looked_at, "deleted": done.deleted})
        return
    line(
        answers(),
        f"{shown(path)}   {figures.counted(done.deleted, 'value')} had expired of {figures.counted(done.looked_at, 'key')}",
        "bold",
    )


@app.command("hold")
@guarded
def hold(
    path: StorePath,
    namespace: NamespaceArgument,
    key: KeyArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    holder: Annotated[str, typer.Option("--holder", metavar="NAME", help="Who says so.")],
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let no version of a key go until the hold is released. Nothing overrides it."""
    with writing(path, keys=keys) as store:
        placed = store.memory.hold(parts_of(namespace), key, reason=reason, holder=holder)
    if as_json:
        emit({"path": str(path), "hold": placed.number, "namespace": placed.namespace, "key": key})
        return
    line(answers(), f"hold {placed.number}   {place_of(placed.namespace)} {key}   {holder}: {reason}", "bold")
    line(answers(), f"  to let it go: {command('release', path, str(placed.number), '--tier', 'memory')} --reason …", "dim")


@app.command("erase")
@guarded
def erase(
    path: StorePath,
    namespace: NamespaceArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why, without saying what: it stays.")],
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only this key of that very namespace.")] = None,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so.")] = "aegis memory erase",
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="For readers of the old files to let go.")
    ] = 5.0,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Erase a namespace and all below it, or a key: values and names, from every file.

    There is no way back. Exit code 1: it was erased, but other processes still hold it; they are named."""
    with writing(path, keys=keys) as store, busy("erasing"):
        done = store.memory.erase(parts_of(namespace), key, reason=reason, by=by, wait_seconds=wait)
    if as_json:
        emit(
            {
                "path": str(path),
                "keys": [{"namespace": parts, "key": each} for parts, each in done.keys],
                "records": done.records,
                "holders": [{"pid": each.pid, "command": each.command} for each in done.holders],
                "bytes_before": done.compacted.bytes_before,
                "bytes_after": done.compacted.bytes_after,
            }
        )
    else:
        gone = figures.counted(done.compacted.payloads_gone, "payload")
        line(answers(), f"{shown(path)}   {figures.counted(len(done.keys), 'key')} erased: {gone} gone", "bold")
        for holder in done.holders:
            name = f" ({holder.command})" if holder.command else ""
            line(problems(), f"  process {holder.pid}{name} still has an old file open, and can read it: stop it")
    if done.holders:
        raise typer.Exit(FINDING)


# ---- what people type and see ---------------------------------------------------------------------------------------------


def parts_of(text: str) -> tuple[str, ...]:
    """A namespace from what a person types."""
    if not text:
        return ()
    parts = re.split(r"(?<!\\)((?:\\\\)*)/", text)
    # The text between two slashes, and the escaped backslashes before the second one.
    joined = [parts[at] + (parts[at + 1] if at + 1 < len(parts) else "") for at in range(0, len(parts), 2)]
    return tuple(re.sub(r"\\([\\/])", r"\1", each) for each in joined)


def place_of(namespace: Sequence[str]) -> str:
    """A namespace as a person would type it."""
    return "/".join(re.sub(r"([\\/])", r"\\\1", part) for part in namespace) if namespace else '""'


def pointer_of(text: str | None) -> MemoryPointer | None:
    """A memory pointer from `--at`."""
    from aegis_store import MemoryPointer
    from aegis_store.types import HASH_SIZE, LogIndex

    if text is None:
        return None
    index, _, root = text.partition(":")
    try:
        return MemoryPointer(index=LogIndex(int(index)), root=_hash_of(root, HASH_SIZE))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no index and root, as in 17:5dc9…", param_hint="--at") from None


def _hash_of(text: str, size: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != size:
        raise ValueError(text)
    return found


def _where_of(text: str) -> dict[str, Any]:
    """A filter as JSON: its operators begin with `$`, so it is no value of a state. InvalidArgument: it is none."""
    import msgspec

    from aegis_store.errors import InvalidArgument

    try:
        found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise InvalidArgument(
            f"--where is no JSON object: {error}", op="search", hint='give one, as in --where \'{"kind": "note"}\''
        ) from None
    return found


def _missing(store: Store, parts: tuple[str, ...], key: str) -> None:
    from aegis_store.errors import NotFound
    from aegis_store.schema import names

    raise NotFound(
        f"{names.shown(parts, key)} has no value",
        op="memory",
        path=str(store.path),
        hint=f"see which have: {command('memory list', store.path)}",
    )


def as_fields(item: MemoryItem, types: StateTypes) -> dict[str, object]:
    """An item for machines."""
    from aegis_store.codec import tagged

    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": tagged.to_json(item.value, types=types),
        "version": item.version,
        "created_at": figures.iso(item.created_at),
        "changed_at": figures.iso(item.changed_at),
        "expires_at": None if item.expires_at is None else figures.iso(item.expires_at),
        "ttl_seconds": item.ttl_seconds,
        "agent": item.agent,
        "record": item.ref.index,
        "leaf": item.ref.leaf.hex(),
    }


def _show_item(item: MemoryItem, types: StateTypes) -> None:
    from aegis_store.cli.show import pretty_json

    console = answers()
    line(console, f"{place_of(item.namespace)} {item.key}   version {figures.count(item.version)}{_until(item)}", "bold")
    line(console, f"  created  {figures.iso(item.created_at)}   changed {figures.iso(item.changed_at)}")
    line(console, f"  agent    {item.agent}   its signature holds")
    line(console, f"  record   {item.ref.tier.label} {figures.count(item.ref.index)}   leaf {item.ref.leaf.hex()}")
    line(console, pretty_json(item.value, types))


def _until(item: MemoryItem) -> str:
    return "" if item.expires_at is None else f"   expires {figures.clock(item.expires_at)}"


def _show_items(path: str, found: Iterable[MemoryItem], types: StateTypes, *, as_json: bool) -> None:
    from aegis_store.codec import tagged

    items = list(found)
    if as_json:
        emit({"path": path, "items": [as_fields(each, types) for each in items]})
        return
    console = answers()
    if not items:
        line(console, "nothing")
        return
    rows = []
    for each in items:
        value = tagged.dumps(each.value, types=types).decode()
        is_long = console.is_terminal and len(value) > VALUE_CHARACTERS
        rows.append(
            [
                place_of(each.namespace),
                each.key,
                figures.count(each.version),
                figures.clock(each.changed_at),
                "" if each.expires_at is None else figures.clock(each.expires_at),
                value[: VALUE_CHARACTERS - 1] + "…" if is_long else value,
            ]
        )
    headings = ["namespace", "key", "version", "changed (UTC)", "expires (UTC)", "value"]
    used = [at for at, heading in enumerate(headings) if heading != "expires (UTC)" or any(row[at] for row in rows)]
    table(console, [headings[at] for at in used], [[row[at] for at in used] for row in rows], right=["version"])
