from __future__ import annotations

import json

import pytest

from aegis_store.bench.rivals.absent import Missing, NotHere, demand, noted


def test_what_is_there_is_imported_and_what_is_not_says_how_to_get_it():
    assert demand("json", "JSON", "python") is json
    with pytest.raises(NotHere) as raised:
        demand("no_such_module_here", "A peer", "a-package")
    assert raised.value.missing.name == "A peer"
    assert "pip install a-package" in raised.value.missing.remedy and "aegis-store[bench]" in raised.value.missing.remedy


def test_a_missing_peer_is_noted_once_and_other_errors_pass():
    missing: list[Missing] = []
    for _ in range(2):
        with noted(missing):
            raise NotHere("A peer", "get it")
    assert missing == [Missing("A peer", "get it")]
    with pytest.raises(ValueError, match="bug"), noted(missing):
        raise ValueError("bug")
