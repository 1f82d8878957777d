"""Files that forges and other programs read: they parse, and say what is so."""

from __future__ import annotations

import re

import pytest
import tomllib
import yaml
from paths import ROOT

import compress

GITHUB = sorted((ROOT / ".github").rglob("*.yml"))
FACES = [*GITHUB, ROOT / "llms.txt", ROOT / "SECURITY.md", ROOT / "CITATION.cff"]
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def test_the_workflow_lints_types_and_tests_on_every_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text(encoding="utf-8"))
    jobs = workflow["jobs"]
    assert jobs["build"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert "3.10" in [step.get("with", {}).get("python-version") for step in steps]
    runs = "\n".join(step.get("run", "") for step in steps)
    for command in ("ruff check .", "lint-imports", "mypy", "pytest", "mkdocs build --strict"):
        assert command in runs


def test_templates_ask_for_something() -> None:
    for path in GITHUB:
        if path.parent.name == "ISSUE_TEMPLATE" and path.stem != "config":
            form = yaml.safe_load(path.read_text(encoding="utf-8"))
            assert form["name"] and form["description"] and form["body"]


def test_the_citation_has_the_version_and_the_license_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == compress.__version__
    assert citation["license"] == project["license"] and citation["title"] == project["name"]


@pytest.mark.parametrize("name", ["llms.txt", "SECURITY.md", "README.md", "AGENTS.md"])
def test_links_lead_to_files(name: str) -> None:
    links = LINK.findall((ROOT / name).read_text(encoding="utf-8"))
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_no_host_is_named() -> None:
    assert not [path for path in FACES if "://" in path.read_text(encoding="utf-8")]
