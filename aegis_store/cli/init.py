"""`aegis init`: a new store, and its keys."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, emit, line, shown


@guarded
def init(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The directory to make.", readable=False)],
    name: Annotated[
        str | None, typer.Option("--name", help="What the store is called; its directory's name otherwise.")
    ] = None,
    keys: Annotated[Path | None, typer.Option("--keys", metavar="DIR", help="Where its keys go; PATH.keys otherwise.")] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Options in TOML, by the names of aegis_store.Config.", readable=False),
    ] = None,
    segment_size: Annotated[
        str | None, typer.Option("--segment-size", metavar="SIZE", help="When a file is full, such as 4MiB; 64KiB to 1GiB.")
    ] = None,
    align: Annotated[
        str | None, typer.Option("--align", metavar="packed|block", help="block: for devices that tear sectors; costs space.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a new store and its keys. What is there already is refused, and left as it is."""
    import msgspec

    import aegis_store

    changed: dict[str, Any] = {}
    if segment_size is not None:
        changed["segment_bytes"] = bytes_of(segment_size)
    if align is not None:
        changed["align"] = align
    chosen = aegis_store.Config() if config is None else aegis_store.Config.load(config)
    if changed:
        fields = {each: getattr(chosen, each) for each in chosen.__struct_fields__}
        chosen = aegis_store.Config(**{**fields, **changed})
    with aegis_store.open(path, mode="x", keys=keys, name=name, config=chosen) as store:
        stats, key_path = store.stats(), store.keys.path
        public_key = store.keys.log.public_key.hex()
    if as_json:
        emit(
            {
                "path": str(path),
                "name": stats.name,
                "store_id": stats.store_id,
                "keys": str(key_path),
                "log_key": public_key,
                "config": msgspec.to_builtins({each: getattr(chosen, each) for each in ("segment_bytes", "align")}),
            }
        )
        return
    console, place = answers(), shlex.quote(shown(path))
    line(console, f"made {shown(path)}   store {stats.store_id}, segments of {figures.size(chosen.segment_bytes)}", "bold")
    line(
        console,
        f"  its keys are in {shown(key_path)}: whoever has them can write in its name, and without them nothing can be read",
    )
    line(console, "  copy them now to where the store is not, and where only you can read:")
    line(console, f"    cp -a {shlex.quote(shown(key_path))} SOMEWHERE/ELSE")
    line(console, f"  write to it: aegis_store.open({str(path)!r}); what it holds: aegis stats {place}", "dim")


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_UNITS |= {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def bytes_of(text: str, option: str = "--segment-size") -> int:
    """A size as people write it, in bytes: "4MiB", "64k", "1000000"."""
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text.strip()[len(digits) :].lower()
    number = digits.strip().replace("_", "")
    if unit not in _UNITS or not number.isascii() or not number.isdigit() or len(number) > 15:
        raise typer.BadParameter(f"{text!r} is no size like 4MiB", param_hint=option)
    return int(number) * _UNITS[unit]
