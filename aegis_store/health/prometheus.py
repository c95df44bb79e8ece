"""Facts and findings for Prometheus: the text exposition format, version 0.0.4, as a node exporter's text collector takes it.

Every sample carries the label `store`, the store's path. What can't be told has no sample, so that an absent value is never a
zero. Source: prometheus.io, Exposition formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aegis_store.health.facts import Aspect, Facts, Finding, Level
from aegis_store.health.rules import loss_seconds

#: Labels of a sample, beside the store, and its value.
_Sample = tuple[dict[str, str], float | int | bool | None]

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def exposition(path: str, facts: Facts | None, findings: Sequence[Finding]) -> str:
    """The text, each metric with its HELP and TYPE lines. `facts` is None of a store that does not open."""
    lines: list[str] = []
    for name, text, samples in _metrics(facts, findings):
        found = [(labels, value) for labels, value in samples if value is not None]
        if not found:
            continue
        lines += [f"# HELP aegis_{name} {text}", f"# TYPE aegis_{name} gauge"]
        for labels, value in found:
            pairs = ",".join(f'{key}="{_escaped(each)}"' for key, each in {"store": path, **labels}.items())
            lines.append(f"aegis_{name}{{{pairs}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    """A label's value; what is no valid Unicode, as a path may be, with question marks."""
    return value.translate(_ESCAPES).encode("utf-8", "replace").decode()


def _number(value: float | int | bool) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def _metrics(facts: Facts | None, findings: Sequence[Finding]) -> Iterator[tuple[str, str, Iterable[_Sample]]]:
    yield "up", "Whether the store could be opened for reading.", [({}, facts is not None)]
    counted = [
        ({"aspect": str(aspect), "level": str(level)}, sum((each.aspect, each.level) == (aspect, level) for each in findings))
        for aspect in Aspect
        for level in Level
    ]
    yield "findings", "Findings of aegis health, by what they are about.", counted
    if facts is None:
        return
    tiers = [({"tier": each.tier.label}, each) for each in facts.tiers]
    yield "records", "Records of a tier.", [(at, each.size) for at, each in tiers]
    yield "segment_file_bytes", "Bytes of a tier's segment files.", [(at, each.file_bytes) for at, each in tiers]
    yield "record_age_seconds", "Age of a tier's newest record.", [(at, each.age_seconds) for at, each in tiers]
    yield "segments_unsigned", "Full segments not signed yet.", [(at, each.segments_unsigned) for at, each in tiers]
    yield "released_records", "Records under the last head taken down.", [(at, each.released_size) for at, each in tiers]
    yield "loss_seconds", "Age of what would be lost of a tier.", [(at, loss_seconds(facts, each)) for at, each in tiers]
    yield "rpo_seconds", "Its target, set or usual.", [(at, each.rpo_seconds) for at, each in tiers]
    yield "rto_seconds", "Target for opening, set or usual.", [(at, each.rto_seconds) for at, each in tiers]
    yield "target_is_set", "Whether the owner has set these.", [(at, each.is_targeted) for at, each in tiers]
    for name, text in _OF_THE_STORE.items():
        yield name, text, [({}, getattr(facts, name))]
    last, unsaved = facts.verified, facts.unsaved
    yield (
        "verify_age_seconds",
        "Since the store was last verified as a whole.",
        [({}, None if last is None else last.age_seconds)],
    )
    yield "verify_findings", "Findings of that.", [({}, None if last is None else last.findings)]
    yield "autosaved_sessions", "Sessions that timers keep.", [({}, None if unsaved is None else unsaved.sessions)]
    yield (
        "autosave_failing",
        "Sessions whose last save by a timer failed.",
        [({}, None if unsaved is None else unsaved.failing)],
    )
    incidents = sum(each.is_incident for each in facts.troubles)
    yield "incidents_open", "Security incidents that are open.", [({}, incidents)]
    yield "recoveries_unfinished", "Recoveries that are decided, not done.", [({}, len(facts.troubles) - incidents)]


_OF_THE_STORE: Final = {
    "checkpoint_age_seconds": "Age of the newest checkpoint.",
    "head_age_seconds": "Since the key directory last took down a head.",
    "open_seconds": "What the last opening for writing took.",
    "disk_bytes": "What the store's directory takes.",
    "free_bytes": "Free on its file system.",
    "total_bytes": "Size of its file system.",
    "is_poisoned": "Whether a write or a sync has failed.",
    "suspects": "Records that could not be taken in.",
    "erasures_pending": "Erasures begun and not finished.",
    "payloads_to_compact": "Payloads pruned or erased and still in the files.",
    "bytes_to_compact": "Their bytes.",
}
