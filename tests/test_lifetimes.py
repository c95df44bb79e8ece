"""Lifetimes of the memory, as data."""

from __future__ import annotations

import pytest

from aegis_store import Config
from aegis_store.errors import InvalidArgument
from aegis_store.lifetimes import Lifetime, from_tables, in_force, ttl_of


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(5, 5), (0.5, 0.5), ("30d", 30 * 86_400), ("12h", 43_200), ("90m", 5_400), ("45s", 45), ("1 h", 3600)],
)
def test_a_ttl_is_seconds_or_text(given, seconds):
    assert ttl_of(given) == seconds
    assert Lifetime(ttl=given).ttl_seconds == seconds


@pytest.mark.parametrize("given", [0, -1, True, "soon", "30", "1w", "", float("nan"), float("inf"), 10**11, None, [1]])
def test_what_is_no_ttl_is_refused(given):
    with pytest.raises(InvalidArgument, match=r"^ttl is "):
        ttl_of(given)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"namespace": "users"}, "^namespace is 'users', not a list of names"),
        ({"namespace": ["users", 5]}, "^namespace is"),
        ({"ttl": "soon"}, "^ttl is 'soon'"),
        ({"refresh_on_read": 1}, "^refresh_on_read is 1, not True or False"),
    ],
)
def test_what_cannot_be_meant_is_named(fields, message):
    with pytest.raises(InvalidArgument, match=message):
        Lifetime(**fields)


def test_the_longest_namespace_comes_first_and_each_once():
    lifetimes = [Lifetime(ttl=1), Lifetime(namespace=["a", "b"]), Lifetime(namespace=["a"], ttl=2)]
    assert [each.namespace for each in in_force(lifetimes)] == [("a", "b"), ("a",), ()]
    with pytest.raises(InvalidArgument, match="memory lifetime 2 is for a namespace that another one is for"):
        in_force([Lifetime(namespace=["a"]), Lifetime(namespace=("a",), ttl=5)])
    with pytest.raises(InvalidArgument, match="not a list of lifetimes"):
        in_force(Lifetime())
    with pytest.raises(InvalidArgument, match="memory lifetime 1 is 5, not a Lifetime"):
        in_force([5])


def test_a_file_has_tables_of_them(tmp_path):
    path = tmp_path / "aegis.toml"
    path.write_text('[[memory]]\nttl = "30d"\n\n[[memory]]\nnamespace = ["log"]\nttl = 60\nrefresh_on_read = false\n')
    assert Config.load(path).memory == (Lifetime(namespace=["log"], ttl=60, refresh_on_read=False), Lifetime(ttl="30d"))
    hash(Config.load(path))
    path.write_text('[[memory]]\nttl = "30d"\n\n[[memory]]\nnamespaces = ["log"]\n')
    with pytest.raises(InvalidArgument, match="memory lifetime 2: there is no key namespaces"):
        Config.load(path)
    path.write_text("[[memory]]\nttl = 0\n")
    with pytest.raises(InvalidArgument, match="memory lifetime 1: ttl is 0"):
        Config.load(path)
    with pytest.raises(InvalidArgument, match="not a list of tables"):
        from_tables("log")
