"""The files that a run shows itself with, made from a committed generation: the report page and the picture."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

from raymix.data.source import DataSpec
from raymix.evaluation.portrait import portray
from raymix.report.comparison import evaluated
from raymix.report.contents import Portrait
from raymix.report.page import render
from raymix.report.pictures import save_samples
from raymix.runs.checkpoint import Generation, RunDirectory


@contextmanager
def plain_style() -> Iterator[None]:
    """Inside, figures look as matplotlib has it, whatever the user's own style is."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@plain_style()
def report_files(directory: RunDirectory) -> dict[str, bytes]:
    """`report.html` and `samples.png` of the last committed round; nothing is written.

    Raises `CheckpointError` when there is no such round, `DataError` when the data set is not what it was.
    """
    config, spec = directory.load()
    generation, portrait = directory.look(lambda last: portray(directory, last))
    lines = [each.record for each in directory.generations() if each.state.round <= generation.state.round]
    environment = directory.storage.read_json("run.json")["environment"]
    page = render(lines, config, spec, environment, portrait, evaluated(directory.storage, generation.name))
    return {"report.html": page.encode(), "samples.png": picture(spec, generation, portrait)}


def picture(spec: DataSpec, generation: Generation, portrait: Portrait) -> bytes:
    """A PNG of samples of each component beside real rows it owns."""
    buffer = io.BytesIO()
    save_samples(
        buffer,
        [each.samples for each in portrait.components],
        [each.owned for each in portrait.components],
        generation.state.weights_K,
        "image" if spec.is_image else "vector",
        generation.state.components,
    )
    return buffer.getvalue()
