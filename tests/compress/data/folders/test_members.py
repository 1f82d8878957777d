"""An archive is read whole or called damaged, and no header of it takes memory."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import subprocess
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from image_folders import encoded, image_folder

import compress.data.folders.archives as archives
from compress.data.folders.archives import unpack
from compress.data.folders.members import MOST_HEADER, is_archive
from compress.data.folders.source import read_folder
from compress.engine.errors import DataError

ZIPS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
END = bytes(1024)


def zip_of(folder: Path, path: Path, kind: str) -> Path:
    with zipfile.ZipFile(path, "w", ZIPS[kind]) as made:
        for inner in sorted(folder.rglob("*")):
            made.write(inner, inner.relative_to(folder).as_posix())
    return path


def tar_of(folder: Path, path: Path, mode: str = "", kind: str = "pax") -> Path:
    def at_one_time(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = 0  # the same bytes on every run
        return member

    with tarfile.open(path, f"w:{mode}", format=FORMATS[kind]) as made:
        made.add(folder, ".", filter=at_one_time)
    return path


def contents(folder: Path) -> dict[str, str]:
    """Path -> digest, "" of a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


def small_folder(tmp_path: Path) -> Path:
    folder = image_folder(tmp_path / "flowers", train=2, test=1)
    (folder / "train" / "tulip").mkdir()
    return folder


def require_right_or_damaged(path: Path, data: bytes, right: dict[str, str], root: Path) -> bool:
    """Whether the archive was refused as damaged; whatever it gives otherwise must be right."""
    path.write_bytes(data)
    if not is_archive(path):
        with pytest.raises(DataError, match="is damaged"):
            read_folder(path, "auto", root)
        return True
    try:
        found = contents(unpack(path, root))
    except DataError as error:
        assert "is damaged" in str(error)
        return True
    assert found == right
    return False


def damages(data: bytes, count: int, places: list[int] | None = None) -> Iterator[bytes]:
    """The data with one byte changed, at many places."""
    draw = random.Random(0)
    for _ in range(count):
        changed = bytearray(data)
        place = draw.choice(places) if places else draw.randrange(len(data))
        changed[place] ^= draw.choice((1, 4, 16, 128, 255))
        yield bytes(changed)


@pytest.mark.parametrize("kind", [*ZIPS, "gz", "bz2", "xz"])
def test_a_changed_byte_anywhere_is_harmless_or_called_damage(tmp_path: Path, kind: str) -> None:
    folder = small_folder(tmp_path)
    if kind in ZIPS:
        path = zip_of(folder, tmp_path / "a.zip", kind)
    else:
        path = tar_of(folder, tmp_path / f"a.tar.{kind}", kind)
    data, right = path.read_bytes(), contents(folder)
    assert not require_right_or_damaged(path, data, right, tmp_path / "root")
    refused = [
        require_right_or_damaged(path, changed, right, tmp_path / "root")
        for changed in damages(data, 40)
    ]
    assert sum(refused) > 20


@pytest.mark.parametrize("damaged", [False, True])
def test_content_that_damage_made_odd_is_called_damage(tmp_path: Path, damaged: bool) -> None:
    path = tmp_path / "a.tar.bz2"
    with tarfile.open(path, "w:bz2") as made:
        for _ in range(2):
            member = tarfile.TarInfo("rose/0.jpg")
            member.size = 200_000
            made.addfile(member, io.BytesIO(random.Random(0).randbytes(member.size)))
    data = bytearray(path.read_bytes())
    data[10] ^= damaged  # the checksum of the first block
    path.write_bytes(data)
    told = "is damaged" if damaged else "holds two files of one name"
    with pytest.raises(DataError, match=told):
        unpack(path, tmp_path / "root")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_byte_of_a_header_of_a_tar_is_called_damage(tmp_path: Path, kind: str) -> None:
    folder = small_folder(tmp_path)
    path = tar_of(folder, tmp_path / "a.tar", kind=kind)
    data, right = path.read_bytes(), contents(folder)
    with tarfile.open(path) as made:
        headers = [info.offset for info in made.getmembers()]
    places = [start + place for start in headers for place in (0, 10, 105, 125, 150, 156, 260)]
    assert all(
        require_right_or_damaged(path, changed, right, tmp_path / "root")
        for changed in damages(data, 40, places)
    )
    zeroed = bytearray(data)  # a lost block
    zeroed[headers[4] : headers[4] + 512] = bytes(512)
    assert require_right_or_damaged(path, bytes(zeroed), right, tmp_path / "root")


