"""Contact sheets."""

from __future__ import annotations

import numpy as np

from compress.generate.sheets import contact_sheet


def test_real_images_are_above_synthetic_ones() -> None:
    assert contact_sheet([], []).size == (104, 104)
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    sheet = contact_sheet([red], [red] * 9)
    assert sheet.size == (804, 304)
    assert sheet.getpixel((50, 50)) == (255, 0, 0)
    assert sheet.getpixel((150, 50)) == (255, 255, 255)
    assert sheet.getpixel((150, 150)) == (255, 0, 0)
