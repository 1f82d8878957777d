"""A work folder in object storage, over HTTP: nothing is lost, mixed or made twice."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from span_work import Counting
from tiny_stages import build

from compress import api
from compress.engine import slices
from compress.engine.config import HostSettings, Settings
from compress.engine.errors import ConfigError, MissingExtraError, StoreError
from compress.engine.executors.spans import make_spans
from compress.engine.executors.work import Made
from compress.engine.executors.worker import serve
from compress.engine.partial import keep_json
from compress.engine.remote import lease as leases
from compress.engine.remote.mirror import StageMirror, fetch_runs, send_run
from compress.engine.remote.storage import MARKER, Remote, is_url, mirror_of
from compress.engine.stage import Stage, StageContext
from compress.engine.store import Artifact, Store

KEY = "0" * 32


def machine(tmp_path: Path, name: str, url: str) -> Path:
    """The mirror of a machine of its own."""
    work = tmp_path / name
    work.mkdir()
    (work / MARKER).write_text(json.dumps({"url": url}))
    return work


def written(text: str) -> Any:
    def fill(folder: Path) -> dict[str, object]:
        (folder / "inner").mkdir()
        (folder / "inner" / "out").write_text(text)
        return {"said": text}

    return fill


def test_another_machine_makes_nothing_again(bucket: str, tmp_path: Path) -> None:
    here, there = machine(tmp_path, "here", bucket), machine(tmp_path, "there", bucket)
    first = build(Settings(), here, "run")
    assert first.made == ["data", "teacher", "distill"]
    second = build(Settings(), there, "run")
    assert second.made == []
    for stage, artifact in first.stages.items():
        other = second.stages[stage]
        assert other.content == artifact.content and there in other.path.parents
    names = Remote(bucket).tree("store")
    assert not [name for name in names if "partial" in name or "lease" in name], names


def test_a_run_is_uploaded_and_fetched_without_its_links(bucket: str, tmp_path: Path) -> None:
    here, there = machine(tmp_path, "here", bucket), machine(tmp_path, "there", bucket)
    built = build(Settings(), here, "run")
    (built.folder / "bundle").mkdir()
    (built.folder / "bundle" / "labels.txt").write_text("rose")
    send_run(Remote(bucket), built.folder)
    sent = Remote(bucket).tree("runs", "run")
    assert sent == ["bundle/labels.txt", "config.yaml", "log.jsonl", "run.json"]
    fetch_runs(Remote(bucket), there / "runs")
    assert (there / "runs" / "run" / "bundle" / "labels.txt").read_text() == "rose"


def test_of_two_builds_at_once_one_makes_and_one_waits(bucket: str, tmp_path: Path) -> None:
    made, notes, results = [], [], []

    def slow(folder: Path) -> dict[str, object]:
        made.append(folder)
        time.sleep(1.5)
        (folder / "out").write_text("once")
        return {}

    def one(name: str) -> None:
        store = Store.of(machine(tmp_path, name, bucket))
        results.append(store.make("data", KEY, {}, slow, notes.append))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("here", "there")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(results) == 2
    assert len({artifact.content for artifact in results}) == 1
    assert [note for note in notes if note.startswith("stage data is being made by process ")]


def test_the_lease_of_a_dead_machine_is_taken_over(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.5)
    monkeypatch.setattr(leases, "POLL_S", 0.1)
    remote = Remote(bucket)
    dead = {"host": "gone", "pid": 7, "token": "x", "beat": 3}
    remote.write(json.dumps(dead).encode(), "store", "data", f"{KEY}.lease")
    notes: list[str] = []
    store = Store.of(machine(tmp_path, "here", bucket))
    assert store.make("data", KEY, {}, written("a"), notes.append).facts == {"said": "a"}
    assert notes == [
        "stage data is being made by process 7 of gone: waiting for it",
        "stage data: process 7 of gone has stopped; its work is taken over",
    ]


def test_a_living_holder_keeps_its_lease(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 1.5)
    monkeypatch.setattr(leases, "POLL_S", 0.1)
    mirror = StageMirror(Remote(bucket), "data", KEY)
    held = leases.RemoteLease(mirror.remote, mirror.lease, "stage data")
    assert held.acquire(lambda: False, lambda text: None)
    other = leases.RemoteLease(mirror.remote, mirror.lease, "stage data")
    start = time.monotonic()
    assert not other.acquire(lambda: time.monotonic() - start > 4, lambda text: None)
    held.require()
    held.release()
    assert other.acquire(lambda: False, lambda text: None)
    other.release()
    assert not Remote(bucket).tree("store")


def test_who_lost_its_lease_seals_nothing(bucket: str, tmp_path: Path) -> None:
    store = Store.of(machine(tmp_path, "here", bucket))

    def fill(folder: Path) -> dict[str, object]:
        Remote(bucket).write(b'{"token": "another"}', "store", "data", f"{KEY}.lease")
        return written("mine")(folder)  # type: ignore[no-any-return]

    with pytest.raises(StoreError, match="another process has taken over stage data"):
        store.make("data", KEY, {}, fill)
    assert store.get("data", KEY) is None
    assert Remote(bucket).tree("store") == [f"data/{KEY}.lease"], "of the other one"


def test_a_killed_build_goes_on_on_another_machine(bucket: str, tmp_path: Path) -> None:
    def dying(folder: Path) -> dict[str, object]:
        (folder / "partial").mkdir(exist_ok=True)
        keep_json(folder / "partial" / "step.json", 1)
        keep_json(folder / "partial" / "step.json", 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Store.of(machine(tmp_path, "here", bucket)).make("data", KEY, {}, dying)
    digest = hashlib.sha256(b"2").hexdigest()
    assert Remote(bucket).tree("store") == [f"data/{KEY}.partial/step.json@{digest}"]

    def going_on(folder: Path) -> dict[str, object]:
        return {"step": json.loads((folder / "partial" / "step.json").read_text())}

    there = Store.of(machine(tmp_path, "there", bucket))
    assert there.make("data", KEY, {}, going_on).facts == {"step": 2}
    assert not [name for name in Remote(bucket).tree("store") if "partial" in name]


def test_what_is_in_storage_is_not_uploaded_again(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = StageMirror(Remote(bucket), "data", KEY)
    keep_json(tmp_path / "one.json", 1)
    keep_json(tmp_path / "two.json", 2)
    mirror.send_partial(tmp_path / "one.json", hashlib.sha256(b"1").hexdigest())
    sent: list[str] = []
    write = Remote.write

    def noting(self: Remote, content: bytes, *parts: str) -> None:
        sent.append(parts[-1])
        write(self, content, *parts)

    monkeypatch.setattr(Remote, "write", noting)
    for _ in range(2):
        with mirror.partials_of(tmp_path):
            pass
    assert [name.partition("@")[0] for name in sent] == ["two.json"]


def test_damaged_objects_are_never_used(bucket: str, tmp_path: Path) -> None:
    remote = Remote(bucket)
    remote.write(b"other", "store", "data", f"{KEY}.partial", f"step.json@{'a' * 64}")
    here = Store.of(machine(tmp_path, "here", bucket))
    seen = []

    def fill(folder: Path) -> dict[str, object]:
        seen.extend((folder / "partial").glob("*.json"))
        return written("good")(folder)  # type: ignore[no-any-return]

    here.make("data", KEY, {}, fill)
    assert seen == []
    remote.write(b"flip", "store", "data", KEY, "inner", "out")
    there, notes = Store.of(machine(tmp_path, "there", bucket)), []
    made = there.make("data", KEY, {}, written("good"), notes.append)
    assert (made.path / "inner" / "out").read_text() == "good"
    assert "is damaged: stage data is made again" in notes[0]
    assert remote.read("store", "data", KEY, "inner", "out") == b"good"


@pytest.mark.parametrize("name", ["../../escaped", "/escaped"])
def test_an_object_cannot_leave_its_folder(bucket: str, tmp_path: Path, name: str) -> None:
    manifest = {"files": {name: {}}}
    Remote(bucket).write(json.dumps(manifest).encode(), "store", "data", KEY, "stage.json")
    with pytest.raises(StoreError, match="an object would leave its folder"):
        Store.of(machine(tmp_path, "here", bucket)).get("data", KEY)


def test_a_worker_elsewhere_fetches_inputs_and_leaves_its_span(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Store.of(machine(tmp_path, "driver", bucket))
    data = driver.make("data", KEY, {}, written("input"))
    part = driver.part("generate", "1" * 32)
    part.mkdir(parents=True)
    work = Counting(StageContext(Settings(), {"data": data}, part, url=bucket))
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path / "worker"))
    made = serve(work, "ticket", 3, 6, 1)
    assert isinstance(made, Made) and made.span == range(3, 6)
    fetched = next((tmp_path / "worker").glob(f"work/*/store/data/{KEY}/inner/out"))
    assert fetched.read_text() == "input"
    monkeypatch.setattr(
        "compress.engine.executors.spans.executor_for", lambda host: Finished([made])
    )
    (file,) = make_spans(work, [range(3, 6)])
    assert hashlib.sha256(file.read_bytes()).hexdigest() == made.sha256
    gone = Artifact("data", tmp_path / ("2" * 32), {}, "")
    lacking = Counting(StageContext(Settings(), {"data": gone}, part, url=bucket))
    refused = serve(lacking, "other", 3, 6, 1)
    assert "stage data is not in the work folder" in str(refused.error)  # type: ignore[union-attr]


class Finished:
    """An executor whose workers are elsewhere."""

    def __init__(self, made: list[Made]) -> None:
        self.made = made

    def map(self, *_: object) -> list[Made]:
        return self.made


def test_slices_of_two_machines_are_found_by_a_third(bucket: str, tmp_path: Path) -> None:
    stage = Stage("generate", (), (), "unused:unused", spans="span_work:Counting")
    for index in range(2):
        store = Store.of(machine(tmp_path, f"task{index}", bucket))
        part = slices.Slice(index, 2)
        slices.make_slice([stage], "generate", part, Settings(), store, HostSettings())
    third = Store.of(machine(tmp_path, "third", bucket))
    (folder,) = {Path(name).parent for name in Remote(bucket).tree("store")}
    key = folder.name.removesuffix(".partial")
    found = []

    def fill(part: Path) -> dict[str, object]:
        found.extend(sorted(file.name for file in (part / "partial").glob("*.safetensors")))
        return {}

    third.make("generate", key, {}, fill)
    assert found == [f"count_{start:03d}.safetensors" for start in range(0, 15, 3)]


def test_what_cannot_be_reached_or_used_is_one_clear_error(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="no such bucket · got s3://no-such-bucket/x"):
        mirror_of("s3://no-such-bucket/x")
    import s3fs

    with monkeypatch.context() as patch, pytest.raises(StoreError, match="check its address"):
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        patch.setattr("s3fs.core.S3FileSystem.retries", 1)
        s3fs.S3FileSystem.clear_instance_cache()
        mirror_of(f"{bucket}/elsewhere")
    with pytest.raises(ConfigError, match="no such kind of storage · got nonsense://x"):
        api.work_folder("nonsense://x")
    with pytest.raises(MissingExtraError, match="pip install gcsfs"):
        api.work_folder("gs://bucket/x")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path))
    work = api.work_folder(f"{bucket}/x/")
    assert Remote.of(work) == Remote(f"{bucket}/x") and tmp_path in work.parents
    assert api.work_folder(f"{bucket}/x") == work


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    assert not is_url(f"file://{tmp_path}") and not is_url("work")
    assert api.work_folder(f"file://{tmp_path}") == tmp_path.resolve()
    assert Remote.of(tmp_path) is None and Store.of(tmp_path).remote is None


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_a_build_in_a_bucket_ends_in_the_bytes_of_one_on_disk(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("CLIP2EDGE_CACHE", str(tmp_path / "cache"))
    how = {"shots": 1, "preset": "smoke", "offline": True}
    settings = api.settings_for("petals", **how, overrides={"generate": {"batch": 32}})
    host = HostSettings(engine=engine, jobs=2)
    there = api.build(settings=settings, work_dir=f"{bucket}/w", until="label", host=host)
    here = api.build(settings=settings, work_dir=tmp_path / "local", until="label")
    assert there.made == here.made
    for stage in ("generate", "label"):
        assert there.stages[stage].content == here.stages[stage].content
    if engine == "ray":
        __import__("ray").shutdown()
