"""Ways to make a step of every component: a plain loop, packs in this process, Ray actors with packs.

A way is a function that makes so many steps of K components. All ways draw batches of the same size from shards of the
same size.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from raymix.bench.plain import PlainLoop
from raymix.bench.plain_gan import PlainGANLoop
from raymix.config import Config, DataConfig, FamilyConfig, ScheduleConfig
from raymix.data.source import DataSpec
from raymix.families.dcgan import SNDCGANConfig
from raymix.families.vae import VAEConfig
from raymix.recipes.catalogue import recipe
from raymix.runtime.actors import GeneratorActor
from raymix.seeds import Phase
from raymix.state import Assigned
from raymix.training.batches import RowView
from raymix.training.generators import GeneratorPack
from raymix.training.setting import Setting

Way = Callable[[int], object]


class Shape(NamedTuple):
    """One kind of component and rows for it, random ones: only their shape counts here."""

    name: str
    config: Config
    spec: DataSpec
    rows: NDArray[np.generic]
    components: tuple[int, ...] = ()
    """The only numbers of components it is measured with; empty for all that are asked for."""

    @classmethod
    def of(
        cls,
        name: str,
        model: FamilyConfig,
        rows: NDArray[np.generic],
        batch_size: int,
        components: tuple[int, ...] = (),
    ) -> "Shape":
        spec = DataSpec("random", len(rows), rows.shape[1:], str(rows.dtype))
        scale = 1 / 255 if rows.dtype == np.uint8 else 1.0
        config = Config(
            num_components=32,
            data=DataConfig(offset=(0.0,), scale=(scale,)),
            model=model.resolved(spec),
            schedule=ScheduleConfig(batch_size=batch_size),
        )
        return cls(name, config, spec, rows, components)

    def packed(self, num: int, pack: int, fused: bool, **others: object) -> Config:
        """Its config for `num` components; `others` are further `resources`."""
        resources = self.config.resources.model_copy(update={"pack": pack, "fused": fused, **others})
        return self.config.model_copy(update={"num_components": num, "resources": resources})

    def winners(self, num: int) -> NDArray[np.integer]:
        """An assignment of the rows to `num` components in equal parts."""
        return (np.arange(len(self.rows)) * num // len(self.rows)).astype(np.int16)


def shapes() -> list[Shape]:
    """The paper's 2-D and MNIST models, a VAE of DCGAN's size for images of 64 pixels a side, and three of the paper's
    smallest SN-DCGANs for images of 32."""
    rng = np.random.default_rng(0)
    synthetic, mnist = recipe("synthetic-9"), recipe("mnist")
    assert isinstance(synthetic.model, VAEConfig) and isinstance(mnist.model, VAEConfig)
    large = VAEConfig(encoder=(64, 128, 256, 512), decoder=(512, 256, 128, 64), latent=128, learning_rate=2e-4)
    images = {
        side: rng.integers(0, 256, (num, *side), np.uint8)
        for num, side in ((6400, (1, 28, 28)), (640, (3, 64, 64)), (1280, (3, 32, 32)))
    }
    return [
        Shape.of("mlp", synthetic.model, rng.normal(size=(16_000, 2)).astype(np.float32), 32),
        Shape.of("conv", mnist.model, images[1, 28, 28], 64),
        Shape.of("dcgan64", large, images[3, 64, 64], 64),
        Shape.of("dcgan", SNDCGANConfig(filters=64), images[3, 32, 32], 64, components=(3,)),
    ]


def plain(shape: Shape, num: int, threads: int = 1, compiled: bool = False) -> Way:
    """A loop over ordinary modules, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = torch.from_numpy(shape.rows).to(device).float() * (1 / 255 if shape.spec.is_image else 1)
    model, batch_size = shape.config.model, shape.config.schedule.batch_size
    if isinstance(model, SNDCGANConfig):
        loop: PlainLoop | PlainGANLoop = PlainGANLoop(model, rows, num, batch_size)
    else:
        assert isinstance(model, VAEConfig)
        loop = PlainLoop(model, rows, num, batch_size, compiled)

    def steps(count: int) -> None:
        torch.set_num_threads(threads)
        loop.steps(count)
        torch.set_num_threads(1)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return steps


def local(shape: Shape, num: int, fused: bool, **others: object) -> Way:
    """One pack in this process; `others` are further `resources`."""
    components = tuple(range(num))
    use_gpu = torch.cuda.is_available()
    setting = Setting.of(shape.packed(num, num, fused, **others), shape.spec, use_gpu)
    pack = GeneratorPack(setting, components)
    winners = shape.winners(num)
    shards = {k: RowView([shape.rows], [np.flatnonzero(winners == k)]) for k in components}

    def steps(count: int) -> None:
        setting.prepare()  # another way may have told torch otherwise
        pack.train(Phase.TRAIN_GENERATOR, 1, shards, dict.fromkeys(components, count))

    return steps


class Actors:
    """Generator actors on the connected Ray, each with an equal part of the components of one shape."""

    def __init__(self, shape: Shape, num: int, num_actors: int, fused: bool) -> None:
        self.shape, self.round = shape, 0
        config = shape.packed(num, -(-num // num_actors), fused)
        gpus = torch.cuda.device_count() / num_actors
        actor = ray.remote(num_cpus=0, num_gpus=gpus, concurrency_groups={"watch": 1})(GeneratorActor)  # type: ignore[call-overload]
        self.members = config.packs(config.components)
        self.actors: list[Any] = [
            actor.remote(config.model_dump_json(), shape.spec, members) for members in self.members
        ]
        self.rows = ray.put(shape.rows)
        ray.get([each.pid.remote() for each in self.actors])

    def way(self, num: int) -> Way:
        """Train `num` of the components, spread over the actors."""
        chosen = spread(self.members, num)
        names = np.array([k for members in chosen for k in members], np.int16)
        nobody = np.empty(0, np.int32)
        assigned = ray.put(Assigned(names[self.shape.winners(num)], nobody, nobody.astype(np.int16)))

        def steps(count: int) -> None:
            self.round += 1
            calls = [
                actor.train.remote(self.round, dict.fromkeys(members, count), [self.rows], [assigned])
                for actor, members in zip(self.actors, chosen, strict=True)
                if members
            ]
            ray.get(calls)

        return steps

    def close(self) -> None:
        for actor in self.actors:
            with suppress(Exception):
                ray.kill(actor)


def spread(members: Sequence[tuple[int, ...]], num: int) -> list[tuple[int, ...]]:
    """`num` components, as equally from each actor as can be."""
    in_turn = sorted((place, k) for each in members for place, k in enumerate(each))
    chosen = {k for _, k in in_turn[:num]}
    return [tuple(k for k in each if k in chosen) for each in members]
