"""Sessions of threads and namespaces: no two have one, and each says whose it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.adapters.langgraph.names import Line, line_of, session_id, thread_prefix

TEXTS = st.text(st.sampled_from("a%/:|25F") | st.characters(), max_size=8)


@given(TEXTS, TEXTS)
def test_a_session_says_which_line_it_holds(thread, namespace):
    line = Line(thread, namespace)
    assert line_of(session_id(line)) == line
    assert session_id(line).startswith(thread_prefix(thread))


@given(TEXTS, TEXTS, TEXTS)
def test_no_thread_has_what_starts_like_anothers(thread, other, namespace):
    if thread != other:
        assert not session_id(Line(thread, namespace)).startswith(thread_prefix(other))


def test_a_plain_thread_is_read_as_it_is_written():
    assert session_id(Line("ticket-7", "")) == "langgraph/ticket-7/"
    assert session_id(Line("a/b", "child:1|x/y")) == "langgraph/a%2Fb/child:1|x/y"
    assert session_id(Line("100%", "")) == "langgraph/100%25/"


@pytest.mark.parametrize("session", ["", "ticket-7", "langgraph", "langgraph/ticket-7", "Langgraph/t/"])
def test_a_session_of_others_is_no_line(session):
    assert line_of(session) is None
