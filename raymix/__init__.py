"""raymix: mixtures of independent deep generative models, trained by competition, in parallel, on Ray."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raymix.config import Config as Config
    from raymix.mixture import Mixture as Mixture
    from raymix.search.api import tune as tune

__all__ = ["Config", "Mixture", "__version__", "tune"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`raymix.Mixture`, `raymix.tune`, `raymix.Config`, imported when they are first asked for: importing raymix loads
    no torch."""
    if name == "Mixture":
        from raymix.mixture import Mixture

        return Mixture
    if name == "tune":
        from raymix.search.api import tune

        return tune
    if name == "Config":
        from raymix.config import Config

        return Config
    raise AttributeError(f"module 'raymix' has no attribute {name!r}")
