from __future__ import annotations

import os

import pytest

from aegis_store.cli.demo import machine

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
28 27 0:40 / {top}/memory rw - tmpfs tmpfs rw
29 27 0:41 / {top}/with\\040space rw shared:1 - xfs /dev/b rw
30 27 0:42 / {top}/twice rw - ext2 /dev/c rw
31 27 0:43 / {top}/twice rw - btrfs /dev/d rw
garbage
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS.format(top=os.path.realpath(tmp_path)))
    return path


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("memory", "tmpfs"),
        ("memory/a/b", "tmpfs"),
        ("memory-not", "ext4"),
        ("with space/x", "xfs"),
        ("twice/x", "btrfs"),
        ("elsewhere", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path, mounts, place, kind):
    assert machine.file_system(tmp_path / place, mounts) == kind


def test_a_system_that_does_not_say_has_no_file_system(tmp_path):
    assert machine.file_system(tmp_path, tmp_path / "nothing") is None


def test_a_sync_takes_some_time_and_leaves_nothing(tmp_path):
    took = machine.sync_us(tmp_path)
    assert len(took) == 20
    assert min(took) > 0
    assert list(tmp_path.iterdir()) == []
