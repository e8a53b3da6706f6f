"""Who owns which row: the assignment of the whole data set, and all that is done to it.

What is large stays with its block, where the functions of `blockwise` and `reshape` work on it; here are handles and
counts. Workers in one process and workers on a cluster give the `BlockMap` and the handles, and all else is the same.

Axes: N rows, K components, B blocks, G candidates.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.maths import balance, blockwise, centroids, flow, reshape
from raymix.maths.balance import Threshold
from raymix.maths.blockwise import BlockMap, Counts, Handle
from raymix.maths.centroids import Centroids, Scaling
from raymix.maths.modality import Frame, Modality
from raymix.maths.structure import Candidate, Confusion, Reshaping
from raymix.seeds import Phase, phase_seed
from raymix.state import Outcome


class Shared(NamedTuple):
    """What stays with the blocks of how some components share the rows."""

    components: tuple[int, ...]
    positions_B: list[Handle]
    """Positions of the winners."""
    won_BK: list[NDArray[np.int64]]
    """Rows won."""


class Ownership:
    """The rows of all blocks, whose they are, and by which log ratios."""

    def __init__(
        self,
        config: Config,
        spec: DataSpec,
        map_blocks: BlockMap,
        rows_B: list[Handle],
        classes_B: list[Handle],
        sizes_B: list[int],
    ) -> None:
        """`classes_B` are the rows' class numbers, or None for each block; `sizes_B` their number."""
        self.config, self.num_classes, self.row_shape = config, len(spec.classes), spec.row_shape
        self.num_rows = spec.num_rows
        self.map_blocks = map_blocks
        self.rows_B, self.classes_B, self.sizes_B = rows_B, classes_B, sizes_B
        self.assigned_B: list[Handle] = [None] * len(rows_B)
        """The `Assigned` of each block; None before any assignment."""
        self.scored: tuple[int, ...] = ()
        self.log_ratios_BK: list[list[Handle]] = []
        """Log ratios of the components that were scored last."""
        self.shared = Shared((), [], [])
        self.centroids: Centroids | None = None
        """Where the cells are kept, whose they are."""

    def take_log_ratios(self, components: tuple[int, ...], log_ratios_BK: list[list[Handle]]) -> None:
        """Take the log ratios of some components, for the next assignment."""
        self.scored, self.log_ratios_BK = components, log_ratios_BK

    def drop_log_ratios(self) -> None:
        """Let go of the log ratios, which may be larger than the rows themselves."""
        self.log_ratios_BK = []

    # ---- the first assignment

    def begin(self, components: tuple[int, ...], features_B: list[Handle] | None = None) -> Outcome:
        """Give each row to the nearest of as many centres, found by k-means: on principal components of images, on
        scaled vectors, or on the features of each row, (n, P) for each block."""
        scaling, points_B, frame = Scaling.of(self.config), features_B or self.rows_B, None
        if len(self.row_shape) == 3 and not features_B:
            most = max(centroids.AXES_VALUES // math.prod(self.row_shape), 2 * centroids.AXES)
            fit = centroids.Fit(centroids.AXES, self._begin_seed(1, 0))
            drawn_B = self._drawn(points_B, most, 0, scaling, None)
            ((_, frame),) = self.map_blocks(centroids.axes, [fit], [drawn_B])
        most = max(centroids.FEWEST_ROWS, centroids.ROWS_PER_CENTRE * len(components))
        drawn_B = self._drawn(points_B, most, 2, scaling, frame)
        tries = [centroids.Fit(len(components), self._begin_seed(3, i)) for i in range(centroids.TRIES)]
        found = [summary for _, summary in self.map_blocks(centroids.centres, tries, [drawn_B for _ in tries])]
        _, centres_KP = min(found, key=lambda each: each[0])
        found_centres = Centroids(components, centres_KP, frame)
        self.centroids = found_centres if self.config.mode == "centroids" else None
        place = centroids.Place(found_centres, scaling)
        placed = self.map_blocks(centroids.place, [place for _ in points_B], [(points,) for points in points_B])
        return self._finish(components, [positions for positions, _ in placed], {})

    def _drawn(
        self, points_B: list[Handle], most: int, kind: int, scaling: Scaling, frame: Frame | None
    ) -> list[Handle]:
        """Coordinates of at most so many rows, drawn evenly from all blocks."""
        shares = enumerate(centroids.shares(self.sizes_B, most))
        draws = [centroids.Draw(num, self._begin_seed(kind, b), scaling, frame) for b, num in shares]
        return [rows for rows, _ in self.map_blocks(centroids.draw, draws, [(points,) for points in points_B])]

    def _begin_seed(self, kind: int, number: int) -> int:
        """Of one draw or try; `kind` tells rows for axes, axes, rows for centres and centres apart."""
        return phase_seed(self.config.seed, 0, kind, Phase.BEGIN, number)

    # ---- the next assignment

    def assign(self, round: int, log_z_K: Sequence[float], margin: float | None = None) -> Outcome:
        """Give each row to argmax_k s_k of those that were scored, lend rows to starved ones. With a margin, the
        config's unless it is given, a row stays where it is unless another explains it better by so much."""
        blocks, log_ratios_BK = range(len(self.rows_B)), self.log_ratios_BK
        margin = self.config.assign.margin if margin is None else margin
        task = blockwise.Win(self.scored, log_z_K, margin)
        pairs = zip(self.assigned_B if margin else [None for _ in blocks], log_ratios_BK, strict=True)
        won = self.map_blocks(blockwise.win, [task for _ in blocks], [(before, *each) for before, each in pairs])
        positions_B = [positions for positions, _ in won]

        def histograms(request: Mapping[int, int | None]) -> list[dict[int, NDArray[np.int64]]]:
            handles_B = [(positions_B[b], *(log_ratios_BK[b][k] for k in request)) for b in blocks]
            return [counts for _, counts in self.map_blocks(blockwise.histogram, [request for _ in blocks], handles_B)]

        need = balance.shortfall(np.sum([won_K for _, won_K in won], axis=0), self.config.balance.min_share)
        outcome = self._finish(self.scored, positions_B, balance.thresholds(need, histograms))
        if not self.config.schedule.retires(round):  # else `share` may ask for them
            self.drop_log_ratios()
        return outcome

    def deal(self, round: int, components: tuple[int, ...]) -> Outcome:
        """Assign rows by the rule of a control, which looks at no log ratio and lends nothing."""
        config, num_classes = self.config, self.num_classes
        tasks = [
            blockwise.Deal(config.mode, size, num_classes, config.components, components, config.seed, round, b)
            for b, size in enumerate(self.sizes_B)
        ]
        dealt = self.map_blocks(blockwise.deal, tasks, [(classes,) for classes in self.classes_B])
        return self._finish(components, [positions for positions, _ in dealt], {})

    def keep(self, components: tuple[int, ...]) -> Outcome:
        """Leave every row where it is; those of a component that competes no longer are dealt to the others."""
        task = blockwise.Keep(components, self.num_classes)
        handles_B = list(zip(self.assigned_B, self.classes_B, strict=True))
        return self._accept(self.map_blocks(blockwise.keep, [task for _ in handles_B], handles_B))

    def _finish(
        self, components: tuple[int, ...], positions_B: list[Handle], thresholds: Mapping[int, Sequence[Threshold]]
    ) -> Outcome:
        """Make assignments of positions of winners; `thresholds` of the starved by position, for each block."""
        tasks, handles_B = [], []
        for b, positions in enumerate(positions_B):
            own = {k: threshold_B[b] for k, threshold_B in thresholds.items()}
            tasks.append(blockwise.Finish(components, self.num_classes, own))
            log_ratios = [self.log_ratios_BK[b][k] for k in own]
            handles_B.append((positions, self.classes_B[b], self.assigned_B[b], *log_ratios))
        return self._accept(self.map_blocks(blockwise.finish, tasks, handles_B))

    def _accept(self, finished: Sequence[tuple[Handle, Counts]]) -> Outcome:
        """Go on with the assignment that was made of each block; returns the sums of its counts."""
        self.assigned_B = [assigned for assigned, _ in finished]
        counts = [count for _, count in finished]
        tables = [count.contingency_KC for count in counts if count.contingency_KC is not None]
        return Outcome(
            won_K=np.sum([count.won_K for count in counts], axis=0),
            loads_K=np.sum([count.loads_K for count in counts], axis=0),
            moved=sum(count.moved for count in counts),
            contingency_KC=np.sum(tables, axis=0) if tables else None,
            flow_F3=flow.added(count.flow_F3 for count in counts),
        )

    # ---- when components are copied

    def reseed(self, round: int, components: tuple[int, ...], donors: Mapping[int, int]) -> Outcome:
        """Give starved components half of the rows of others, {starved: donor}; `moved` are the rows that changed hands
        here."""
        seed, num_classes = self.config.seed, self.num_classes
        tasks = []
        for b in range(len(self.rows_B)):
            seeds = {k: phase_seed(seed, round, k, Phase.RESEED, b) for k in donors}
            tasks.append(blockwise.Reseed(donors, components, num_classes, seeds))
        handles_B = list(zip(self.assigned_B, self.classes_B, strict=True))
        return self._accept(self.map_blocks(blockwise.halve, tasks, handles_B))

    def share(self, components: tuple[int, ...], log_z_K: Sequence[float]) -> Confusion:
        """How some of those that were scored share the rows, by the log ratios of the assignment before."""
        places = [self.scored.index(k) for k in components]
        log_ratios_BK = [[log_ratios_K[place] for place in places] for log_ratios_K in self.log_ratios_BK]
        self.drop_log_ratios()
        found = self.map_blocks(reshape.share, [log_z_K for _ in log_ratios_BK], log_ratios_BK)
        won_BK = [summary.won_K for _, summary in found]
        posterior_KK = np.zeros((len(log_z_K), len(log_z_K)))
        for _, summary in found:  # in block order
            posterior_KK += summary.posterior_KK
        self.shared = Shared(components, [positions for positions, _ in found], won_BK)
        return Confusion(np.sum(won_BK, axis=0), posterior_KK)

    def look(self, candidates: Sequence[Candidate]) -> list[Modality]:
        """What the rows of each candidate are like, by how they `share`; of many some are looked at, evenly spread."""
        if not candidates:
            return []
        components, positions_B, won_BK = self.shared
        positions_G = [tuple(components.index(k) for k in candidate) for candidate in candidates]
        of_candidate_BG = np.array([[won_K[list(candidate)].sum() for candidate in positions_G] for won_K in won_BK])
        total_G, before_BG = of_candidate_BG.sum(0), of_candidate_BG.cumsum(0) - of_candidate_BG
        every_G = np.ceil(total_G / reshape.most_rows(self.row_shape)).astype(int).tolist()
        picks = [reshape.Pick(b, positions_G, every_G, before_G.tolist()) for b, before_G in enumerate(before_BG)]
        picked = self.map_blocks(reshape.pick, picks, list(zip(self.rows_B, positions_B, strict=True)))
        num_all, is_image = int(np.sum(won_BK)), len(self.row_shape) == 3
        looks = [reshape.Look(g, int(total), num_all, self._scale, is_image) for g, total in enumerate(total_G)]
        picked_B = [rows for rows, _ in picked]
        return [found for _, found in self.map_blocks(reshape.look, looks, [picked_B for _ in candidates])]

    def reshape(self, reshaping: Reshaping) -> Outcome:
        """Let those who `share` become the components of a reshaping; `moved` are the rows that changed hands here."""
        components, positions_B, _ = self.shared
        task = reshape.Reshape(components, reshaping, self._scale, self.num_classes)
        handles_B = list(zip(self.rows_B, positions_B, self.assigned_B, self.classes_B, strict=True))
        return self._accept(self.map_blocks(reshape.reshape, [task for _ in handles_B], handles_B))

    @property
    def _scale(self) -> tuple[float, ...]:
        return self.config.data.scale or (1.0,)
