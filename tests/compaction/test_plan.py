"""What a compaction has to do, on made-up disks: whatever goes, whatever stays can be read, at every moment."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.runs import Runs
from aegis_store.compaction.plan import plan
from aegis_store.gaps import Cause
from aegis_store.states import LINKS_MAX, RUN
from aegis_store.survey import Strand, Survey


class Disk:
    """Sessions as they lie on the disk: of each checkpoint what it is made from. Written as a store writes."""

    def __init__(self):
        self.size = 0
        self.bases = {}  # index -> index or None, of what is there
        self.sessions = []  # of each: tag, number, parent, its checkpoints
        self.gone = set()
        self.parents = {}  # index -> what its entry names

    def _next(self):
        self.size += 1
        return self.size - 1

    def begin(self, parent=None):
        first = 0
        if parent is not None:
            first = next(own.index(parent) + start + 1 for _, _, _, start, own in self.sessions if parent in own)
        self.sessions.append((len(self.sessions).to_bytes(16, "big"), self._next(), parent, first, []))
        return len(self.sessions) - 1

    def depth(self, index):
        links = 0
        while self.bases[index] is not None:
            index, links = self.bases[index], links + 1
        return links

    def write(self, session, whole=False, large=False):
        _, _, parent, _, own = self.sessions[session]
        newest = own[-1] if own else parent
        base = None if whole or newest is None or newest in self.gone or self.depth(newest) >= LINKS_MAX else newest
        if large and base is not None and parent is None and len(own) % RUN == 0:
            first = own[-RUN]
            run_before = first if first not in self.gone and self.depth(first) + RUN <= LINKS_MAX else None
            base = run_before if run_before is not None else base if self.depth(base) + RUN <= LINKS_MAX else None
        own.append(self._next())
        self.bases[own[-1]] = base
        self.parents[own[-1]] = newest

    def named_base(self, index):
        base = self.bases.get(index)
        return base if base is not None and base != self.parents[index] else None

    def survey(self):
        strands = {}
        for tag, number, parent, first, own in self.sessions:
            strands[tag] = Strand(
                tag=tag,
                number=number,
                parent=parent,
                first_ordinal=first,
                is_erased=number in self.gone,
                ordinals=array("I", range(first, first + len(own))),
                indexes=array("Q", own),
                times=array("Q", [0] * len(own)),
                sizes=array("I", [9] * len(own)),
                gaps=bytearray(index in self.gone for index in own),
            )
        return Survey(size=self.size, strands=strands, dictionaries=[])

    def compact(self, going):
        """Let these go as a compactor does it, newest first, and look after each step."""
        cause = Cause(index=self._next(), time_ms=0, is_erasure=False, reason="", runs=Runs.of(sorted(going)))
        todo = plan(self.survey(), [cause], base_of=self.named_base)
        assert set(todo.gaps) == going - self.gone
        assert set(todo.gaps.values()) <= {cause.index}
        assert [each.index for each in todo.touched] == sorted(each.index for each in todo.touched)
        before = dict(self.bases)
        touched = {each.index: each for each in todo.touched}
        for index in sorted({*todo.gaps, *touched}, reverse=True):
            if index in todo.gaps:
                self.bases.pop(index, None)
                self.gone.add(index)
            elif before[index] is not None:
                base, links = touched[index].base, self.depth(index)
                self.bases[index] = base if base is not None and self.depth(base) < links else None
            self.check()
        assert all(each.base is None or each.base < index for index, each in touched.items())
        return todo

    def check(self):
        for index in self.bases:
            assert self.depth(index) <= LINKS_MAX, f"{index} hangs on too many"  # KeyError: it hangs on what is gone


def line(count, large=False):
    disk = Disk()
    session = disk.begin()
    for _ in range(count):
        disk.write(session, large=large)
    return disk, disk.sessions[session][4]


def touched_of(todo):
    return {each.index: each.base for each in todo.touched}


def test_only_those_whose_base_goes_are_made_anew():
    disk, own = line(6)
    todo = disk.compact({own[1], own[2], own[4]})
    assert touched_of(todo) == {own[3]: own[0], own[5]: own[3]}


def test_where_nothing_before_it_stays_it_becomes_a_keyframe():
    disk, own = line(60)
    assert touched_of(disk.compact(set(own[:50]))) == {own[50]: None}
    assert disk.depth(own[59]) == 9


def test_a_new_base_is_taken_only_where_no_chain_grows():
    disk, own = line(200)
    before = {index: disk.depth(index) for index in own}
    disk.compact({index for at, index in enumerate(own) if at % 4})
    assert all(disk.depth(index) <= before[index] for index in disk.bases)
    assert sum(base is None for base in disk.bases.values()) == 4  # one in each of the old chains, as it was


def test_the_first_of_a_fork_becomes_a_keyframe_where_what_it_goes_on_from_goes():
    disk, own = line(5)
    fork = disk.begin(parent=own[2])
    disk.write(fork)
    disk.write(fork)
    first, second = disk.sessions[fork][4]
    assert touched_of(disk.compact({own[2], own[3]})) == {first: None, own[4]: own[1]}
    assert disk.bases[second] == first


def test_forks_hang_on_as_many_as_they_may_and_no_more():
    disk, own = line(9)
    fork = disk.begin(parent=own[6])
    for _ in range(LINKS_MAX - 6):
        disk.write(fork)
    assert disk.depth(disk.sessions[fork][4][-1]) == LINKS_MAX
    disk.compact({own[3]})
    assert disk.depth(disk.sessions[fork][4][-1]) == LINKS_MAX - 1


def test_the_first_of_a_run_stays_where_only_the_one_before_it_goes():
    disk, own = line(4 * RUN, large=True)
    first = own[2 * RUN]
    assert disk.bases[first] == own[RUN] != own[2 * RUN - 1]
    assert touched_of(disk.compact({own[2 * RUN - 1]})) == {}
    assert disk.bases[first] == own[RUN]


def test_the_first_of_a_run_hangs_on_an_earlier_run_where_the_one_before_goes():
    disk, own = line(4 * RUN, large=True)
    todo = disk.compact({own[RUN]})
    assert touched_of(todo) == {own[RUN + 1]: own[RUN - 1], own[2 * RUN]: own[0]}
    assert disk.bases[own[2 * RUN]] == own[0]
    assert disk.bases[own[RUN + 1]] is None  # nothing that stays is nearer to its keyframe
    assert disk.depth(own[3 * RUN]) == 2


def test_the_first_of_a_run_becomes_a_keyframe_where_all_before_it_goes():
    disk, own = line(3 * RUN, large=True)
    assert touched_of(disk.compact(set(own[: 2 * RUN]))) == {own[2 * RUN]: None}
    assert disk.depth(own[-1]) == RUN - 1


def test_large_sessions_have_few_keyframes():
    disk, own = line(17 * RUN, large=True)
    assert sum(base is None for base in disk.bases.values()) == 1
    assert max(map(disk.depth, own)) == LINKS_MAX
    disk.write(0, large=True)
    assert disk.bases[disk.sessions[0][4][-1]] is None


def test_writes_go_with_their_checkpoint_and_those_of_nobody_stay():
    disk, own = line(3)
    tag, *_ = disk.sessions[0]
    strand = (found := disk.survey()).strands[tag]
    strand.tags = bytearray(b"AAAAAAAABBBBBBBBAAAAAAAA")
    strand.writes = {b"A" * 8: [(80, 10)], b"B" * 8: [(81, 10), (82, 0)], b"C" * 8: [(83, 10)]}
    assert strand.beside() == {2: [(80, 10)], 1: [(81, 10), (82, 0)]}
    cause = Cause(index=99, time_ms=0, is_erasure=False, reason="", runs=Runs.of([own[1], 81, 82]))
    assert set(plan(found, [cause]).gaps) == {own[1], 81}
    assert set(strand.records()) == {found.strands[tag].number, *own, 80, 81, 82, 83}


def test_a_session_goes_with_all_that_it_has():
    disk, own = line(3)
    tag, number, *_ = disk.sessions[0]
    found = disk.survey()
    strand = found.strands[tag]
    strand.chunks[1] = [(90, 4096), (91, 4096)]
    strand.ended = 95
    cause = Cause(index=99, time_ms=0, is_erasure=True, reason="", runs=Runs.of(sorted(strand.records())))
    todo = plan(found, [cause])
    assert set(todo.gaps) == {number, *own, 95}
    # Pieces behind their checkpoint go last: until then something may still be made from it.
    assert todo.late == {90: 99, 91: 99}
    assert todo.touched == []
    assert todo.first_and_last() == (number, 95)


def test_the_newest_cause_is_named_and_what_is_gone_is_left_alone():
    disk, own = line(3)
    disk.gone.add(own[0])
    causes = [Cause(index=90 + n, time_ms=0, is_erasure=False, reason="", runs=Runs.of([own[0], own[1]])) for n in (0, 1)]
    assert plan(disk.survey(), causes).gaps == {own[1]: 91}
    assert plan(disk.survey(), []).first_and_last() is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 5), st.integers(1, 40)),
        st.tuples(st.just("large"), st.integers(0, 5), st.integers(40, 120)),
        st.tuples(st.just("whole"), st.integers(0, 5), st.just(1)),
        st.tuples(st.just("fork"), st.integers(0, 5), st.integers(0, 200)),
        st.tuples(st.just("prune"), st.integers(0, 2**32), st.integers(1, 9)),
    ),
    max_size=30,
)


@settings(max_examples=300)
@given(STEPS)
def test_whatever_goes_what_stays_can_be_read_and_hangs_on_no_more_than_it_may(steps):
    disk = Disk()
    disk.begin()
    for what, which, count in steps:
        session = which % len(disk.sessions)
        own = disk.sessions[session][4]
        if what == "write":
            for _ in range(count):
                disk.write(session)
        elif what == "large":
            for _ in range(count):
                disk.write(session, large=True)
        elif what == "whole":
            disk.write(session, whole=True)
        elif what == "fork" and own and own[count % len(own)] not in disk.gone:
            disk.begin(parent=own[count % len(own)])
        elif what == "prune":
            # One in `count` stays, and so do the newest: what a session goes on from never goes by retention.
            newest = {each[4][-1] for each in disk.sessions if each[4]} | {each[2] for each in disk.sessions if not each[4]}
            going = {
                index for index in disk.bases if (index * 2654435761 + which) % 2**32 % (count + 1) and index not in newest
            }
            disk.compact(going)
    disk.check()
