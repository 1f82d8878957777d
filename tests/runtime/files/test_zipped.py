"""A zipped bundle is unpacked within its own folder and its own sizes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from tiny_bundles import photo

from runtime import BundleError, Classifier, golden
from runtime.files.zipped import unpacked


@pytest.mark.parametrize("inside", ["", "petals/"])
def test_a_zipped_bundle_answers_as_its_folder(built: Path, tmp_path: Path, inside: str) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in built.rglob("*"):
            archive.write(file, f"{inside}{file.relative_to(built).as_posix()}")
        archive.writestr("../../evil.txt", "outside")
        archive.writestr(f"{inside}unlisted.so", "code")
    want = Classifier.load(built, threads=1).predict(photo())
    assert Classifier.load(tmp_path / "b.zip", threads=1).predict(photo()) == want
    with unpacked(tmp_path / "b.zip") as folder:
        assert not (folder / "unlisted.so").exists()
        assert not list(folder.parent.parent.glob("evil.txt"))
    assert not folder.exists()
    assert golden.first_difference(golden.verify(tmp_path / "b.zip", threads=1)) is None


def test_a_bomb_is_refused(built: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(built, tmp_path / "bundle")
    (bundle / "README.md").write_bytes(bytes(2**25))
    from odd_models import reseal

    reseal(bundle)
    packed = shutil.make_archive(str(tmp_path / "bomb"), "zip", bundle)
    with pytest.raises(BundleError, match=r"README\.md.*claims 33,554,432 bytes"):
        Classifier.load(packed)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zipped_bundle_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BundleError, match=r"b\.zip"):
        Classifier.load(tmp_path / "b.zip")
    assert golden.verify(tmp_path / "b.zip")[0].state == "differs"


def test_an_archive_that_claims_to_start_before_itself_is_refused(
    built: Path, tmp_path: Path
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "b"), "zip", built))
    content = bytearray(packed.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = (1 << 30).to_bytes(4, "little")  # where the directory starts
    packed.write_bytes(content)
    with pytest.raises(BundleError, match=r"b\.zip cannot be read"):
        Classifier.load(packed)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_packings_are_refused(built: Path, tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w", method) as archive:
        for file in built.iterdir():
            if file.is_file():
                archive.write(file, file.name)
    with pytest.raises(BundleError, match=f"packed by method {method}"):
        Classifier.load(tmp_path / "b.zip")
