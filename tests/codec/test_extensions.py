"""Each extension type has one form, and whatever else has its tag is refused."""

import datetime as dt
import decimal
import enum
import os
import subprocess
import sys
import uuid
import zoneinfo
from decimal import Decimal as D
from pathlib import Path

import pytest
from hypothesis import given, settings

from aegis_store.codec import extensions
from aegis_store.codec.canonical import decode, encode
from aegis_store.codec.extensions import DEPTH_MAX, is_plain_key, write
from aegis_store.codec.offences import Unstorable
from aegis_store.errors import Corrupt, StateTypeError, UnknownType
from tests.golden.values import read_value
from tests.values import KEYS, NAMED, Call, Colour, Pair, Right, Ticket, exactly, scalars

VECTORS = [
    (2**64, "c70901010000000000000000"),
    (-(2**63) - 1, "c70901ff7fffffffffffffff"),
    (-(2**71), "c70901800000000000000000"),
    (2**71, "c70a0100800000000000000000"),
    (bytearray(b"ab"), "d5026162"),
    (D("-1.10"), "c705032d312e3130"),
    (D("1E+3"), "d60331452b33"),
    (D("sNaN7"), "c70503734e614e37"),
    (D("-Infinity"), "c709032d496e66696e697479"),
    (uuid.UUID(int=1), "d80400000000000000000000000000000001"),
    (dt.date(2026, 11, 22), "d60507ea0b16"),
    (dt.time(23, 59, 59, 999999), "d706173b3b000f423f00"),
    (dt.time(1, fold=1), "d7060100000000000001"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, 6), "c70c0707ea01020304050000000600"),
    (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "c7150707ea01020000000000000000010000000000000000"),
    (
        dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(microseconds=-1))),
        "c7150707ea0102000000000000000001ffffffffffffffff",
    ),
    (
        dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1), "CET")),
        "c7180707ea010200000000000000000200000000d693a400434554",
    ),
    (dt.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC")), "d80707ea0102000000000000000003555443"),
    (dt.timedelta(-1, 2, 3), "c70c08ffffffff0000000200000003"),
    ((1, "a"), "d6109201a161"),
    ((), "d41090"),
    ({10, 9, "a"}, "c7051193090aa161"),
    (frozenset({b"a"}), "d61291c40161"),
    ({(1, 2): 3, "k": 4}, "c70b1394c7031092010203a16b04"),
    ({2**64: None}, "c70e1392c70901010000000000000000c0"),
    (Ticket("t", [1]), "c7172095a65469636b6574a4746167739101a57469746c65a174"),
    (Call(tool="grep"), "c7162095a443616c6ca461726773c0a4746f6f6ca467726570"),
    (Pair(1, 2), "c7122095a450616972a36f6e6501a56f7468657202"),
    (Colour.ROUGE, "c70c2192a6436f6c6f7572a3524544"),
    (Right.SEE | Right.CHANGE, "c7122193a55269676874a64348414e4745a3534545"),
    (Right(0), "c7072191a55269676874"),
    ([(1, (2,))], "91c706109201d5109102"),
]


@pytest.mark.parametrize(("value", "bytes_hex"), VECTORS, ids=[bytes_hex[:24] for _, bytes_hex in VECTORS])
def test_the_bytes_are_those_of_the_format(value, bytes_hex):
    assert encode(value, types=NAMED).hex() == bytes_hex
    assert exactly(decode(bytes.fromhex(bytes_hex), types=NAMED), value)


def test_every_tag_has_a_vector():
    tags = {each for name, each in vars(extensions).items() if name.isupper() and type(each) is int and 0 < each < DEPTH_MAX}
    assert {_tag(bytes.fromhex(bytes_hex)) for _, bytes_hex in VECTORS[:-1]} == tags


def _tag(data):
    return data[2] if data[0] == 0xC7 else data[1]


NAMED_KINDS = (Ticket, Call, Pair, Colour, Right)


