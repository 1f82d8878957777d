"""The stages of a search that are not part of a build, and how a search makes stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.engine.config import HostSettings, Settings
from compress.engine.progress import Progress
from compress.engine.runner import make
from compress.engine.stage import Stage
from compress.engine.store import Artifact, Store
from compress.stages import STAGES

UNTRAINED = tuple(f"distill.{name}" for name in ("student", "init", "head", "activation"))
SKETCHED = (*UNTRAINED, "image", "teacher.name", "teacher.others", "export.opset")
SKETCH = Stage("sketch", ("data",), SKETCHED, "export.sketch:run")
TIMED = ("bench.threads", "budget.seconds", "image.size")
BENCH = "compress.search.sketch_bench:run"
#: its inputs are the sketches of all candidates, by the candidates' names
SKETCH_BENCH = Stage("sketch-bench", (), TIMED, BENCH, machine_bound=True)
BY_NAME: Mapping[str, Stage] = {stage.name: stage for stage in STAGES}
TRAINING = ("data", "teacher", "generate", "label", "distill")


@dataclass(frozen=True)
class StageMaker:
    """Makes stages in the store of a search, where candidates share what is the same for them."""

    store: Store
    host: HostSettings
    progress: Progress

    def make(
        self, stage: Stage | str, settings: Settings, finished: Mapping[str, Artifact] | None = None
    ) -> Artifact:
        """A finished stage; ``finished`` holds the stages it needs."""
        row = BY_NAME[stage] if isinstance(stage, str) else stage
        return make(row, settings, finished or {}, self.store, self.host, self.progress)

    def train(self, settings: Settings) -> dict[str, Artifact]:
        """The stages up to distill."""
        finished: dict[str, Artifact] = {}
        for name in TRAINING:
            finished[name] = self.make(name, settings, finished)
        return finished
