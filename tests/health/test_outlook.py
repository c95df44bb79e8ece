from __future__ import annotations

import msgspec
import pytest

from aegis_store.health.outlook import NAME, Outlook, OutlookFile
from aegis_store.types import Tier

ROOT = b"r" * 32
SAID = Outlook(
    covers={int(Tier.SESSION): (100, ROOT)},
    gaps={int(Tier.SESSION): [(7, True), (9, False)]},
    suspects=1,
    troubles=[3, 5],
    targets={int(Tier.AUDIT): (0, None)},
    interval_seconds=300,
    open_seconds=0.5,
    unsaved=(2, 1, 1_700_000_000_000),
)


@pytest.fixture
def file(tmp_path):
    made = OutlookFile(tmp_path, secret=b"s" * 32)
    made.write(SAID)
    return made


def read(file, size=100, root=ROOT):
    return file.read({Tier.SESSION: size}, lambda tier, at: root)


def test_what_was_written_is_read(file):
    assert read(file) == SAID
    assert read(file, size=101) == SAID  # an older one is not wrong


def test_1_what_is_not_ours_is_not_believed(file, tmp_path):
    place = tmp_path / NAME
    data = place.read_bytes()
    for at in (0, 20, len(data) - 1):
        place.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert read(file) is None
    place.write_bytes(data[:-1])
    assert read(file) is None
    place.write_bytes(data)
    assert OutlookFile(tmp_path, secret=b"t" * 32).read({Tier.SESSION: 100}, lambda tier, at: ROOT) is None
    place.unlink()
    assert read(file) is None


def test_2_what_covers_more_than_there_is_is_not_believed(file):
    assert read(file, size=99) is None


def test_3_what_names_another_root_is_not_believed(file):
    assert read(file, root=b"q" * 32) is None


def test_one_of_another_version_is_not_believed_though_its_code_holds(file, tmp_path):
    body = b"AEGISOUT" + msgspec.msgpack.encode({"another": "layout"})
    (tmp_path / NAME).write_bytes(body + file._code(body))
    assert read(file) is None


def test_a_link_in_its_place_is_not_followed_and_a_full_disk_fails_nothing(file, tmp_path):
    there = tmp_path / NAME
    there.rename(tmp_path / "moved")
    there.symlink_to("moved")
    assert read(file) is None
    OutlookFile(tmp_path / "nowhere", secret=b"s" * 32).write(SAID)
