"""Look at the components of a committed generation: samples, rows they own, nearest training rows, latent walks.

Nothing but the generation and the data set is needed, so this works on a finished run and beside one that goes on. Of
a large data set only some blocks are read, one at a time.

Shapes: n samples of a component, R rows read, S rows searched, Y X sides of a grid.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from raymix.config import Config
from raymix.data.blocks import read_blocks
from raymix.data.source import DataSpec, block_bounds
from raymix.models.registry import close
from raymix.report.contents import ComponentPortrait, Grid, Neighbours, Portrait, Rows
from raymix.report.thumbnails import SIDE
from raymix.runs.checkpoint import Generation, RunDirectory, assignment_name, read_assigned
from raymix.seeds import ALL, Phase, numpy_rng, phase_seed
from raymix.training.generators import GeneratorPack
from raymix.training.packs import Packs

READ_BYTES = 256 * 2**20  # of the data set, at most
SEARCHED_ROWS, SEARCHED_BYTES = 20_000, 256 * 2**20  # among which the nearest training row is looked for
MEASURED = 960  # samples of all components whose nearest training row is looked for
IMAGE_BYTES = 2_600_000  # what all pictures of rows may take on a page; a pixel of noise takes a byte
VECTORS = 8_000  # samples of all components, and as many real rows
WALK_STEPS, WALK_DRAWS, WALK_END = 9, 512, 0.02  # the last: the quantile where a walk begins
GRID_SIDE = 64


class Amounts(NamedTuple):
    """How many rows of each component are drawn and shown."""

    shown: int
    """Samples, and real rows."""
    paired: int
    """Samples shown beside their nearest training row."""
    measured: int
    """Samples whose nearest training row is looked for."""
    walks: int


def amounts(row_shape: Sequence[int], num_components: int) -> Amounts:
    """Fewer for many components, so that their pictures fit on a page."""
    measured = min(64, max(8, MEASURED // num_components))
    if len(row_shape) != 3:
        return Amounts(min(400, max(50, VECTORS // num_components)), 5, measured, 0)
    image_bytes = math.prod(min(side, SIDE) for side in row_shape[1:])
    full_bytes = num_components * image_bytes * (2 * 16 + 2 * 5 + 2 * WALK_STEPS)
    share = min(1.0, IMAGE_BYTES / full_bytes)
    return Amounts(max(4, int(16 * share)), max(2, int(5 * share)), measured, 2 if share > 0.5 else 1)


def portray(directory: RunDirectory, generation: Generation) -> Portrait:
    """Every component of a generation. Raises `CheckpointError`, `DataError`."""
    config, spec = directory.load()
    config = close(config)
    packs = Packs(config, spec, generation.components)
    packs.load(directory.storage, generation)
    components, round = generation.state.components, generation.state.round
    todo = amounts(spec.row_shape, len(components))
    samples = {
        k: packs.generators.sample_in_data_units(
            k, max(todo.shown, todo.measured), phase_seed(config.seed, round, k, Phase.PICTURE)
        )
        for k in components
    }
    real = real_rows(directory, generation, config, spec, max(todo.shown, todo.measured))
    neighbours = nearest(samples, real, todo)
    grid = grid_over(real.searched) if spec.row_shape == (2,) and packs.scorer is not None else None
    fields: Mapping[int, NDArray[np.float32]] = {}
    if grid is not None and packs.scorer is not None:
        points = np.stack(np.meshgrid(grid.xs, grid.ys), -1).reshape(-1, 2).astype(np.float32)
        log_ratios = packs.scorer.score(round, points, components)
        fields = {k: log_ratios[k][0].reshape(GRID_SIDE, GRID_SIDE) for k in components}
    return Portrait(
        components=tuple(
            ComponentPortrait(
                component=k,
                samples=samples[k][: todo.shown],
                owned=real.owned[k][: todo.shown],
                neighbours=neighbours[k],
                walks=walks(packs.generators, k, todo.walks, phase_seed(config.seed, round, k, Phase.PICTURE, 3)),
                log_ratio_YX=fields.get(k),
            )
            for k in components
        ),
        num_rows=spec.num_rows,
        num_read=real.num_read,
        num_searched=len(real.searched),
        grid=grid,
    )


class RealRows(NamedTuple):
    """Rows of the data set, drawn at random."""

    owned: dict[int, Rows]
    """(m, *row_shape) rows won by each component, and at first those that are shown."""
    owned_numbers: dict[int, NDArray[np.int64]]
    """(m,) their numbers in the data set."""
    searched: Rows
    """(S, *row_shape) rows of any component."""
    searched_numbers: NDArray[np.int64]
    searched_owners: NDArray[np.int32]
    num_read: int


def real_rows(directory: RunDirectory, generation: Generation, config: Config, spec: DataSpec, num: int) -> RealRows:
    """At most `num` rows of each component and those to search among, from blocks that are read one at a time."""
    bounds = block_bounds(spec, config.data.block_bytes)
    blocks = chosen_blocks(len(bounds), min(config.data.block_bytes, spec.num_rows * spec.row_bytes), config.seed)
    winners_R = np.concatenate([_winners(directory, generation, b) for b in blocks])
    numbers_R = np.concatenate([np.arange(*bounds[b]) for b in blocks])

    def drawn(candidates: NDArray[np.int64], most: int, component: int) -> NDArray[np.int64]:
        rng = numpy_rng(phase_seed(config.seed, generation.state.round, component, Phase.PICTURE, 1))
        return rng.permutation(candidates)[:most]

    own = {k: drawn(np.flatnonzero(winners_R == k), num, k) for k in generation.state.components}
    row_bytes = 4 * math.prod(spec.row_shape)
    most = max(1, min(SEARCHED_ROWS, SEARCHED_BYTES // row_bytes))
    searched = np.sort(drawn(np.arange(len(winners_R)), most, ALL))

    wanted = np.unique(np.concatenate([searched, *own.values()]))
    parts, start = [], 0
    for block in read_blocks(config.data, spec, [bounds[b] for b in blocks]):
        inside = wanted[(wanted >= start) & (wanted < start + len(block.rows))]
        parts.append(np.array(block.rows[inside - start]))
        start += len(block.rows)
    rows = np.concatenate(parts)
    return RealRows(
        owned={k: rows[np.searchsorted(wanted, places)] for k, places in own.items()},
        owned_numbers={k: numbers_R[places] for k, places in own.items()},
        searched=rows[np.searchsorted(wanted, searched)],
        searched_numbers=numbers_R[searched],
        searched_owners=winners_R[searched],
        num_read=len(winners_R),
    )


def chosen_blocks(num_blocks: int, block_bytes: int, seed: int) -> list[int]:
    """The blocks to read: all, or as many at random as stay within bounds, ascending."""
    most = max(1, READ_BYTES // block_bytes)
    if num_blocks <= most:
        return list(range(num_blocks))
    rng = numpy_rng(phase_seed(seed, 0, ALL, Phase.PICTURE, 2))
    chosen: list[int] = np.sort(rng.choice(num_blocks, most, replace=False)).tolist()
    return chosen


def _winners(directory: RunDirectory, generation: Generation, block: int) -> NDArray[np.int32]:
    name = assignment_name(block)
    return read_assigned(directory.storage, f"{generation.folder}/{name}", generation.files[name]).winners


def nearest(samples: Mapping[int, Rows], real: RealRows, todo: Amounts) -> dict[int, Neighbours]:
    """The training row nearest to samples and to real rows of each component, a real row itself left out."""
    exact = np.float64 if real.searched.dtype == np.float64 else np.float32

    def flat(rows: Rows) -> NDArray[np.floating]:
        return rows.reshape(len(rows), math.prod(rows.shape[1:])).astype(exact)

    searched_SD = flat(real.searched)
    index = NearestNeighbors(n_neighbors=min(2, len(searched_SD))).fit(searched_SD)
    found = {}
    for k, drawn in samples.items():
        queries = flat(drawn[: todo.measured])
        places = index.kneighbors(queries, return_distance=False)[:, 0]
        paired = places[: todo.paired]
        found[k] = Neighbours(
            rows=real.searched[paired],
            numbers=real.searched_numbers[paired],
            owners=real.searched_owners[paired].astype(np.int64),
            distances=_distances(queries, searched_SD[places]),
            real_distances=_to_another(flat(real.owned[k]), real.owned_numbers[k], searched_SD, real, index, todo),
        )
    return found


def _to_another(
    owned_MD: NDArray[np.floating],
    numbers_M: NDArray[np.int64],
    searched_SD: NDArray[np.floating],
    real: RealRows,
    index: NearestNeighbors,
    todo: Amounts,
) -> NDArray[np.float64]:
    """Distances from real rows to the nearest row that is not the row itself."""
    owned_MD, numbers_M = owned_MD[: todo.measured], numbers_M[: todo.measured]
    if not len(owned_MD) or len(searched_SD) < 2:
        return np.empty(0)
    places_M2 = index.kneighbors(owned_MD, return_distance=False)
    itself_M = real.searched_numbers[places_M2[:, 0]] == numbers_M
    return _distances(owned_MD, searched_SD[np.where(itself_M, places_M2[:, 1], places_M2[:, 0])])


def _distances(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    """Euclidean, row by row, by differences: products would lose what is small."""
    distances: NDArray[np.float64] = np.linalg.norm(left.astype(np.float64) - right.astype(np.float64), axis=1)
    return distances


def walks(pack: GeneratorPack, component: int, num: int, seed: int) -> NDArray[np.floating] | None:
    """(num, S, *row_shape) along the latent coordinates that change the picture most, between quantiles of the prior;
    the others stay where its most central draw has them."""
    if not num or not pack.latent(component):
        return None
    drawn_nZ = pack.latents(component, WALK_DRAWS, seed)
    spread_Z = np.maximum(drawn_nZ.std(0), np.finfo(np.float32).tiny)
    centre_Z = drawn_nZ[np.argmin((((drawn_nZ - drawn_nZ.mean(0)) / spread_Z) ** 2).sum(1))]
    path_SZ = np.quantile(drawn_nZ, np.linspace(WALK_END, 1 - WALK_END, WALK_STEPS), axis=0).astype(drawn_nZ.dtype)
    lines_ZSZ, every = np.tile(centre_Z, (len(centre_Z), WALK_STEPS, 1)), np.arange(len(centre_Z))
    lines_ZSZ[every, :, every] = path_SZ.T
    low, high = (pack.decode_in_data_units(component, lines_ZSZ[:, end]) for end in (0, -1))
    change_Z = np.abs(high - low).reshape(len(centre_Z), -1).mean(1)
    chosen = np.argsort(-change_Z, kind="stable")[:num]
    return np.stack([pack.decode_in_data_units(component, line) for line in lines_ZSZ[chosen]])


def grid_over(rows_S2: Rows) -> Grid:
    """A grid over the rows and a little beyond."""
    rows_S2 = rows_S2.astype(np.float64)
    low, high = rows_S2.min(0), rows_S2.max(0)
    margin = 0.08 * np.maximum(high - low, 1e-6)
    xs, ys = np.linspace(low - margin, high + margin, GRID_SIDE).T
    return Grid(xs, ys)
