"""All components of a mixture in one process: for in-process training and for using a trained mixture."""

from collections.abc import Mapping, Sequence

from raymix.config import Config
from raymix.data.source import DataSpec
from raymix.runs import checkpoint
from raymix.runs.checkpoint import Generation, generator_name
from raymix.storage import Storage
from raymix.training.discriminators import DiscriminatorPack
from raymix.training.generators import GeneratorPack
from raymix.training.paging import Blocks
from raymix.training.setting import Setting, sees_gpu
from raymix.training.stacks import Tensors


class Packs:
    """Every generator, and every discriminator where there are any."""

    def __init__(self, config: Config, spec: DataSpec, components: Sequence[int]) -> None:
        setting = setting_here(config, spec)
        self.generators = GeneratorPack(setting, components)
        has_discriminators = config.competes and not config.own_density
        self.discriminators = DiscriminatorPack(setting, components) if has_discriminators else None

    @property
    def components(self) -> tuple[int, ...]:
        """Ids of all that there are."""
        return self.generators.components

    @property
    def scorer(self) -> GeneratorPack | DiscriminatorPack | None:
        """Whoever scores rows: the discriminators, generators with a density of their own, or nobody."""
        config = self.generators.setting.config
        return self.generators if config.competes and config.own_density else self.discriminators

    def initialise(self, blocks: Blocks) -> None:
        """Fresh components."""
        self.generators.initialise(blocks)
        if self.discriminators:
            self.discriminators.initialise()

    def copied(self, sources: Mapping[int, int]) -> "Packs":
        """Other components, each with the tensors of one of these: {component: of whom}."""
        setting = self.generators.setting
        others = Packs(setting.config, setting.spec, tuple(sources))
        for k, source in sources.items():
            others.generators.load(k, self.generators.state(source))
        if self.discriminators and others.discriminators:
            others.discriminators.load(self.discriminators.copies(sources))
        return others

    def load(self, storage: Storage, generation: Generation) -> None:
        """The tensors of a generation of these components. Raises `CheckpointError`."""
        _load(self.generators, storage, generation)
        if self.discriminators:
            names = self.discriminators.names
            self.discriminators.load({name: _read(storage, generation, name) for name in names})


def load_generators(config: Config, spec: DataSpec, storage: Storage, generation: Generation) -> GeneratorPack:
    """The generators of a generation alone. Raises `CheckpointError`."""
    generators = GeneratorPack(setting_here(config, spec), generation.components)
    _load(generators, storage, generation)
    return generators


def setting_here(config: Config, spec: DataSpec) -> Setting:
    """On a GPU where there is one and the run uses any."""
    return Setting.of(config, spec, sees_gpu(config))


def _load(generators: GeneratorPack, storage: Storage, generation: Generation) -> None:
    for k in generators.components:
        generators.load(k, _read(storage, generation, generator_name(k)))


def _read(storage: Storage, generation: Generation, name: str) -> Tensors:
    return checkpoint.read_tensors(storage, f"{generation.folder}/{name}", generation.files[name])
