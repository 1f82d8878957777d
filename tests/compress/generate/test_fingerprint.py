"""Which weights belong to the identity of the images, before any of them is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sources import write_index

from compress.engine.config import GenerateSettings, ProbingSettings, Settings, TeacherSettings
from compress.generate.stage import fingerprint
from compress.generate.strategies.table import STRATEGIES


def test_a_local_generator_is_identified_by_its_content(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for part in ("prior", "decoder"):
            write_index(tmp_path / name / part, "KandinskyV22Pipeline")
    identities = [
        fingerprint(Settings(generate=GenerateSettings(generator=str(tmp_path / n))))
        for n in ("one", "two")
    ]
    assert identities[0] == identities[1]
    (tmp_path / "two" / "decoder" / "weights").write_text("others")
    assert (
        fingerprint(Settings(generate=GenerateSettings(generator=str(tmp_path / "two"))))
        != identities[0]
    )
    pair = f"{tmp_path / 'one' / 'prior'}+{tmp_path / 'one' / 'decoder'}"
    assert fingerprint(Settings(generate=GenerateSettings(generator=pair)))["generator"] != pair
    assert fingerprint(Settings(generate=GenerateSettings(generator="kandinsky-2.2"))) == {
        "generator": "kandinsky-2.2"
    }
    assert fingerprint(Settings(generate=GenerateSettings(strategy="none"))) == {}


def test_the_teacher_belongs_to_the_identity_where_it_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed = {
        "strategy": "cls2img",
        "generator": "petals",
        "probing": ProbingSettings(candidates=({"steps": 3},)),
    }

    def identity(templates: tuple[str, ...] = ("a {}",), **generate: object) -> dict[str, str]:
        chosen = TeacherSettings(name="petals", templates=templates)
        return fingerprint(Settings(generate=GenerateSettings(**generate), teacher=chosen))

    plain = {"strategy": "cls2img", "generator": "petals"}
    assert set(identity(**plain)) == {"generator"}
    assert identity(**plain) == identity(("the {}",), **plain)
    assert set(identity(**probed)) == {
        "generator",
        "teacher",
        "teacher_templates",
        "teacher_precision",
    }
    assert identity(**probed) != identity(("the {}",), **probed)
    row = replace(STRATEGIES["cls2img"], asks_teacher=True)
    monkeypatch.setitem(STRATEGIES, "cls2img", row)
    assert "teacher" in identity(**plain)


def test_every_candidates_generator_belongs_to_the_identity() -> None:
    probing = ProbingSettings(
        candidates=({}, {"generator": "stable-diffusion-2.1"}, {"generator": "kandinsky-2.2"})
    )
    settings = Settings(
        generate=GenerateSettings(generator="kandinsky-2.2", strategy="cls2img", probing=probing),
        teacher=TeacherSettings(name="petals"),
    )
    assert fingerprint(settings)["generator"] == "kandinsky-2.2 stable-diffusion-2.1"


def test_planning_loads_no_torch() -> None:
    code = (
        "import sys; from compress.engine.config import *; from compress.generate.stage "
        "import fingerprint;"
        "p = ProbingSettings(candidates=({'strategy': 'img2img'}, {'strategy': 'cls2img'}));"
        "fingerprint(Settings(teacher=TeacherSettings(name='petals'), "
        "generate=GenerateSettings(probing=p)));"
        "assert not {'torch', 'diffusers', 'open_clip'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
