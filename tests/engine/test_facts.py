"""The values that the engine's structures become, and that the extension is the one that its stub describes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import aegis_store
from aegis_store._engine import Verdict, facts
from aegis_store._native import ffi, lib
from aegis_store.config import Durability
from aegis_store.types import Tier


def test_the_stub_names_what_the_extension_has_and_nothing_else():
    stub = Path(aegis_store.__path__[0], "_native.pyi").read_text(encoding="utf-8")
    described = next(node for node in ast.parse(stub).body if isinstance(node, ast.ClassDef) and node.name == "_Lib")
    names = {node.target.id for node in described.body if isinstance(node, ast.AnnAssign)}
    names |= {node.name for node in described.body if isinstance(node, ast.FunctionDef)}
    assert names == {name for name in dir(lib) if not name.startswith("_")}


def test_constants_keep_their_sign():
    assert lib.AEGIS_OK == 0
    assert lib.AEGIS_E_BUG == -27
    assert lib.AEGIS_PAYLOAD_MAX == 16 << 20


def test_every_verdict_of_the_engine_has_a_name():
    flags = {name.removeprefix("AEGIS_VERDICT_"): getattr(lib, name) for name in dir(lib) if name.startswith("AEGIS_VERDICT_")}
    assert {verdict.name: verdict.value for verdict in Verdict} == flags


def test_a_record_is_read_from_where_its_structure_says():
    structure = ffi.new("aegis_record *")
    structure.index, structure.kind, structure.flags = 1 << 40, 2, 1
    structure.entry_length, structure.payload_length, structure.entry_at, structure.payload_at = 3, 4, 10, 20
    structure.leaf = list(range(32))
    buffer = ffi.new("uint8_t[]", bytes(range(100, 130)))
    record = facts.record(facts.RECORD.unpack(ffi.buffer(structure)), ffi.buffer(buffer))
    assert record == facts.Record(1 << 40, 2, 1, bytes([110, 111, 112]), bytes([120, 121, 122, 123]), bytes(range(32)))


def test_a_record_cannot_be_changed():
    with pytest.raises(AttributeError):
        facts.Record(0, 1, 0, b"e", b"", bytes(32)).index = 1


def test_a_report_names_its_tiers():
    found = ffi.new("aegis_report *")
    found.created, found.tier_count = 1, 2
    found.tiers[0].tier, found.tiers[0].flags, found.tiers[0].size = 1, lib.AEGIS_VERDICT_CLEAN, 7
    found.tiers[1].tier, found.tiers[1].flags = 3, lib.AEGIS_VERDICT_UNCLEAN | lib.AEGIS_VERDICT_TAIL_CUT
    found.tiers[1].cut_bytes, found.tiers[1].saved = 99, b"session/tail-3.cut"
    report = facts.report(found)
    assert report.created
    assert set(report.tiers) == {Tier.AUDIT, Tier.SESSION}
    assert report.tiers[Tier.AUDIT] == facts.TierReport(tier=Tier.AUDIT, verdict=Verdict.CLEAN, size=7, cut_bytes=0, saved=None)
    assert report.tiers[Tier.SESSION].saved == "session/tail-3.cut"
    assert report.tiers[Tier.SESSION].verdict == Verdict.UNCLEAN | Verdict.TAIL_CUT


def test_what_is_not_there_yet_is_none():
    footer = ffi.new("aegis_footer *")
    assert facts.footer(0, footer).signature is None
    footer.is_signed = 1
    assert facts.footer(0, footer).signature == bytes(64)
    progress = ffi.new("aegis_progress *")
    assert facts.progress(progress).root is None
    progress.done = 1
    assert facts.progress(progress).root == bytes(32)


def test_stats_take_every_number():
    numbers = ffi.new("aegis_tier_stats *")
    for value, name in enumerate(["size", "segments", "bytes", "frame_bytes", "appends", "groups", "syncs", "zeroed_bytes"], 1):
        setattr(numbers, name, value)
    numbers.poisoned, numbers.durability = 1, lib.AEGIS_DURABILITY_WRITE
    stats = facts.tier_stats(numbers)
    assert (stats.size, stats.segments, stats.file_bytes, stats.zeroed_bytes) == (1, 2, 3, 8)
    assert stats.poisoned is True
    assert stats.durability is Durability.WRITE
