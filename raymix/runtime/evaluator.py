"""The actor that measures and pictures what a run has written, beside the training."""

from collections.abc import Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raymix.runs.checkpoint import Generation, RunDirectory
from raymix.runtime.actor_names import Name, named
from raymix.runtime.logs import keep_log, telling
from raymix.storage import Storage


@telling
class Evaluator:
    """Reads generations from storage, so that it asks nothing of those who train. torch is imported when it works."""

    def __init__(self, storage: Storage, name: Name) -> None:
        keep_log(name)
        self.name = name
        self.directory = RunDirectory(storage)
        self.pieces = 0

    def __repr__(self) -> str:
        return str(self.name)

    def evaluate(self, generation: Generation) -> dict[str, Any]:
        from raymix.evaluation.evaluate import evaluate_generation

        return evaluate_generation(self.directory, generation, self._count)

    def _count(self, pieces: int) -> None:
        """A sign of life."""
        self.pieces += pieces

    def pictures(self) -> Mapping[str, bytes]:
        from raymix.evaluation.report_files import report_files

        return report_files(self.directory)

    @ray.method(concurrency_group="watch")
    def progress(self) -> int:
        """Pieces of work done; answered from a second thread."""
        return self.pieces


def start_evaluator(storage: Storage, run_id: str) -> Any:
    """The handle of a run's actor. It asks no processor, and sits where a local run directory is."""
    options: dict[str, Any] = {"num_cpus": 0}
    if storage.is_local:
        node = ray.get_runtime_context().get_node_id()
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
    actor_class: Any = ray.remote(concurrency_groups={"watch": 1})(Evaluator)  # type: ignore[call-overload]
    name = Name(run_id, "evaluator")
    return named(lambda unique: actor_class.options(**options, name=unique).remote(storage, name), name)
