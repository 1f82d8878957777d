"""The scans of a JPEG file: what each brings, and whether they bring the whole picture.

A progressive file sends a rough picture first and refines it scan by scan (JPEG, ITU-T T.81,
annex G): one that lacks scans shows every row, only not what was in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

COEFFICIENTS = 64  # of a block
WITHOUT = 16  # more bits than a coefficient has
SCAN = 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # in a scan's data: no stuffing, no restart


@dataclass(frozen=True)
class Scan:
    """One scan.

    Attributes:
        start: where its header begins in the file.
        refines: whether it brings one more bit of coefficients that are known roughly.
    """

    start: int
    refines: bool


@dataclass(frozen=True)
class Scans:
    """The scans of a file, without one whose header is cut.

    Attributes:
        is_whole: whether they bring a whole picture. The last one may be cut short, and the last
            bit of one component, but not of the first, may lack its scan: of the black of CMYK it
            is often empty.
        end: where the file ends, or a header that is cut begins.
    """

    scans: tuple[Scan, ...]
    is_whole: bool
    end: int


def scans_of(data: bytes) -> Scans:
    """The scans of a file. Raises: KeyError or ValueError: a header that makes no sense."""
    scans: list[Scan] = []
    missing: dict[int, list[int]] = {}  # component -> bits that each coefficient lacks
    at, end = 2, len(data)
    while (found := NEXT_MARKER.search(data, at)) is not None:
        start, code = found.start(), data[found.end() - 1]
        if code == 0xD9:  # the end of the (first) image
            break
        body = found.end() + 2
        at = found.end() + int.from_bytes(data[found.end() : body], "big")
        if max(at, body) > len(data):
            end = start
            break
        if code in FRAMES:
            missing = {
                data[body + 6 + 3 * i]: [WITHOUT] * COEFFICIENTS for i in range(data[body + 5])
            }
        if code == SCAN:
            count = data[body]
            first, last, bits = data[body + 1 + 2 * count : body + 4 + 2 * count]
            for component in data[body + 1 : body + 1 + 2 * count : 2]:
                lacking = missing[component]
                lacking[first : last + 1] = [bits & 15] * (last + 1 - first)
            scans.append(Scan(start, bits >> 4 > 0))
    most = [max(lacking) for lacking in missing.values()]
    return Scans(tuple(scans), bool(most) and most[0] == 0 and sum(most) <= 1, end)
