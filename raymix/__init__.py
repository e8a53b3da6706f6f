"""raymix: mixtures of independent deep generative models, trained by competition, in parallel, on Ray."""

__version__ = "0.1.0"
