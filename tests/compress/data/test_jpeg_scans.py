"""Scans are found in files of every kind, and a file that lacks some is not whole."""

from __future__ import annotations

import pytest
from image_folders import grainy, saved

from compress.data.jpeg_scans import scans_of, whole_scans


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"restart_marker_blocks": 3}, {"exif": b"Exif\0\0\xff\xda"}]
)
def test_a_baseline_file_has_one(mode: str, options: dict) -> None:
    (scan,) = whole_scans(saved(grainy(2).convert(mode), **options))
    assert not scan.refines


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_file_is_whole_with_its_last_scan(mode: str) -> None:
    data = saved(grainy(2).convert(mode), progressive=True)
    scans = whole_scans(data)
    assert len(scans) > 5 and scans == scans_of(data) and scans[-1].refines
    for scan in scans:
        assert data[scan.start : scan.start + 2] == b"\xff\xda"
    for scan in scans[: len(scans) // 2]:
        assert whole_scans(data[: scan.start]) == []


def test_a_picture_behind_the_end_is_none_of_it() -> None:
    data = saved(grainy(2), progressive=True)
    assert whole_scans(data + data) == whole_scans(data)
    assert whole_scans(b"\xff\xd8\xff\xd9") == []
