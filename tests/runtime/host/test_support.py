"""The support matrix: every machine has a row."""

from __future__ import annotations

import pytest

from runtime.host.support import MATRIX, platform_of, release_of, table


@pytest.mark.parametrize(
    ("linux", "arch", "nvidia", "name"),
    [
        ("R35.4.1", "aarch64", True, "JetPack 5"),
        ("R36.3.0", "aarch64", True, "JetPack 6.0"),
        ("R36.4.7", "aarch64", True, "JetPack 6.1, 6.2"),
        ("R38.2.1", "aarch64", True, "JetPack 7.0, 7.1"),
        ("R39.2.0", "aarch64", True, "JetPack 7.2"),
        ("R41.0", "aarch64", True, "JetPack 7.2"),
        ("R32.7.1", "aarch64", True, "JetPack 5"),
        (None, "aarch64", False, "64-bit ARM"),
        (None, "x86_64", True, "x86-64 + NVIDIA"),
        (None, "x86_64", False, "x86-64"),
    ],
)
def test_every_machine_has_a_row(linux: str | None, arch: str, nvidia: bool, name: str) -> None:
    assert platform_of(linux, arch, nvidia).name == name


def test_releases_of_jetson_linux_do_not_overlap() -> None:
    spans = [row.linux for row in MATRIX if row.linux]
    assert spans == sorted(spans) and all(low <= high for low, high in spans)
    assert all(before[1] < after[0] for before, after in zip(spans, spans[1:], strict=False))
    assert (
        release_of("R36.4.3") == (36, 4) and release_of("36.x") is None and release_of(None) is None
    )


def test_the_matrix_fits_a_terminal() -> None:
    assert all(len(row) <= 78 for row in table())
