from __future__ import annotations

import re

import msgspec
import pytest

from aegis_store.errors import Corrupt
from aegis_store.health import assess, exposition, refused
from tests.health.test_rules import FACTS

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\[\\n"]|[^\\"\n])*)"')
SAMPLE = re.compile(rf"({NAME})\{{((?:{LABEL.pattern},?)*)\}} (\S+)")


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of an exposition, by the format's own rules: HELP and TYPE once, before the samples, lines ended by \\n."""
    assert text.endswith("\n")
    found, typed, helped, current = {}, set(), set(), None
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, what, current, rest = line.split(" ", 3)
            seen = {"HELP": helped, "TYPE": typed}[what]
            assert current not in seen
            seen.add(current)
            assert what == "HELP" or rest == "gauge"
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match[1] == current
        assert current in typed & helped
        labels = {
            key: re.sub(r"\\(.)", lambda each: {"n": "\n"}.get(each[1], each[1]), value)
            for key, value in LABEL.findall(match[2])
        }
        key = current, frozenset(labels.items())
        assert key not in found
        found[key] = float(match.groups()[-1])
    return found


def value(found, name, **labels):
    return found.get((f"aegis_{name}", frozenset({"store": "state", **labels}.items())))


def test_every_line_is_what_the_format_says():
    found = parsed(exposition("state", FACTS, assess(FACTS)))
    assert value(found, "up") == 1
    assert value(found, "records", tier="session") == 10
    assert value(found, "disk_bytes") == 10**9
    assert value(found, "verify_age_seconds") == 2 * 86_400
    assert value(found, "findings", aspect="integrity", level="fine") == 2
    assert value(found, "findings", aspect="space", level="attention") == 0
    assert value(found, "incidents_open") == 0


def test_what_cannot_be_told_has_no_sample():
    facts = msgspec.structs.replace(FACTS, verified=None, checkpoint_age_seconds=None)
    found = parsed(exposition("state", facts, assess(facts)))
    for name in ("verify_age_seconds", "checkpoint_age_seconds", "open_seconds", "autosaved_sessions"):
        assert value(found, name) is None


@pytest.mark.parametrize("path", ['a"b', "a\\b", "a\nb", "ü", "a\\\nb"])
def test_a_path_is_escaped(path):
    found = parsed(exposition(path, FACTS, []))
    assert ("aegis_up", frozenset({("store", path)})) in found


def test_a_path_that_is_no_text_is_told_with_a_question_mark():
    assert 'store="a?"' in exposition("a\udcff", FACTS, [])


def test_a_store_that_does_not_open_is_down():
    found = parsed(exposition("state", None, [refused(Corrupt("broken"))]))
    assert value(found, "up") == 0
    assert value(found, "findings", aspect="integrity", level="attention") == 1
    assert value(found, "records", tier="session") is None
