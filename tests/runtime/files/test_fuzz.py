"""Files from strangers: every change of a valid file, and every hostile one, is read or refused
with a reason.

Nothing else may come out: no other exception, no hang, no memory that a few kilobytes should not
    cost.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from hostile_files import HOSTILE_GOLDEN, HOSTILE_JSON, HOSTILE_ONNX, model, tag
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_files import IR
from manifests import manifest_of
from ncnn_files import PARAM
from paths import ROOT
from tiny_bundles import encoded, photo

from runtime import BundleError, golden, open_bundle
from runtime.files.onnx import check, inspect
from runtime.files.ort import check as check_ort

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
from readers import READERS, refused  # noqa: E402

MEMORY_BYTES = 96 * 2**20
repeatable = settings(max_examples=150, derandomize=True, deadline=None, database=None)

# Pieces that a format gives a meaning to.
TOKENS = [
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'"',
    b"\\ud800",
    b"\\u0000",
    b"-0",
    b"1e999",
    b"9" * 400,
    b"NaN",
    b"../",
    b"/",
    b"\x00",
    b"\xed\xa0\x80",
    b"\xff\xff\xff\xff\x0f",
    b"\x80" * 9 + b"\x01",
    b"\x80" * 12,
    b"(" * 200,
    b"PK\x05\x06",
    b"<U64",
    b"|O",
    b"[" * 50,
]

TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def valid(built: Path) -> dict[str, bytes]:
    """A valid file of each reader."""
    files = {
        "manifest": "manifest.json",
        "preprocess": "preprocess.json",
        "labels": "labels.json",
        "golden": "golden.npz",
        "onnx": "model.int8.onnx",
    }
    out = {reader: (built / name).read_bytes() for reader, name in files.items()}
    out |= {"openvino": IR.encode(), "ncnn": PARAM.encode()}
    out["executorch"] = (ROOT / "tests/data/executorch/tiny.int8.pte").read_bytes()
    return {**out, "ort": b"\x18\0\0\0ORTM" + bytes(64), "image": encoded(photo(), "PNG")}


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, float, bytes]]:
    """What to do, where (a share of the length), how long (the same), with which bytes."""
    share = st.floats(0, 1, exclude_max=True)
    kinds = st.sampled_from(["flip", "write", "insert", "delete", "copy", "cut"])
    piece = st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=6)
    return draw(st.lists(st.tuples(kinds, share, share, piece), min_size=1, max_size=6))


def mutate(data: bytes, changes: list[tuple[str, float, float, bytes]]) -> bytes:
    out = bytearray(data)
    for kind, where, length, piece in changes:
        at = int(where * len(out))
        end = min(len(out), at + 1 + int(length * 40))
        if kind == "flip" and out:
            out[at] ^= piece[0] or 1
        elif kind == "write":
            out[at : at + len(piece)] = piece
        elif kind == "insert":
            out[at:at] = piece
        elif kind == "delete":
            del out[at:end]
        elif kind == "copy":
            out[at:at] = out[at:end]
        elif kind == "cut" and length > 0.7:
            del out[at:]
    return bytes(out)


def test_the_valid_files_are_read(valid: dict[str, bytes]) -> None:
    assert set(valid) == set(READERS)
    assert {reader for reader, data in valid.items() if refused(reader, data)} == set()


@pytest.mark.parametrize("reader", READERS)
def test_changed_bytes_are_read_or_refused(reader: str, valid: dict[str, bytes]) -> None:
    seen = {"read": 0, "refused": 0}

    @repeatable
    @given(mutations())
    def try_them(changes: list[tuple[str, float, float, bytes]]) -> None:
        seen["refused" if refused(reader, mutate(valid[reader], changes)) else "read"] += 1

    try_them()
    assert seen["refused"] > 10  # the changes are not so small that nothing is tried


@pytest.mark.parametrize("reader", ["manifest", "preprocess", "labels"])
def test_every_json_value_in_every_place_is_read_or_refused(
    reader: str, valid: dict[str, bytes]
) -> None:
    original = json.loads(valid[reader])
    places = list(_places(original))

    @repeatable
    @given(st.sampled_from(places), TREES)
    def try_them(place: tuple[str | int, ...], value: object) -> None:
        refused(reader, json.dumps(_with(original, place, value)).encode("utf-8", "surrogatepass"))

    try_them()


def test_any_protobuf_is_read_or_refused() -> None:
    field = st.recursive(
        st.binary(max_size=12),
        lambda inner: st.lists(st.tuples(st.integers(1, 30), inner), max_size=5),
        max_leaves=20,
    )

    @repeatable
    @given(st.lists(st.tuples(st.integers(1, 30), field), max_size=8))
    def try_them(message: list[tuple[int, object]]) -> None:
        refused("onnx", _wire(message))

    try_them()


@settings(repeatable, max_examples=40)
@given(changes=mutations())
def test_a_changed_golden_file_never_breaks_verify(
    built: Path, tmp_path_factory, changes: list
) -> None:
    bundle = Path(shutil.copytree(built, tmp_path_factory.mktemp("fuzz") / "bundle"))
    (bundle / "golden.npz").write_bytes(mutate((bundle / "golden.npz").read_bytes(), changes))
    manifest = manifest_of(bundle)
    data = (bundle / "golden.npz").read_bytes()
    manifest["files"]["golden.npz"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert golden.verify(bundle, backend="abacus", threads=1)[0].name == "files"
    shutil.rmtree(bundle)


@pytest.mark.parametrize("data", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
@pytest.mark.parametrize("reader", ["manifest", "preprocess", "labels"])
def test_hostile_json_is_refused(reader: str, data: bytes) -> None:
    error = refused(reader, data)
    assert error is not None and len(str(error)) < 1000


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a\nb", "\x7f", "a\u0085b"])
def test_labels_that_would_steer_a_terminal_are_refused(name: str) -> None:
    assert "control characters" in str(refused("labels", json.dumps([name]).encode()))


def test_a_message_repeats_little_of_what_is_wrong() -> None:
    for reader in ("manifest", "preprocess", "labels"):
        long = "x" * 10**6
        for value in (
            [long] * 2,
            {"schema": 1, "files": {long: 1}, "models": {"a": long}},
            [{"name": 1, "b": long}],
        ):
            error = refused(reader, json.dumps(value).encode())
            assert error is not None and len(str(error)) < 2000, reader


@pytest.mark.parametrize("data", HOSTILE_GOLDEN.values(), ids=HOSTILE_GOLDEN)
def test_hostile_golden_files_are_refused(data: bytes) -> None:
    tracemalloc.start()
    try:
        error = refused("golden", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error is not None and len(str(error)) < 1000
    assert peak < MEMORY_BYTES


@pytest.mark.parametrize("data", HOSTILE_ONNX.values(), ids=HOSTILE_ONNX)
def test_hostile_models_are_refused(data: bytes) -> None:
    error = refused("onnx", data)
    assert error is not None and len(str(error)) < 1000


def test_the_second_graph_is_the_one_that_engines_see_too(tmp_path: Path) -> None:
    """Why the walk adds up repeated fields: protobuf merges them."""
    merged = onnx.load_from_string(model() + tag(7, tag(5, b"\x70\x01")))
    assert merged.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    (tmp_path / "m.onnx").write_bytes(model() + tag(7, tag(5, b"\x70\x01")))
    assert inspect(tmp_path / "m.onnx").external_tensors == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", ["manifest.json", "labels.json", "golden.npz", "model.fp32.onnx"])
def test_pipes_and_devices_in_place_of_files_are_refused_at_once(bundle: Path, name: str) -> None:
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir):
        (bundle / name).unlink()
        make(bundle / name)
        with pytest.raises(BundleError):
            open_bundle(bundle)
        with pytest.raises(BundleError, match="regular file|cannot read"):
            golden.read(bundle / name)
        with pytest.raises(BundleError, match="regular file|cannot read"):
            check(bundle / name)
        with pytest.raises(BundleError, match="regular file|cannot read"):
            check_ort(bundle / name)
        shutil.rmtree(bundle / name) if (bundle / name).is_dir() else None
        (bundle / name).touch()


def test_a_sparse_file_of_terabytes_is_refused_unread(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    for size, reason in ((2**40, "bytes"), (2**31 + 1, "bytes")):
        with open(bundle / "model.fp32.onnx", "wb") as stream:
            stream.truncate(size)
        manifest["files"]["model.fp32.onnx"] = {"bytes": size, "sha256": "0" * 64}
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BundleError, match=reason):
            open_bundle(bundle)
        with pytest.raises(BundleError, match="too large"):
            check(bundle / "model.fp32.onnx")
    many = {f"a{index}.txt": {"bytes": 2**31, "sha256": "0" * 64} for index in range(20)}
    (bundle / "manifest.json").write_text(
        json.dumps({**manifest, "files": {**manifest["files"], **many}})
    )
    with pytest.raises(BundleError, match="bytes"):
        open_bundle(bundle)


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    rows = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in rows:
        yield from _places(inner, (*path, key))


def _with(value: object, path: tuple[str | int, ...], new: object) -> object:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    copied[path[0]] = _with(copied[path[0]], path[1:], new)
    return copied


def _wire(message: list[tuple[int, object]] | bytes) -> bytes:
    if isinstance(message, bytes):
        return message
    return b"".join(tag(number, _wire(value)) for number, value in message)
