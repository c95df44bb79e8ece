"""What is known of workflows, and which moves are open."""

from __future__ import annotations

import aegis_store
from aegis_store import Ref, Tier
from aegis_store.workflow import standing
from aegis_store.workflow.links import CREATED, Entry, follow
from aegis_store.workflow.standing import Board, Standing, board_of

LINK = follow("o", None, action=CREATED, to_state="new", actor="a", now_ms=9)


def ref(index: int) -> Ref:
    return Ref(tier=Tier.AUDIT, index=index, leaf=bytes(32), ordinal=0, session="workflow/o")


def known(*unaudited: Entry) -> Standing:
    return Standing(type="Order", newest=ref(1), link=LINK, state="new", unaudited=unaudited)


def test_a_record_says_below_which_index_nothing_was_open():
    board = Board()
    one, below = board.begin(5)
    assert below == 5
    two, below = board.begin(9)
    assert below == 5
    board.end(one)
    assert board.begin(12)[1] == 9
    board.end(two)
    assert board.begin(13)[1] == 12


def test_a_move_that_failed_stays_open_until_it_was_looked_at():
    board = Board()
    failed, _ = board.begin(5)
    board.fail(failed)
    slow, _ = board.begin(8)
    board.settle(board.failed())
    assert board.begin(20)[1] == 8
    board.fail(slow)
    seen_to = board.failed()
    late, _ = board.begin(21)
    board.fail(late)
    board.settle(seen_to)
    assert board.failed() == {late}
    board.end(late)
    board.fail(late)  # it had come to its end
    board.settle(board.failed())


def test_events_that_are_durable_are_forgotten_and_the_newest_is_known():
    board = Board()
    board.put("o", known(Entry(link=LINK)))
    board.audited("o", -1, ref(3))
    assert len(board.get("o").unaudited) == 1
    board.audited("o", 0, ref(4))
    assert (board.get("o").unaudited, board.get("o").event) == ((), ref(4))
    board.audited("another", 0, ref(4))
    board.forget("o")
    assert board.get("o") is None


def test_the_oldest_go_but_those_that_still_wait(monkeypatch):
    monkeypatch.setattr(standing, "STANDINGS_KEPT", 2)
    board = Board()
    board.put("waits", known(Entry(link=LINK)))
    for name in ("a", "b", "c"):
        board.put(name, known())
    assert [board.get(name) is not None for name in ("waits", "a", "b", "c")] == [True, False, False, True]


def test_all_engines_of_a_store_share_one(tmp_path):
    with aegis_store.open(tmp_path / "a") as a, aegis_store.open(tmp_path / "b") as b:
        assert board_of(a) is board_of(a)
        assert board_of(a) is not board_of(b)
