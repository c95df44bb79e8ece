"""The envelopes of prunes, erasures, holds and their releases."""

import pytest

from aegis_store.codec.canonical import encode
from aegis_store.codec.runs import Runs
from aegis_store.errors import Corrupt, NewerFormat
from aegis_store.schema import gaps

RUNS = Runs.of([4, 5, 9])
PRUNE = gaps.Prune(reason="keep_last 3", runs=RUNS)
ERASE = gaps.Erase(reason="case 17", by="dpo", runs=RUNS)
HOLD = gaps.Hold(reason="litigation", holder="legal", ordinal=3)
RELEASE = gaps.Release(hold=12, reason="settled", by="legal")
FORMS = [
    (PRUNE, gaps.encode_prune, gaps.decode_prune, ["prune", 0, "keep_last 3", RUNS.encode()]),
    (ERASE, gaps.encode_erase, gaps.decode_erase, ["erase", 0, "case 17", "dpo", None, RUNS.encode()]),
    (HOLD, gaps.encode_hold, gaps.decode_hold, ["hold", 0, "litigation", "legal", 3]),
    (RELEASE, gaps.encode_release, gaps.decode_release, ["hold-release", 0, 12, "settled", "legal"]),
]
EACH = pytest.mark.parametrize(("said", "write", "read", "wire"), FORMS, ids=[form[3][0] for form in FORMS])


@EACH
def test_an_envelope_is_what_the_format_says_and_comes_back(said, write, read, wire):
    assert write(said) == encode(wire)
    assert read(write(said)) == said


@EACH
def test_any_text_is_stored(said, write, read, wire):
    strange = type(said)(**{field: getattr(said, field) for field in said.__struct_fields__} | {"reason": "a\ud800\0"})
    assert read(write(strange)) == strange


@EACH
def test_a_later_version_and_another_schema_are_told_apart(said, write, read, wire):
    with pytest.raises(NewerFormat):
        read(encode([wire[0], 1, *wire[2:]]))
    with pytest.raises(Corrupt, match="stands where"):
        read(encode(["session-end", 0, *wire[2:]]))


@EACH
def test_a_field_of_another_type_or_out_of_bounds_is_refused(said, write, read, wire):
    for at in range(2, len(wire)):
        for strange in (-1, 2**48, 1.5, [], b"short"):
            fields = [*wire[:at], strange, *wire[at + 1 :]]
            with pytest.raises(Corrupt):
                read(encode(fields))
                pytest.fail(f"{strange!r} was taken as field {at}")