#: By their bytes: sets show their items in another order in each process.
UNNAMED = {bytes_hex: value for value, bytes_hex in VECTORS if not isinstance(value, NAMED_KINDS)}


@pytest.mark.parametrize("value", UNNAMED.values(), ids=UNNAMED)
def test_the_second_reader_reads_the_same(value):
    assert exactly(read_value(encode(value)), value)


@settings(deadline=None, max_examples=200)
@given(scalars.filter(lambda value: not isinstance(value, enum.Enum)))
def test_the_second_reader_agrees_on_every_scalar(value):
    assert exactly(read_value(encode(value)), value)


@pytest.mark.parametrize(
    "bytes_hex",
    [
        "d40105",  # an integer that msgpack has
        "c70001",
        "c7090100ffffffffffffffff",
        "c70a0100010000000000000000",  # a byte too many
        "d6032b312e30",  # +1.0
        "d603312e3065",
        "d60331453530",  # 1E50 without its sign
        "d5033161",
        "d50331ff",
        "d703316539393939",
        "c7140331453939393939393939393939393939393939",
        "c70003",
        "c70204 0000",
        "c70f04000000000000000000000000000000",
        "d60507ea0d01",  # month 13
        "d60507ea021d",
        "d605 00000101",
        "d5050101",
        "c7050507ea0b1600",
        "c70806 18000000000000 00",
        "d706180000000000 0000",
        "d706000000000f424000",  # a million microseconds
        "d706000000000000 0002",  # fold 2
        "c7060600000000 0000",
        "c7090600000000000000 0001",
        "c7090600000000000000 0000",
        "c71106 0000000000000000 04 0000000000000000",
        "c71106 0000000000000000 01 000000141dd76000",  # 24 hours
        "c71206 0000000000000000 01 0000000000000000 00",
        "c71206 0000000000000000 02 0000000000000000 ff",
        "c70c06 0000000000000000 03 2e2e2f",
        "c70a06 0000000000000000 03 ff",
        "c70906 0000000000000000 03",
        "c70c08 00000000 00015180 00000000",  # a day of seconds
        "c70c08 00000000 00000000 000f4240",
        "c70c08 7fffffff 00000000 00000000",
        "c70d08 00000000 00000000 00000000 00",
        "d41001",
        "c70010",
        "d41080",
        "d51091",
        "d5109000",
        "d610dc0000",
        "d6109201cc01",
        "d51190c0",
        "d611920201",  # descending
        "c70311920101",  # twice
        "c70311920001"[:-2] + "c2",
        "d511 9190",
        "d51191 80",
        "d41380",
        "d41390",
        "c703139201 02",  # a dict that msgpack has
        "c703139101",
        "c7051394d4109001d4109002"[:24],
        "c709 13 94 d41090 01 d41090 02",  # a key twice
        "c7041392900100"[:14],
        "c703139290 01",
        "d42090",
        "d5209101",
        "c7052092a15401"[:14],
        "c7052093a15401 02",
        "c7082095a154a16201a16102"[:22],
        "c70920 95 a154 a162 01 a161 02",  # fields descending
        "c70920 95 a154 a161 01 a161 02",
        "d42190",
        "d5219101",
        "c7042192a15401",
        "c70721 93 a154 a162 a161",
        "c70721 93 a154 a161 a161",
    ],
)
def test_other_contents_are_corrupt(bytes_hex):
    with pytest.raises(Corrupt):
        decode(bytes.fromhex(bytes_hex), types=NAMED)


@pytest.mark.parametrize("bytes_hex", ["c70810cb3ff000000000000000"[:24], "c80001020a", "c7010261", "c900000002106161"])
def test_other_headers_are_corrupt(bytes_hex):
    with pytest.raises(Corrupt):
        decode(bytes.fromhex(bytes_hex))


@pytest.mark.parametrize("key", ["d40178", "d41090", "d60507ea0b16", "c70901010000000000000000"])
def test_an_extension_type_is_no_key_of_a_msgpack_map(key):
    with pytest.raises(Corrupt):
        decode(bytes.fromhex("81" + key + "c0"))


