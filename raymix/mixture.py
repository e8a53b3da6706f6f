"""The public object: a mixture that fits, predicts, samples and scores as scikit-learn's do.

Shapes: n rows, (n, *row_shape) in data units.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin

from raymix import session
from raymix.config import Config
from raymix.config_values import dump_config, parse_config, replaced
from raymix.data.frames import as_labels, as_rows
from raymix.data.layout import array_layout
from raymix.data.open import local_places
from raymix.errors import CheckpointError, ConfigError, DataError, RaymixError
from raymix.evaluation.evaluate import evaluate
from raymix.evaluation.samples import sample_mixture
from raymix.evaluation.subject import Subject
from raymix.maths.assignment import winners
from raymix.maths.centroids import Place, Scaling
from raymix.models.registry import close
from raymix.recipes.catalogue import recipe, with_data
from raymix.recipes.resolve import resolve
from raymix.runs import checkpoint
from raymix.runs.checkpoint import FITTED, FORMAT, READABLE, RunDirectory
from raymix.runs.portable import TemporaryFolder, contents, unpacked
from raymix.storage import Storage
from raymix.training.hermetic import hermetic
from raymix.training.packs import Packs

FROM_RUN = ("_generation", "_place", "_loaded")
"""What comes from the run directory, beside all that ends in an underscore."""


class Mixture(ClusterMixin, BaseEstimator):
    """A mixture of K generators that compete for rows.

    `recipe_or_config`: a recipe's name or a `Config`; the arguments after it replace its fields of the same name.
    `workers`: "local" trains in this process, "ray" on the connected Ray or a local one. `out`: the run directory (a
    temporary one when not given). `overrides` maps dotted field names to values: {"schedule.rounds": 4}.

    After `fit`: `weights_` (K,) mixing weights, `labels_` (N,) the component of each training row, `config_` the
    resolved config, `directory_` the run directory; `feature_names_in_` (D,) of rows whose columns have names. Pickles
    and copies carry the tensors and need no directory.
    """

    _loaded: Packs | None

    def __init__(
        self,
        recipe_or_config: str | Config = "digits",
        *,
        num_components: int | None = None,
        mode: str | None = None,
        seed: int | None = None,
        workers: Literal["local", "ray"] = "local",
        out: str | os.PathLike[str] | None = None,
        overrides: dict[str, Any] | None = None,
    ) -> None:
        self.recipe_or_config = recipe_or_config
        self.num_components = num_components
        self.mode = mode
        self.seed = seed
        self.workers = workers
        self.out = out
        self.overrides = overrides

    # ---- training

    @hermetic()
    def fit(self, X: ArrayLike | None = None, y: ArrayLike | None = None) -> Self:
        """Train on rows X (n, D), (n, H, W) or (n, C, H, W); None trains on the recipe's own data.

        X may be an array, a tensor, or a frame of pandas, polars or pyarrow: its columns are then known by name. `y`
        (n,) are labels, numbers or text, for evaluation and the `oracle` control; training never sees them. The rows
        are written to the run directory first and read as any file. Raises `DataError`, `ConfigError`,
        `CheckpointError`.
        """
        config = self._config()
        if self.workers not in ("local", "ray"):
            raise ConfigError(f"is {self.workers!r}", "workers", "choose local or ray")
        place = TemporaryFolder() if self.out is None else self.out
        out = Storage.at(place)
        if RunDirectory(out).holds_run:
            raise CheckpointError("already holds a run", out.uri, "give another `out`, or Mixture.load it")
        if X is not None:
            config = self._with_arrays(config, X, y, out)
        try:
            config, spec = resolve(config)
        except RaymixError:
            if X is not None:
                shutil.rmtree(Path(out.uri) / FITTED)  # unfit rows leave nothing behind
            raise
        session.start(config, spec, out.uri, workers=self.workers)
        return self._read(place)

    def _config(self) -> Config:
        base = self.recipe_or_config
        config = recipe(base) if isinstance(base, str) else base
        named = {"num_components": self.num_components, "mode": self.mode, "seed": self.seed}
        return replaced(config, {k: v for k, v in named.items() if v is not None} | (self.overrides or {}))

    @staticmethod
    def _with_arrays(config: Config, X: ArrayLike, y: ArrayLike | None, out: Storage) -> Config:
        if not out.is_local:
            raise ConfigError("arrays can be fitted into a local directory only", "out", "write them to a file first")
        rows, columns = as_rows(X, "the rows", config.data.columns or ())
        array_layout(rows.shape, rows.dtype, "the rows")
        arrays = {"rows": rows} | ({} if y is None else {"labels": as_labels(y, "the labels")})
        folder = Path(out.uri) / FITTED
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise CheckpointError("is there already", str(folder), "give another `out`") from None
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        path, label_path = str(folder / "rows.npy"), None if y is None else str(folder / "labels.npy")
        return with_data(config, path, label_path, columns=columns or config.data.columns)

    # ---- using

    def predict(self, X: ArrayLike, features: ArrayLike | None = None) -> NDArray[np.int64]:
        """(n,) the component that wins each row; `features` as of `assign`."""
        return self.assign(X, features)[0]

    def score_samples(self, X: ArrayLike, features: ArrayLike | None = None) -> NDArray[np.float64]:
        """(n,) normalised log ratio of the winning component, in nats: log p_k(x) - log p_data(x) - log Z_k, with Z_k
        over the training set; where generators judge, the winner's log-density or its bound. It orders rows by how well
        the mixture explains them; it is no log-likelihood. `features` as of `assign`."""
        return self.assign(X, features)[1]

    @hermetic()
    def assign(self, X: ArrayLike, features: ArrayLike | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(n,) winners and (n,) their normalised log ratios. In the control `centroids` each row goes to the nearest
        centre, with minus half the squared distance in the log ratio's place; where centres are those of features,
        those of the rows, (n, P), are asked for. Raises `DataError` for rows of another shape, and `ConfigError` for a
        mixture that was trained without discriminators."""
        self._fitted()
        if self.config_.mode == "centroids":
            return self._nearest(X, features)
        if features is not None:
            what = f"{self.config_.mode} assigns rows by what they are"
            raise ConfigError(what, "features", "leave them out; the control `centroids` asks for them")
        scorer = self._packs().scorer
        if scorer is None:
            raise ConfigError(f"{self.config_.mode} trains no discriminators", "mode", "assign with a `compete` run")
        log_ratios = scorer.score(self.state_.round, self._rows(X), self.state_.components)
        log_ratio_Kn = [log_ratios[k][0] for k in self.state_.components]
        positions, best = winners(log_ratio_Kn, self.state_.log_z_K)
        return np.array(self.state_.components, np.int64)[positions], best

    def _nearest(self, X: ArrayLike, features: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The cells of rows, by their features where these made the cells."""
        rows, by_features = self._rows(X), self.config_.schedule.begin == "features"
        if by_features != (features is not None):
            what = "are missing: the cells are those of features" if by_features else "are given, and the cells are not"
            raise ConfigError(what, "features", "give those of the rows" if by_features else "leave them out")
        centroids = checkpoint.read_centroids(Storage.at(self.directory_), self._generation)
        assert centroids
        centroids = centroids.only(self.state_.components)
        if features is not None:
            shape = len(rows), centroids.centres_KP.shape[1]
            rows, _ = as_rows(features, "the features")
            if rows.shape != shape:
                raise DataError(f"have shape {rows.shape}, not {shape}", "the features", "give those of each row")
            require_finite(rows, "the features")
        positions, log_density = Place(centroids, Scaling.of(self.config_)).of(rows)
        return np.array(centroids.components, np.int64)[positions], log_density

    def _rows(self, X: ArrayLike) -> NDArray[Any]:
        """Rows as the readers lay them out, columns matched by name, in the shape the data set has, checked."""
        rows, _ = as_rows(X, "the rows", self.spec_.columns)
        shape = self.spec_.row_shape
        layout = array_layout(rows.shape, rows.dtype, "the rows")
        if layout.row_shape not in (shape, (self.n_features_in_,)):
            raise DataError(
                f"have shape {layout.row_shape}, the mixture was trained on {shape}", "the rows", "match it"
            )
        rows = layout.arrange(rows).reshape(len(rows), *shape)
        require_finite(rows, "the rows")
        return rows

    @hermetic()
    def sample(self, n: int = 1, *, seed: int = 0, component: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
        """(n, *row_shape) rows in data units and (n,) the component each came from; of one component if given."""
        generators = self._packs().generators
        if n < 1:
            raise ConfigError(f"is {n}", "n", "sample one row at least")
        if component is None:
            return sample_mixture(generators, self.state_, n, seed)
        if component not in self.state_.components:
            raise ConfigError(f"there is no component {component}", "component", f"one of {self.state_.components}")
        rows = generators.sample_in_data_units(component, n, seed)
        return rows, np.full(n, component, np.int64)

    @hermetic()
    def evaluate(self, **settings: Any) -> dict[str, Any]:
        """What `raymix.evaluation.evaluate` measures; `settings` replace fields of the config's `evaluation`, such as
        `num_samples` and `seed`. Raises `ConfigError`, `DataError`."""
        generators, storage = self._packs().generators, Storage.at(self.directory_)
        self._require_training_rows()
        config = replaced(self.config_, {f"evaluation.{name}": value for name, value in settings.items()})
        return evaluate(Subject(generators, storage, self._generation, config.evaluation))

    def _require_training_rows(self) -> None:
        """Raises `DataError` when files that were fitted are gone, as those in a temporary run directory may be."""
        data = self.config_.data.model_copy(update={"features": None})
        for place in local_places(data) if data.name == "file" else ():
            if not os.path.exists(place):
                todo = "give `out` a folder that stays, or train on a file"
                raise DataError("the training rows are gone, and measures need them", place, todo)

    # ---- keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copy the run directory. Raises `CheckpointError` when something is there."""
        self._fitted()
        if Path(path).exists() and any(Path(path).iterdir()):
            raise CheckpointError("is not empty", str(path), "name a new folder")
        shutil.copytree(self.directory_, path, dirs_exist_ok=True)

    @classmethod
    @hermetic()
    def load(cls, path: str | os.PathLike[str]) -> "Mixture":
        """The mixture of a run directory at its last complete round. Raises `CheckpointError`."""
        return cls(out=path)._read(path)

    def __getstate__(self) -> dict[str, Any]:
        """Arguments and, once fitted, what the run's files hold: no object of raymix or torch is pickled or copied."""
        own = {name: value for name, value in vars(self).items() if not name.endswith("_") and name not in FROM_RUN}
        if isinstance(self.recipe_or_config, Config):
            own["recipe_or_config"] = dump_config(self.recipe_or_config).encode()
        directory = RunDirectory(Storage.at(self.directory_)) if hasattr(self, "state_") else None
        return own | {"format": FORMAT, "files": contents(directory, self._generation) if directory else None}

    @hermetic()
    def __setstate__(self, state: dict[str, Any]) -> None:
        """As it was, with a temporary folder of its own. Raises `CheckpointError` for what another raymix pickled."""
        own = dict(state)
        given, files = own.pop("format", None), own.pop("files", None)
        if given not in READABLE:
            what = f"was pickled by another raymix (format {given}, not {' or '.join(map(str, READABLE))})"
            raise CheckpointError(what, "Mixture", "fit it again, or carry it over with save and Mixture.load")
        self.__dict__.update(own)
        if isinstance(self.recipe_or_config, bytes):
            self.recipe_or_config = close(parse_config(self.recipe_or_config, "a pickled Mixture"))
        if files:
            self._read(unpacked(files))

    def _read(self, place: str | os.PathLike[str]) -> Self:
        """What the run directory there holds; a temporary one goes with this object."""
        storage = Storage.at(place)
        directory = RunDirectory(storage)
        config, spec = directory.load()
        generation = directory.require_last()
        self.config_, self.spec_, self.directory_ = close(config), spec, storage.uri
        self._generation, self.generation_, self.state_ = generation, generation.name, generation.state
        self.weights_ = np.array(self.state_.weights_K)
        self.n_features_in_ = int(np.prod(spec.row_shape))
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        if len(spec.columns) == self.n_features_in_:
            self.feature_names_in_ = np.array(spec.columns, dtype=object)
        names = sorted(name for name in generation.files if name.startswith("labels-"))
        parts = [checkpoint.read_assigned(storage, f"{generation.folder}/{name}").winners for name in names]
        self.labels_ = np.concatenate(parts).astype(np.int64)
        self.record_ = generation.record
        self._place, self._loaded = place, None
        return self

    def _fitted(self) -> None:
        if not hasattr(self, "state_"):
            raise ConfigError("is not fitted", "Mixture", "call fit or Mixture.load first")

    def _packs(self) -> Packs:
        """The networks, read when they are first needed."""
        self._fitted()
        if self._loaded is None:
            packs = Packs(self.config_, self.spec_, self._generation.components)
            packs.load(Storage.at(self.directory_), self._generation)
            self._loaded = packs
        self._loaded.generators.setting.prepare()
        return self._loaded


def require_finite(rows: NDArray[Any], what: str) -> None:
    """Raises `DataError` for the first of some rows that holds nan or infinity."""
    finite = np.isfinite(rows).reshape(len(rows), -1).all(1)
    if not finite.all():
        where = f"row {int(np.argmin(finite))} of {what}"
        raise DataError("holds a value that is not finite", where, "mend or drop it")
