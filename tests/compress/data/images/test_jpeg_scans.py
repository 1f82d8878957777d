"""Scans are found in files of every kind, and a file that lacks some is not whole."""

from __future__ import annotations

import pytest
from image_folders import grainy, saved

from compress.data.images.jpeg_scans import scans_of


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"restart_marker_blocks": 3}, {"exif": b"Exif\0\0\xff\xda"}]
)
def test_a_baseline_file_has_one(mode: str, options: dict) -> None:
    data = saved(grainy(2).convert(mode), **options)
    found = scans_of(data)
    (scan,) = found.scans
    assert not scan.refines and found.is_whole and found.end == len(data)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_file_is_whole_with_its_last_scans(mode: str) -> None:
    data = saved(grainy(2).convert(mode), progressive=True)
    found = scans_of(data)
    assert len(found.scans) > 5 and found.is_whole and found.scans[-1].refines
    for number, scan in enumerate(found.scans):
        assert data[scan.start : scan.start + 2] == b"\xff\xda"
        before = scans_of(data[: scan.start])
        assert len(before.scans) == number
        if number < 0.8 * len(found.scans):
            assert not before.is_whole


def test_a_header_that_is_cut_is_no_scan() -> None:
    data = saved(grainy(2), progressive=True)
    last = scans_of(data).scans[-1].start
    for more in range(2, 9):
        found = scans_of(data[: last + more])
        assert found.end <= last + more and found.scans == scans_of(data[:last]).scans
        assert more < 4 or found.end == last


def test_a_picture_behind_the_end_is_none_of_it() -> None:
    data = saved(grainy(2), progressive=True)
    assert scans_of(data + data).scans == scans_of(data).scans
    assert not scans_of(b"\xff\xd8\xff\xd9").is_whole and not scans_of(b"").is_whole