def test_the_context_of_the_caller_does_not_show():
    with decimal.localcontext(decimal.Context(prec=2, capitals=0, traps=[])):
        assert encode(D("1.2345E+30")).hex() == "c70a03" + b"1.2345E+30".hex()
        assert exactly(decode(encode(D("1.2345E+30"))), D("1.2345E+30"))
        with pytest.raises(Corrupt):
            decode(bytes.fromhex("d5033161"))


@pytest.mark.parametrize("key", [2**64 - 1, -(2**63), None, True, b"", 1.5, "", 2**64, -(2**63) - 1, (), D(1), frozenset()])
def test_a_map_has_scalars_of_msgpack_as_keys(key):
    plain = type(key) not in (tuple, D, frozenset) and (type(key) is not int or -(2**63) <= key < 2**64)
    assert is_plain_key(key) == plain
    assert (encode({key: 1})[0] == 0x81) == plain
    assert exactly(decode(encode({key: 1})), {key: 1})


# ---- time zones


def test_a_zone_that_is_not_known_here_is_an_error_with_its_path():
    data = encode({"at": [dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))]})
    with pytest.raises(UnknownType, match=r'^state\["at"\]\[0\] has the time zone "Utopia"') as caught:
        decode(data.replace(b"UTC", b"Utopia").replace(b"\xd8\x07", b"\xc7\x13\x07"))
    assert "tzdata" in caught.value.hint


@pytest.mark.parametrize("key", ["Europe/Berlin", "Etc/GMT+5"])
def test_a_zone_comes_back_by_its_key(key):
    assert key in KEYS, "this machine has no time zone data"
    zone = zoneinfo.ZoneInfo(key)
    moment = dt.datetime(2026, 10, 25, 2, 30, tzinfo=zone, fold=1)
    again = decode(encode(moment))
    assert (again.tzinfo, again.fold, again.utcoffset()) == (zone, 1, moment.utcoffset())
    assert exactly(decode(encode(moment.replace(tzinfo=zoneinfo.ZoneInfo.no_cache(key)))), moment)


def test_a_zone_from_a_file_is_refused(tmp_path):
    place = next((root for root in zoneinfo.TZPATH if (tmp_path / root / "UTC").is_file()), None)
    assert place, "this machine has no time zone data"
    for key in ("UTC", None):
        with open(f"{place}/UTC", "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file, key=key)
        with pytest.raises(StateTypeError, match=r"^state\[0\] has a time zone that cannot be found again"):
            encode([dt.time(1, tzinfo=zone)])


def test_a_zone_with_a_name_that_is_no_text_is_refused():
    with pytest.raises(Unstorable, match="name is not valid Unicode"):
        write(dt.time(1, tzinfo=dt.timezone(dt.timedelta(0), "\ud800")))


def test_a_stored_zone_imports_nothing(tmp_path):
    """Not even below `tzdata`, where ZoneInfo would look for a package of the key's name."""
    evil = tmp_path / "tzdata" / "zoneinfo" / "evil"
    evil.mkdir(parents=True)
    for package in (tmp_path / "tzdata", evil.parent, evil):
        (package / "__init__.py").write_text(f"print({package.name!r})")
    (tmp_path / "tzdata" / "zones").write_text("Europe/Berlin\n")
    content = bytes(8) + b"\x03evil/Zone"
    code = "\n".join(
        (
            "from aegis_store.codec.canonical import decode",
            "from aegis_store.errors import UnknownType",
            "try:",
            f"    decode({bytes([0xC7, len(content), 6]) + content!r})",
            "except UnknownType:",
            "    print('unknown')",
        )
    )
    place = Path(extensions.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{place}"},
    )
    assert (done.returncode, done.stdout.split()) == (0, ["tzdata", "unknown"]), done.stderr[-800:]
