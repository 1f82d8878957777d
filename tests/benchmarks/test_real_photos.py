"""The real-photo benchmark: stand-ins trained at a tiny scale, loaded by the public names; its
claims and their statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import benchmarks.real_photos as bench
import benchmarks.real_photos_world as world
from benchmarks.ladder import table
from benchmarks.petals_training.captions import tokenizer_of
from compress.distill.objectives import OBJECTIVES
from compress.engine.config import GenerateSettings, HostSettings, TeacherSettings, merge
from compress.engine.errors import DataError
from compress.engine.seeds import numpy_rng
from compress.generate.generators.generator import Sampling
from compress.generate.generators.table import load_generator
from compress.generate.strategies.table import STRATEGIES
from compress.petals.nets import new_teacher
from compress.petals.weights import CLIP_VOCABULARY, load_teacher
from compress.teacher.loading import load_teacher as load_public_teacher

CLASSES = {"air_plane": (60, 120, 220), "cat": (200, 120, 40), "owl": (40, 160, 60)}
TINY = world.TrainingScale(60, 60, 16, teacher_batch=20, decoder_batch=8)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Batches as small as these are done sooner by one thread than two threads meet, above all on
    busy cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy colors as JPEG files."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name, color in CLASSES.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = (
                    (np.asarray(color) + rng.normal(0, 20, (32, 32, 3)))
                    .clip(0, 255)
                    .astype(np.uint8)
                )
                Image.fromarray(pixels).save(root / split / name / f"{number}.jpg", quality=95)
    return root


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The work folder of a trained world, and its figures."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "STEPS", 1)
        return folder, world.make_world(photos, folder, TINY)


def test_the_world_is_a_teacher_and_a_generator_by_its_paths(
    made: tuple[Path, dict[str, float]], photos: Path
) -> None:
    folder = made[0] / "world"
    teacher = load_public_teacher(TeacherSettings(name=str(folder / "teacher")), offline=True)
    generator = load_generator(GenerateSettings(generator=str(folder)), offline=True)
    images = np.stack(
        [np.asarray(Image.open(path)) for path in sorted((photos / "test").rglob("*.jpg"))[:5]]
    )
    seen = generator.embed_images(images)
    assert (
        np.abs(teacher.encode_images(images) - seen).max() < 1e-4
    )  # one network: condition prediction needs that
    embedder, tokenize = load_teacher(folder)
    texts = ["a photo of an owl", "a photo of an air plane"]
    own = torch.nn.functional.normalize(embedder.encode_text(tokenize(texts)), dim=-1).numpy()
    assert (
        np.abs(teacher.encode_texts(texts) - own).max() < 1e-4
        and np.abs(own[0] - own[1]).max() > 1e-3
    )
    drawn = generator.draw(texts, [1, 2], Sampling(1, 2.0))
    assert drawn.shape == (2, 32, 32, 3) and generator.license == "unknown"


def test_its_figures_are_shares_and_its_sheet_is_small(made: tuple[Path, dict[str, float]]) -> None:
    folder, facts = made
    shares = [
        value for name, value in facts.items() if name.startswith(("teacher_zero", "agreement"))
    ]
    assert len(shares) == 4 and all(0 <= share <= 1 for share in shares)
    assert facts["test_photos"] == 12 and set(facts["seconds"]) == set(world.PHASES)
    sheet = folder / "world" / "sheet.png"
    assert Image.open(sheet).size == (12 * 32 + 2 * 8, 3 * 32) and sheet.stat().st_size < 200_000


def test_finished_phases_are_kept_and_other_photos_are_other_work(
    made: tuple[Path, dict[str, float]], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for phase in world.PHASES:
        monkeypatch.setitem(world.PHASES, phase, lambda job, phase=phase: ran.append(phase))
    receipts = {path: path.read_bytes() for path in made[0].glob("*.done.json")}
    world.make_world(photos, made[0], TINY)
    assert ran == ["evaluate"]
    world.make_world(photos / "train", made[0], TINY)
    assert ran[1:] == list(world.PHASES)
    for path, content in receipts.items():
        path.write_bytes(content)


def test_the_whole_vocabulary_gives_what_the_few_words_gave(tmp_path: Path) -> None:
    texts = ["a photo of an air plane.", "a blurry photo of a cat", "a close-up photo of an owl."]
    few = tokenizer_of(texts)
    torch.manual_seed(0)
    model = new_teacher(len(few.ids)).eval()
    world.save_photo_teacher(model, few, tmp_path)
    loaded, whole = load_teacher(tmp_path)
    assert whole.ids[-1] == CLIP_VOCABULARY - 1
    with torch.no_grad():
        before, after = model.encode_text(few(texts)), loaded.encode_text(whole(texts))
    assert torch.allclose(before, after, atol=0.01)  # fp16 on disk
    public = load_public_teacher(TeacherSettings(name=str(tmp_path / "teacher")), offline=True)
    assert torch.equal(public.tokenize(texts), whole(texts))


def test_captions_name_the_class_in_every_template() -> None:
    texts = (("a cat", "a photo of a cat"), ("an owl",))
    photos = world.Photos(np.zeros((3, 32, 32, 3), np.uint8), np.array([1, 0, 0]), texts)
    drawn = [photos.captions(numpy_rng(0, "test", i), [0, 2]) for i in range(40)]
    assert {first for first, _ in drawn} == {"an owl"} and {second for _, second in drawn} == set(
        texts[0]
    )


def test_spread_is_within_classes() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert world.spread(features, torch.tensor([0, 0, 1])) == 0.0
    assert world.spread(features, torch.tensor([0, 1, 0])) == 1.0
    assert world.spread(features, torch.tensor([0, 1, 2])) == 0.0


@pytest.mark.slow
def test_a_rung_is_a_build_by_public_names(
    made: tuple[Path, dict[str, float]],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {
        "generate": {"per_class": 2, "steps": 1},
        "label": {"views": 1},
        "teacher": {"probe_views": 1, "probe_steps": 2},
        "distill": {"steps": 2, "batch": 6},
    }
    monkeypatch.setattr(bench, "BASE", merge(bench.BASE, small))
    trunk = {"generate": {"per_class": 2}, "distill": {"steps": 2, "feature_steps": 2}}
    monkeypatch.setattr(bench, "TRUNK", merge(bench.TRUNK, trunk))
    ladder = bench.PhotoLadder(photos, made[0] / "world", tmp_path, HostSettings(workers=1))
    hits = ladder.cell(0, 1, ["+I'+D"])
    trunk_run = tmp_path / "runs" / "real-photos-trunk" / "config.yaml"
    assert {name: found.shape for name, found in hits.items()} == {"+I'+D": (12,)}
    assert not trunk_run.exists(), "I' needs no images but the rung's"
    hits = ladder.cell(0, 1, ["+T+D", "img2img CP"])
    assert {name: found.shape for name, found in hits.items()} == {
        "+T+D": (12,),
        "img2img CP": (12,),
    }
    assert trunk_run.is_file()


def test_rungs_name_what_exists_and_claims_name_rungs(photos: Path, tmp_path: Path) -> None:
    known = {*bench.RUNGS, "int8", "PTQ", "probe", "zero-shot"}
    assert {name for pair in bench.SIGNS for name in pair} | {
        c for t in bench.TABLES.values() for c in t
    } <= known
    ladder = bench.PhotoLadder(photos, tmp_path, tmp_path, HostSettings())
    for rung in bench.RUNGS.values():
        settings = ladder.settings(4, 1, rung.overrides(Path("trunk.safetensors")))
        assert settings.generate.strategy in STRATEGIES and settings.distill.objective in OBJECTIVES
        assert (settings.distill.init == "clip") == rung.from_trunk and settings.data.path == photos
        assert settings.distill.steps == bench.BASE["distill"]["steps"]  # equal updates
        assert settings.distill.feature_share == (0.5 if rung.features_first else None)
    trunk = ladder.settings(0, 0, bench.TRUNK)
    assert (
        trunk.data.shots == 0 and trunk.distill.feature_steps == trunk.distill.steps
    )  # no photo, no label


def test_the_rung_with_i_differs_from_the_one_without_in_i_alone(
    photos: Path, tmp_path: Path
) -> None:
    """The same photos, no image of a class name, and no update more: else the claim holds S too."""
    ladder = bench.PhotoLadder(photos, tmp_path, tmp_path, HostSettings())
    plain, first, whole = (
        ladder.settings(4, 1, bench.RUNGS[name].overrides(None)).plain()
        for name in ("+D", "+I'+D", "+I'+D+S")
    )
    assert plain["generate"]["strategy"] == first["generate"]["strategy"] == "none"
    assert {key for key in plain if plain[key] != first[key]} == {"distill"}
    changed = {key for key in plain["distill"] if plain["distill"][key] != first["distill"][key]}
    assert changed == {"head", "feature_share"} and first["distill"]["init"] == "random"
    assert {key for key in first if first[key] != whole[key]} == {"generate"}
    assert whole["generate"]["strategy"] == "sidclip"
    compared = [name for pair in bench.SIGNS for name in pair if name in bench.RUNGS]
    assert not any(bench.RUNGS[name].from_trunk for name in compared)
    assert not bench.RUNGS[bench.SHIPPED].from_trunk


@pytest.mark.parametrize("folder", [None, "train"])
def test_it_says_which_photos_it_needs(folder: str | None, photos: Path) -> None:
    with pytest.raises(DataError, match="--data FOLDER"):
        bench.photo_folder(photos / folder if folder else None)


def hits_of(*shares: tuple[float, float]) -> dict[tuple[int, int], dict[str, np.ndarray]]:
    """Per seed: "a" and "b" right on these shares of 100 images, at 1 shot."""
    return {
        (seed, 1): {
            name: np.arange(100) < round(100 * share)
            for name, share in zip("ab", pair, strict=True)
        }
        for seed, pair in enumerate(shares)
    }


def test_tables_have_a_row_for_each_number_of_shots() -> None:
    hits = hits_of((0.5, 0.4), (0.7, 0.4))
    hits[0, 4] = {"a": np.ones(4, bool), "b": np.zeros(4, bool)}
    lines = table(hits, ("b", "a")).splitlines()
    assert lines == [
        "| shots | seeds | b | a |",
        "|---|---|---|---|",
        "| 1 | 2 | 40.0 ± 0.0 | 60.0 ± 14.1 |",
        "| 4 | 1 | 0.0 | 100.0 |",
    ]


def test_claims_are_made_where_both_rungs_were_run() -> None:
    right, wrong = np.ones(50, bool), np.zeros(50, bool)
    hits = {(seed, 1): {"SUP": wrong, "+D": right, "real FD": wrong} for seed in range(2)}
    assert bench.present(hits, ("SUP", "int8", "+D")) == ["SUP", "+D"]
    lines = bench.checks(hits)
    assert (
        len(lines) == 2
        and lines[0].startswith("- holds: +D > SUP at 1 shot")
        and "FAILS" in lines[1]
    )
