"""Records and portraits that were never trained."""

import numpy as np
import pytest

from raymix.config import Config, DataConfig
from raymix.data.source import DataSpec
from raymix.report.contents import ComponentPortrait, Grid, Neighbours, Portrait
from raymix.runs.rounds import RoundRecord, TermValues

NUM_ROWS = 1000


@pytest.fixture
def make_lines():
    """A record of K components: its flow agrees with the rows won. `dropped` are gone after half of the rounds."""

    def make(K, rounds=6, classes=0, dropped=(), judged=True, seed=0):
        rng = np.random.default_rng(seed)
        lines, owner_N = [], np.zeros(NUM_ROWS, int)
        for t in range(rounds + 1):
            ids = [k for k in range(K) if k not in dropped or t <= rounds // 2]
            before_N, moving_N = owner_N.copy(), rng.random(NUM_ROWS) < (1.0 if t == 0 else 0.3 / t)
            before_N = np.where(np.isin(before_N, ids), before_N, ids[0])  # what dropping did is in no line
            owner_N = np.where(moving_N, rng.choice(ids, NUM_ROWS), before_N)
            won = [int((owner_N == k).sum()) for k in ids]
            pairs, counts = np.unique(np.stack([before_N, owner_N]), axis=1, return_counts=True)
            flow = [(int(j), int(k), int(n)) for (j, k), n in zip(pairs.T, counts, strict=True) if j != k and t]
            losses = tuple(None if t == 2 and k == 0 else 10 / (t + 1) + k for k in ids)
            table = [tuple(rng.multinomial(rows, np.full(classes, 1 / classes)).tolist()) for rows in won if classes]
            lines.append(
                RoundRecord(
                    round=t,
                    components=tuple(ids),
                    won_K=tuple(won),
                    loads_K=tuple(max(rows, 5) for rows in won),
                    rows_moved=NUM_ROWS if t == 0 else sum(rows for _, _, rows in flow),
                    generator_steps_K=(10,) * len(ids),
                    terms={"bound": TermValues("nats per row", losses)},
                    discriminator_steps_K=(10 * judged,) * len(ids),
                    discriminator_loss_K=(0.5 - 0.01 * t if judged else None,) * len(ids),
                    seconds={"pre-train" if t == 0 else "train generators": 2.0, "score": 0.5, "commit": 0.1},
                    flow_F3=tuple(sorted(flow, key=lambda cell: -cell[2])),
                    contingency_KC=tuple(table) or None,
                )
            )
        return lines

    return make


@pytest.fixture
def make_portrait():
    """Random rows of a shape, for some components; `empty` own nothing."""

    def make(row_shape, components, empty=(), num=12, judged=True, seed=0):
        rng = np.random.default_rng(seed)
        image = len(row_shape) == 3
        grid = Grid(np.linspace(-3, 3, 20), np.linspace(-2, 2, 20)) if row_shape == (2,) and judged else None

        def rows(n):
            drawn = rng.random((n, *row_shape)) if image else rng.normal(size=(n, *row_shape))
            return drawn.astype(np.float32)

        def component(k):
            owned = np.round(255 * rows(num)).astype(np.uint8) if image else rows(num)
            owned = owned[:0] if k in empty else owned
            pairs = min(5, num)
            near = Neighbours(
                rows=rows(pairs),
                numbers=rng.integers(0, NUM_ROWS, pairs),
                owners=rng.choice(components, pairs),
                distances=rng.uniform(1, 2, num),
                real_distances=rng.uniform(1, 2, len(owned)),
            )
            samples = 255 * rows(num) if image else rows(num)
            walks = 255 * rows(18).reshape(2, 9, *row_shape) if image else None
            middle = rng.normal(size=2)
            field = None
            if grid:
                field = 3 - np.add.outer((grid.ys - middle[1]) ** 2, (grid.xs - middle[0]) ** 2).astype(np.float32)
            return ComponentPortrait(k, samples, owned, near, walks, field)

        parts = tuple(component(k) for k in components)
        return Portrait(parts, num_rows=NUM_ROWS, num_read=NUM_ROWS, num_searched=NUM_ROWS, grid=grid)

    return make


@pytest.fixture
def make_settings():
    """A config of K components and what is known of its data."""

    def make(row_shape, K, rounds=6, classes=(), mode="compete"):
        config = Config(num_components=K, mode=mode, data=DataConfig(name="file", path="rows.npy"))
        config = config.model_copy(update={"schedule": config.schedule.model_copy(update={"rounds": rounds})})
        return config, DataSpec("rows", NUM_ROWS, row_shape, "float32", tuple(classes))

    return make