@pytest.mark.parametrize("kind", ["deflated", "", "gz", "bz2", "xz"])
def test_a_cut_archive_is_whole_or_called_damaged(tmp_path: Path, kind: str) -> None:
    folder = small_folder(tmp_path)
    if kind in ZIPS:
        path = zip_of(folder, tmp_path / "a.zip", kind)
    else:
        path = tar_of(folder, tmp_path / f"a.tar{kind and '.'}{kind}", kind, "gnu")
    data, right = path.read_bytes(), contents(folder)
    end = len(data)
    if not kind:  # also where a member ends
        with tarfile.open(path) as made:
            places = [info.offset for info in made.getmembers()]
            end = made.offset
        assert not require_right_or_damaged(path, data[: end + 512], right, tmp_path / "root")
    else:
        places = [len(data) - 1, len(data) - 9]
    draw = random.Random(0)
    for place in (*places, *(draw.randrange(end) for _ in range(15))):
        assert require_right_or_damaged(path, data[:place], right, tmp_path / "root"), place


def test_a_damaged_stream_keeps_its_reason(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    path = tar_of(folder, tmp_path / "a.tar.bz2", "bz2")
    data = bytearray(path.read_bytes())
    data[30:60] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(DataError, match="is damaged.*got Invalid data stream"):
        read_folder(path, "auto", tmp_path / "root")


def test_a_zip_that_says_two_things_of_a_file_is_damaged(tmp_path: Path) -> None:
    path = zip_of(small_folder(tmp_path), tmp_path / "a.zip", "deflated")
    data = path.read_bytes()
    listed = data.index(b"PK\1\2", data.index(b"rose/000.jpg"))
    listed = data.index(b"rose/000.jpg", listed) - 46 - len("test/")
    end = data.rindex(b"PK\5\6")
    places = {
        "its password": (listed + 8, data[listed + 8] ^ 1),
        "its size": (listed + 27, 0x20),
        "that it is a link": (listed + 41, 0xA1),
        "how many there are": (end + 10, data[end + 10] + 1),
        "where they are listed": (end + 15, 0xFF),
    }
    for place, value in places.values():
        changed = bytearray(data)
        changed[place] = value
        path.write_bytes(changed)
        with pytest.raises(DataError, match="is damaged"):
            unpack(path, tmp_path / "root")


def header(kind: bytes, size: int, name: str = "././@LongLink") -> bytes:
    """A header of a tar that says any size."""
    info = tarfile.TarInfo(name)
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    return signed(block)


def signed(block: bytearray) -> bytes:
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    return bytes(block)


def image(name: str) -> bytes:
    data = encoded()
    return header(b"0", len(data), name) + data + bytes(-len(data) % 512)


def peak_of(path: Path, root: Path) -> tuple[int, str]:
    """Bytes of memory at most, and the error, of opening an archive."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            read_folder(path, "auto", root)
        return tracemalloc.get_traced_memory()[1], str(error.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opener", [gzip.open, bz2.open, lzma.open, open])
@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X"])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_is_not_read_whatever_it_asks_for(
    tmp_path: Path, kind: bytes, first: bool, opener: Callable
) -> None:
    path = tmp_path / "bomb.tar"
    size = 16 * MOST_HEADER
    with opener(path, "wb") as file:
        file.write(b"" if first else image("a/0.jpg"))
        file.write(header(kind, size))
        for _ in range(16):
            file.write(b"a" * MOST_HEADER)
        file.write(image("a/1.jpg") + END)
    peak, error = peak_of(path, tmp_path / "root")
    assert peak < 10 << 20 and "is damaged" in error and "a header asks for" in error


def sparse(extended: int) -> bytes:
    """A file with holes whose map goes on for a number of blocks."""
    block = bytearray(header(b"S", 0, "a/holes.bmp"))
    block[482] = 1
    entries = (b"00000001000\0" * 2) * 21 + b"\1" + bytes(7)
    return signed(block) + entries * extended


BOMBS = {
    "many headers of one member": (header(b"L", MOST_HEADER // 2) + b"a" * (MOST_HEADER // 2)) * 40,
    "headers without end": (header(b"L", 512) + b"a" * 512) * 3000,
    "a map of holes without end": sparse(40_000),
    "a number without end": header(b"x", 1 << 19) + b"1" * (1 << 19),
    "back to the start": header(b"Z", -2048),
    "back in an extension": header(b"L", -512),
    "beyond all files": header(b"Z", 1 << 70),
    "many attributes of all members": b"".join(
        header(b"g", 1 << 19)
        + f"{1 << 19} k{number}=".encode().ljust((1 << 19) - 1, b"a")
        + b"\n"
        + image(f"b/{number}.jpg")
        for number in range(40)
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_headers_that_lead_nowhere_take_no_memory(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(image("a/0.jpg") + BOMBS[bomb] + image("a/1.jpg") + END)
    peak, error = peak_of(path, tmp_path / "root")
    assert peak < 10 << 20 and "is damaged" in error


def test_headers_of_earlier_members_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "attributes.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as made:
        for number in range(60):
            info = tarfile.TarInfo(f"a/{number}.jpg")
            info.size = len(encoded())
            info.pax_headers = {"comment": "a" * (MOST_HEADER // 2)}
            made.addfile(info, io.BytesIO(encoded()))
    tracemalloc.start()
    try:
        folder = unpack(path, tmp_path / "root")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    assert len(list(folder.rglob("*.jpg"))) == 60


def test_what_is_skipped_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    for number, start in enumerate(
        (END, header(b"Z", 40 << 20), header(b"0", 40 << 20, ".DS_Store"))
    ):
        path = tmp_path / f"{number}.tar.gz"
        with gzip.open(path, "wb") as file:
            file.write(image("a/0.jpg") + start + bytes(40 << 20) + END)
        with pytest.raises(DataError, match="is damaged|far more than its size says"):
            unpack(path, tmp_path / "root")


@pytest.mark.parametrize("options", ["gnu", "posix", "posix --sparse-version=0.1", "oldgnu"])
def test_files_with_holes_are_read(tmp_path: Path, options: str) -> None:
    folder = small_folder(tmp_path)
    with (folder / "train" / "rose" / "holes.bmp").open("wb") as file:
        for number in range(12):
            file.seek((number << 16) + 4096)
            file.write(bytes((number + 1,)) * 4096)
        file.truncate(2 << 20)
    path = tmp_path / "a.tar"
    command = ["tar", "-S", *f"--format={options}".split(), "-cf", path, "-C", folder, "."]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode or path.stat().st_size > 1 << 20:
        pytest.skip("this tar knows no holes")
    assert contents(unpack(path, tmp_path / "root")) == contents(folder)


def test_a_tar_that_holds_a_zip_is_a_tar(tmp_path: Path) -> None:
    folder = small_folder(tmp_path)
    zip_of(folder / "train", folder / "z.zip", "stored")
    path = tar_of(folder, tmp_path / "a.tar")
    assert zipfile.is_zipfile(path)
    assert contents(unpack(path, tmp_path / "root")) == contents(folder)


@pytest.mark.parametrize("data", [b"", b"plain text", b"\x89PNG\r\n", bytes(100)])
def test_other_files_are_no_archives(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert not is_archive(tmp_path / "a") and not is_archive(tmp_path / "missing")
