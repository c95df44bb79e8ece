"""Namespaces and keys as names of chains: reversible, in order, and prefixes stay prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.errors import Corrupt
from aegis_store.schema import names

#: What needs an escape, what borders on it, and lone surrogates, which UTF-8 does not have.
texts = st.text(
    st.sampled_from("\x00\x01\x02\x03\x04\x05\x06ab/\ud800\udfff\ue000\U0010ffff") | st.characters(codec=None), max_size=4
)
namespaces = st.lists(texts, max_size=3).map(tuple)
keys = st.tuples(namespaces, texts)


@given(keys)
def test_a_name_is_read_back(place):
    assert names.split(names.name_of(*place)) == place


@given(keys, keys)
def test_names_sort_as_namespaces_and_keys_do(one, other):
    def stored(place):
        return names.name_of(*place).encode("utf-8", "surrogatepass")

    assert (stored(one) < stored(other)) == (one < other)
    assert (stored(one) == stored(other)) == (one == other)


@given(keys, namespaces, texts)
def test_prefixes_stay_prefixes(place, namespace, beginning):
    name = names.name_of(*place)
    assert name.startswith(names.within(namespace)) == (place[0][: len(namespace)] == namespace)
    assert name.startswith(names.prefix_of(namespace, beginning)) == (place[0] == namespace and place[1].startswith(beginning))


@pytest.mark.parametrize(
    "name", ["", "a", "a\x01", "a\x00k", "a\x01\x00k\x00", "\x00\x02", "\x00\x02\x02", "\x00\x02\x06", "\x00\x01"]
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(Corrupt):
        names.split(name)


def test_how_messages_call_them():
    assert names.shown(("users", "u 1"), "name") == "key 'name' of the namespace 'users'/'u 1'"
    assert names.shown((), "name") == "key 'name' of the empty namespace"
    assert names.shown(("users",)) == "the namespace 'users'"
