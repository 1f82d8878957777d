"""An archive of a folder is read as the folder, and nothing else comes out of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import pytest
from image_folders import encoded, image_folder

import compress.data.folders.archives as archives
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


def folder_of_all_kinds(tmp_path: Path) -> Path:
    """A folder with an empty class, links that can be followed, and others that cannot."""
    root = image_folder(tmp_path / "flowers")
    rose = root / "train" / "rose"
    (root / "train" / "tulip").mkdir()
    os.link(rose / "000.jpg", rose / "zz_hard.jpg")
    os.symlink("zz_hard.jpg", rose / "zz_soft.jpg")
    os.symlink("../rose/zz_soft.jpg", root / "train" / "water_lily" / "soft.jpg")
    os.symlink("water_lily", root / "train" / "nenuphar")
    os.symlink("nenuphar", root / "train" / "lotus")
    return root


def add_dead_ends(root: Path) -> None:
    rose = root / "train" / "rose"
    os.symlink("/etc/passwd", rose / "absolute.jpg")
    os.symlink("../../../../etc/passwd", rose / "out.jpg")
    os.symlink("missing.jpg", rose / "missing_too.jpg")
    os.symlink("circle_b.jpg", rose / "circle_a.jpg")
    os.symlink("circle_a.jpg", rose / "circle_b.jpg")
    os.symlink("..", rose / "loop")


def zip_with_links(root: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for inner in sorted(root.rglob("*")):
            name = inner.relative_to(root).as_posix()
            if inner.is_symlink():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                made.writestr(info, os.readlink(inner))
            else:
                made.write(inner, name)
    return path


def tar_with_links(root: Path, path: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as made:
        for inner in sorted(root.rglob("*"), reverse=True):  # links before what they lead to
            made.add(inner, inner.relative_to(root).as_posix(), recursive=False)
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_empty_classes_and_links_are_those_of_the_folder(tmp_path: Path, name: str) -> None:
    root = folder_of_all_kinds(tmp_path)
    pack = zip_with_links if name.endswith("zip") else tar_with_links
    read, folder = source(pack(root, tmp_path / name), tmp_path), source(root, tmp_path)
    assert read.names == folder.names == ("lotus", "nenuphar", "rose", "tulip", "water_lily")
    assert read.train.keys == folder.train.keys and len(read.train) == 21
    assert read.identity() == folder.identity()
    assert list(read.empty) == list(folder.empty) == ["tulip"]
    unpacked = tmp_path / "root" / "unpacked"
    assert not any(path.is_symlink() for path in unpacked.rglob("*"))
    assert not archives.unpacking_notes(archives.unpack(tmp_path / name, tmp_path / "root"))
    next(unpacked.rglob("tulip")).rmdir()
    assert list(source(tmp_path / name, tmp_path).empty) == ["tulip"], "made again"


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_links_to_nothing_and_devices_are_left_out_and_told(tmp_path: Path, name: str) -> None:
    root = folder_of_all_kinds(tmp_path)
    keys = source(root, tmp_path).train.keys
    add_dead_ends(root)
    if name == "a.tar":
        os.mkfifo(root / "train" / "rose" / "pipe.jpg")
    pack = zip_with_links if name.endswith("zip") else tar_with_links
    archive = pack(root, tmp_path / name)
    assert source(archive, tmp_path).train.keys == keys
    unpacked = archives.unpack(archive, tmp_path / "root")
    assert not any(path.is_symlink() for path in unpacked.rglob("*"))
    (note,) = archives.unpacking_notes(unpacked)
    count = 7 if name == "a.tar" else 6
    assert note.startswith(f"{count} members of the archive left out")
    assert note.endswith("e.g. train/rose/absolute.jpg")


def test_hard_links_out_of_the_archive_are_left_out(tmp_path: Path) -> None:
    members = [
        tarfile.TarInfo(f"{part}/{name}/{i}.jpg")
        for part in ("train", "test")
        for name in ("a", "b")
        for i in range(3)
    ]
    hard = tarfile.TarInfo("train/a/hard.jpg")
    hard.type, hard.linkname = tarfile.LNKTYPE, "../../../etc/passwd"
    absolute = tarfile.TarInfo("train/a/absolute.jpg")
    absolute.type, absolute.linkname = tarfile.LNKTYPE, "/etc/passwd"
    tar = source(tar_of(tmp_path / "a.tar", *members, hard, absolute), tmp_path)
    assert len(tar.train) == 6


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_folders_and_links_do_not_leave_the_folder_either(tmp_path: Path, kind: bytes) -> None:
    for name in ("../out", "/out"):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "a.jpg"
        archive = tar_of(tmp_path / "evil.tar", tarfile.TarInfo("a.jpg"), member)
        with pytest.raises(DataError, match="leads out of it"):
            source(archive, tmp_path)
    link = tarfile.TarInfo("way")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    archive = tar_of(tmp_path / "through.tar", link, tarfile.TarInfo("way/planted.jpg"))
    unpacked = archives.unpack(archive, tmp_path / "root")
    assert not (tmp_path / "planted.jpg").exists() and (unpacked / "way" / "planted.jpg").is_file()


def test_links_that_multiply_are_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 500)
    members = [tarfile.TarInfo("x0/a.jpg"), tarfile.TarInfo("x0/b.jpg")]
    for number in range(1, 20):
        for way in ("l", "r"):
            link = tarfile.TarInfo(f"x{number}/{way}")
            link.type, link.linkname = tarfile.SYMTYPE, f"../x{number - 1}"
            members.append(link)
    with pytest.raises(DataError, match="or 500 files"):
        archives.unpack(tar_of(tmp_path / "bomb.tar", *members), tmp_path / "root")


def test_what_an_older_version_unpacked_is_unpacked_again(tmp_path: Path) -> None:
    archive = packed(tmp_path, "zip")
    unpacked = archives.unpack(archive, tmp_path / "root")
    record = unpacked.with_name(f"{unpacked.name}.json")
    record.write_text(json.dumps(json.loads(record.read_text("ascii"))["files"]), "ascii")
    (unpacked / "stray.jpg").touch()
    archives.unpack(archive, tmp_path / "root")
    assert not (unpacked / "stray.jpg").exists()


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
