"""An archive of a folder is read as the folder, and nothing else comes out of it."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from image_folders import encoded, image_folder

import compress.data.archives as archives
from compress.data.sources import open_source
from compress.data.split import Source
from compress.engine.config import DataSettings
from compress.engine.errors import DataError
from compress.engine.options import settings_for, with_root


def source(path: Path, tmp_path: Path) -> Source:
    return open_source(DataSettings(dataset=None, path=path, shots=2, root=tmp_path / "root"))


def packed(tmp_path: Path, kind: str, around: bool = True) -> Path:
    root = image_folder(tmp_path / "flowers")
    base = "flowers" if around else "."
    return Path(
        shutil.make_archive(str(tmp_path / "photos"), kind, root.parent if around else root, base)
    )


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
@pytest.mark.parametrize("around", [True, False])
def test_an_archive_is_the_folder_it_was_made_of(tmp_path: Path, kind: str, around: bool) -> None:
    archive = packed(tmp_path, kind, around)
    read, folder = source(archive, tmp_path), source(tmp_path / "flowers", tmp_path)
    assert read.names == folder.names and read.train.keys == folder.train.keys
    assert read.identity() == folder.identity(), "fingerprinted by content"
    assert read.train.image(0).size == (20, 14)
    assert read.name in ("photos", "flowers")
    nameless = archive.rename(tmp_path / "download")
    assert source(nameless, tmp_path).train.keys == folder.train.keys, "known by content"


def test_it_is_unpacked_once_and_again_if_something_is_gone(tmp_path: Path) -> None:
    archive = packed(tmp_path, "zip")
    first = source(archive, tmp_path)
    file = Path(first.train.load(0))
    inode = file.stat().st_ino
    assert source(archive, tmp_path).train.load(0) == file and file.stat().st_ino == inode
    file.unlink()
    assert source(archive, tmp_path).identity() == first.identity() and file.exists()


def test_a_kill_while_unpacking_leaves_nothing_half(tmp_path: Path, monkeypatch) -> None:
    archive = packed(tmp_path, "zip")
    written = archives._Unpacking._write

    def killed(self, member):
        if len(self.sizes) == 5:
            raise KeyboardInterrupt
        written(self, member)

    monkeypatch.setattr(archives._Unpacking, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        source(archive, tmp_path)
    monkeypatch.undo()
    assert len(source(archive, tmp_path).train) == 8


def zip_of(path: Path, *names: str, **content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name in names:
            made.writestr(name, encoded())
        for name, data in content.items():
            made.writestr(name, data)
    return path


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as made:
        for member in members:
            data = encoded() if member.isreg() else b""
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "name", ["../a.jpg", "/a.jpg", "a/../../b.jpg", "C:\\a.jpg", "..\\..\\a.jpg"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_leaves_the_folder(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / f"evil.{kind}"
    archive = zip_of(path, name) if kind == "zip" else tar_of(path, tarfile.TarInfo(name))
    with pytest.raises(DataError, match="leads out of it"):
        source(archive, tmp_path)
    assert not list(tmp_path.rglob("*.jpg")) and not Path("/a.jpg").exists()


def test_links_and_devices_are_left_out(tmp_path: Path) -> None:
    members = [
        tarfile.TarInfo(f"{part}/{name}/{i}.jpg")
        for part in ("train", "test")
        for name in ("a", "b")
        for i in range(3)
    ]
    link = tarfile.TarInfo("train/a/link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo("train/a/hard.jpg")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../../etc/passwd"
    pipe = tarfile.TarInfo("train/a/pipe.jpg")
    pipe.type = tarfile.FIFOTYPE
    tar = source(tar_of(tmp_path / "a.tar", *members, link, hard, pipe), tmp_path)
    assert len(tar.train) == 6
    archive = zip_of(tmp_path / "b.zip", *(member.name for member in members))
    with zipfile.ZipFile(archive, "a") as made:
        info = zipfile.ZipInfo("train/a/link.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(info, "/etc/passwd")
    read = source(archive, tmp_path)
    assert len(read.train) == 6
    assert not any(os.path.islink(path) for path in (tmp_path / "root").rglob("*"))


def test_bombs_are_refused_before_they_fill_the_disk(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    bomb = zip_of(tmp_path / "bomb.zip", **{"train/a/0.bmp": bytes(40 << 20)})
    with pytest.raises(DataError, match="far more than its size says.*unpack it yourself"):
        source(bomb, tmp_path)
    lying = tmp_path / "lying.tar.gz"
    with tarfile.open(lying, "w:gz") as made:
        member = tarfile.TarInfo("train/a/0.bmp")
        member.size = 40 << 20
        made.addfile(member, io.BytesIO(bytes(40 << 20)))
    with pytest.raises(DataError, match="far more than its size says"):
        source(lying, tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "root").rglob("*")) < 4 << 20
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    with pytest.raises(DataError, match="or 3 files"):
        source(zip_of(tmp_path / "many.zip", *(f"{i}.jpg" for i in range(5))), tmp_path)


def test_damaged_encrypted_and_empty_archives_are_errors(tmp_path: Path) -> None:
    whole = packed(tmp_path, "gztar").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is damaged"):
        source(tmp_path / "cut.tar.gz", tmp_path)
    data = bytearray(packed(tmp_path, "zip").read_bytes())
    data[300:400] = bytes(100)
    (tmp_path / "flipped.zip").write_bytes(data)
    with pytest.raises(DataError, match="is damaged"):
        source(tmp_path / "flipped.zip", tmp_path)
    locked = bytearray(zip_of(tmp_path / "locked.zip", "a/0.jpg").read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(mark) + place] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(DataError, match="needs a password"):
        source(tmp_path / "locked.zip", tmp_path)
    with pytest.raises(DataError, match="without files"):
        source(zip_of(tmp_path / "none.zip"), tmp_path)
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with pytest.raises(DataError, match="of a kind that is not read.*unpack it"):
        source(tmp_path / "a.7z", tmp_path)
    twice = tar_of(tmp_path / "twice.tar", tarfile.TarInfo("a/0.jpg"), tarfile.TarInfo("a/0.jpg"))
    with pytest.raises(DataError, match="two files of one name"):
        source(twice, tmp_path)


@pytest.mark.parametrize("names", [("a", "a/b.jpg"), ("a/b.jpg", "a"), ("x" * 300 + ".jpg",)])
def test_names_that_no_folder_takes_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="a file that no folder takes"):
        source(zip_of(tmp_path / "odd.zip", *names), tmp_path)


def test_names_that_are_no_utf8_are_unpacked_once(tmp_path: Path) -> None:
    names = [f"{folder}/\udcff{number}.jpg" for folder in ("a", "b") for number in range(3)]
    archive = tmp_path / "latin.tar"
    with tarfile.open(archive, "w", encoding="utf-8", errors="surrogateescape") as made:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(encoded())
            made.addfile(member, io.BytesIO(encoded()))
    first = source(archive, tmp_path)
    assert len(first.train) == 4 and "\\xff" in first.train.keys[0]
    inode = Path(first.train.load(0)).stat().st_ino
    assert Path(source(archive, tmp_path).train.load(0)).stat().st_ino == inode


class MacInfo(zipfile.ZipInfo):
    """An entry whose name is UTF-8 and does not say so, as macOS writes it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(), self.flag_bits & ~0x800


def test_names_as_macos_and_windows_pack_them(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "Bl\u00fcte")
    path = tmp_path / "mac.zip"
    with zipfile.ZipFile(path, "w") as made:
        for number in range(5):
            made.writestr(MacInfo(f"fotos/{nfd}/{number}.jpg"), encoded(number))
            made.writestr(f"fotos\\oak\\{number}.jpg", encoded(100 + number))
            made.writestr(f"__MACOSX/fotos/{nfd}/._{number}.jpg", b"\0\5\x16\7")
    assert source(path, tmp_path).names == ("Bl\u00fcte", "oak")


def test_a_build_unpacks_into_its_work_folder(tmp_path: Path) -> None:
    archive = packed(tmp_path, "zip")
    settings = with_root(settings_for(data=archive, offline=True), tmp_path / "work")
    assert open_source(settings.data).names == ("rose", "water_lily")
    assert (tmp_path / "work" / "datasets" / "unpacked").is_dir()
    folder = with_root(settings_for(data=tmp_path / "flowers", offline=True), tmp_path / "work")
    assert folder.data.root is None
