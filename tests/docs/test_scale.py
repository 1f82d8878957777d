"""The examples of docs/scale: valid where a schema is at hand, and the array job as it stands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from paths import ROOT

SCALE = ROOT / "docs" / "scale"
SMOKE = "--dataset petals --preset smoke --shots 1 --offline --set generate.batch=16"


def test_the_cluster_fits_rays_own_schema() -> None:
    ray = pytest.importorskip("ray")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((SCALE / "ray-cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]


def test_the_job_has_the_fields_that_the_operator_requires() -> None:
    job = yaml.safe_load((SCALE / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        (container,) = group["template"]["spec"]["containers"]
        assert {"name", "image", "resources"} <= container.keys()
    assert spec["workerGroupSpecs"][0]["groupName"] and job["spec"]["entrypoint"]


@pytest.mark.slow
def test_the_array_job_makes_what_the_next_build_finds(tmp_path: Path) -> None:
    job = f"{SMOKE} --work-dir {tmp_path / 'work'}"
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    base = {**os.environ, "PATH": tools, "JOB": job, "DEVICE": "cpu", "SLURM_ARRAY_TASK_MAX": "2"}
    subprocess.run(["compress", "build", *job.split(), "--until", "data"], env=base, check=True)
    script = SCALE / "array.sbatch"
    for task in ("2", "0", "1"):
        subprocess.run(["bash", script], env={**base, "SLURM_ARRAY_TASK_ID": task}, check=True)
    subprocess.run(["compress", "build", *job.split(), "--until", "generate"], env=base, check=True)
    (record,) = (tmp_path / "work" / "store" / "generate").glob("[!.]*/stage.json")
    assert json.loads(record.read_text())["resumed"] is True
