"""Valid files made invalid, or oddly valid: by bytes, and by the structure of JSON and text.

The same seed gives the same file.
"""

from __future__ import annotations

import copy
import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[bytes, Sequence[bytes], random.Random], bytes]
ODD_BYTES = (0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF)
ODD_SIZES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
ODD_VALUES: tuple[Any, ...] = (None, True, -1, 0, 2**31, 2**63, 1e308, -0.5, "", " ", "\x00")
ODD_VALUES += ("../../etc/passwd", "/dev/zero", "\ud83c\udf37", "é", "x" * 5000, [], {}, [[]])
ODD_VALUES += (float("nan"), float("inf"), "1", ["a", "a"], {"a": 1})
ODD_TEXTS: tuple[str, ...] = (
    "\x00",
    "\ufeff",
    "\r\n",
    "\u2028",
    "é",
    "\u202e",
    "\t",
    ":",
    "&a *a",
    "!!python/x",
)
ODD_TEXTS += ("- " * 300, "[" * 300, "9" * 5000, '"', "'", ",", ";", "${HOME}", "<<: *x", "%")
ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "cp1252", "utf-16-le", "utf-32")


def bits(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """One to eight flipped bits."""
    out = bytearray(data)
    for _flip in range(rng.randint(1, 8) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def odd_bytes(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Bytes, or a number of four bytes, of an extreme value."""
    out = bytearray(data)
    for _place in range(rng.randint(1, 4) if len(out) > 4 else 0):
        at = rng.randrange(len(out) - 4)
        if rng.random() < 0.5:
            out[at] = rng.choice(ODD_BYTES)
        else:
            order = rng.choice(("little", "big"))
            out[at : at + 4] = rng.choice(ODD_SIZES).to_bytes(4, order)  # type: ignore[arg-type]
    return bytes(out)


def cut(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Only the beginning, or a piece missing."""
    first = rng.randint(0, len(data))
    rest = b"" if rng.random() < 0.5 else data[rng.randint(first, len(data)) :]
    return data[:first] + rest


def repeated(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """A piece twice, or up to 64 times."""
    first = rng.randint(0, len(data))
    last = min(len(data), first + rng.randint(1, 256))
    return data[:last] + data[first:last] * rng.choice((1, 2, 64)) + data[last:]


def spliced(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The beginning of one valid file and the end of another."""
    other = rng.choice(others)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def padded(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Bytes before, within or behind."""
    at = rng.choice((0, len(data), rng.randint(0, len(data))))
    return data[:at] + rng.randbytes(rng.randint(1, 64)) + data[at:]


def json_values(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """One to three values of a JSON document replaced, removed, added, renamed or moved."""
    tree = {"": json.loads(data)}
    for _change in range(rng.randint(1, 3)):
        holder, key = rng.choice(_places(tree))
        action = rng.randrange(5)
        if action == 0 and key != "":
            del holder[key]
        elif action == 1 and isinstance(holder, dict) and key != "":
            holder[rng.choice(("", "x", key.upper(), f"{key} ", "é"))] = holder.pop(key)
        elif action == 2:
            other, other_key = rng.choice(_places(tree))
            # through text: a tree that holds itself could not be written
            holder[key] = json.loads(json.dumps(other[other_key]))
        elif action == 3 and isinstance(holder[key], dict):
            holder[key]["of a later version"] = copy.deepcopy(rng.choice(ODD_VALUES))
        else:
            holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return json.dumps(tree[""], indent=rng.choice((None, 1)), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def json_text(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """A document told twice, or deep brackets around it."""
    deep = rng.choice((2, 100, 100_000))
    forms = (data + data, b"[" * deep + data + b"]" * deep, b"[" * deep, b'{"":' * deep)
    return rng.choice(forms)


def odd_text(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """Odd characters at the beginning, the end, or some line."""
    lines = data.decode("utf-8", "replace").split("\n")
    for _change in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        odd = rng.choice(ODD_TEXTS)
        lines[at] = rng.choice((odd + lines[at], lines[at] + odd, odd, lines[at].replace(":", odd)))
    if rng.random() < 0.3:
        rng.shuffle(lines)
    return "\n".join(lines).encode("utf-8", "replace")


def other_encoding(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """The text as another editor saves it."""
    text = data.decode("utf-8", "replace") + rng.choice(("", "é", "ü"))
    return text.replace("\n", rng.choice(("\n", "\r\n", "\r"))).encode(
        rng.choice(ENCODINGS), "replace"
    )


def zip_entries(data: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """An archive packed anew: an entry renamed, damaged, twice, compressed or a bomb."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(entries))
    name, content = entries[at]
    odd_names = ("../x", "/x", " ", "x" * 3000, name.upper(), "a\\b", "é.npy", "a\x00b")
    entries[at] = rng.choice(
        [(rng.choice(odd_names), content), (name, bits(content, (), rng))]
        + [(name, cut(content, (), rng)), (name, bytes(2**24))]
    )
    if rng.random() < 0.2:
        entries.append(rng.choice(entries))
    buffer = io.BytesIO()
    how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", how) as archive:
        warnings.simplefilter("ignore")  # of two entries with one name
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, how)  # of no time: the same each time
    return buffer.getvalue()


BYTES: tuple[Mutation, ...] = (bits, odd_bytes, cut, repeated, spliced, padded)
JSON: tuple[Mutation, ...] = (json_values, json_values, json_values, json_text, *BYTES)
TEXT: tuple[Mutation, ...] = (odd_text, odd_text, other_encoding, *BYTES)
ZIP: tuple[Mutation, ...] = (zip_entries, zip_entries, *BYTES)


def mutated(
    data: bytes, others: Sequence[bytes], mutations: Sequence[Mutation], seed: str
) -> bytes:
    """A valid file after one to three mutations; structure goes first, bytes later break it.

    Args:
        others: valid files that pieces are taken from.
    """
    rng = random.Random(seed)
    data = rng.choice(mutations)(data, others, rng)
    for _more in range(rng.choice((0, 0, 0, 1, 2))):
        data = rng.choice(BYTES)(data, others, rng)
    return data


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    keys = range(len(tree)) if isinstance(tree, list) else tree
    here = [(tree, key) for key in keys]
    return here + [
        place
        for _, key in here
        if isinstance(tree[key], (dict, list))
        for place in _places(tree[key])
    ]
