"""Digests of every recipe, shortened: whether two checkouts give the same bits at a fixed seed on one machine.

    python -m launch.digests --data-dir DIR > after.txt

Each recipe keeps its networks, discriminators and options and trains for a few steps on a few rows; ways of training
that no recipe takes (adapting, overlapping, reseeding, several workers, k-means) follow. Everything goes through the
command line, so that the script runs in older checkouts too. CelebA is replaced by noise of its shape.
"""

import argparse
import io
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from raymix.cli import main

SHORT = ["--workers=local", "--rounds=2", "--schedule.report=false", "--data.block-bytes=40000"]
FEW = ["--data.num-rows=240", "--schedule.pretrain-epochs=1", "--schedule.pretrain-budget=shared"]
FEW += ["--schedule.epochs-per-round=1", "--schedule.batch-size=16", "--discriminator.epochs=0.5"]
PLANE = ["--data.num-rows=1500", "--schedule.pretrain-epochs=2", "--schedule.epochs-per-round=2"]
FUSED, ALONE = ["--resources.fused=true"], ["--resources.fused=false"]

REAL = ("mnist-small", "mnist", "mnist-paper", "cifar10", "gan-mnist-small", "gan-cifar10")
"""Recipes whose data sets are files."""


def cases(data_dir: Path, faces: Path) -> dict[str, list[str]]:
    """What is typed after `raymix train`, by name."""
    plane = ("synthetic-3", "synthetic-5", "synthetic-9", "gan-ring", "gan-grid")
    found = {name: [name, *PLANE, *FUSED] for name in plane}
    found["digits"] = ["digits", *FEW, *FUSED]
    sets = {name: data_dir / ("cifar10" if "cifar" in name else "mnist") for name in REAL}
    found |= {name: [name, *FEW, *FUSED, f"--data-dir={folder}"] for name, folder in sets.items()}
    found |= {name: [name, "--data", str(faces), *FEW, *ALONE] for name in ("celeba", "gan-celeba")}
    small = ["synthetic-5", *PLANE]
    kmeans = ["--model.family=centroid", "--discriminator.body=none", "--assign.normalise=false"]
    kmeans += ["--balance.min-share=0", "--schedule.pretrain-epochs=0"]
    found |= {
        "alone": [*small, *ALONE],
        "k-means": ["synthetic-5", "--data.num-rows=1500", *kmeans],
        "adapt": [*small, *FUSED, "--schedule.adapt=true", "--rounds=8", "--num-components=8"],
        "overlap": [*small, *FUSED, "--schedule.overlap=true", "--schedule.synchronous-rounds=1"],
        "reseed": [*small, *FUSED, "--num-components=12", "--balance.patience=1", "--rounds=4"],
        "team": [*small, "--resources.workers-per-component=2", "--resources.pack=1"],
        "team of a dcgan": ["digits", *FEW, "--model.family=dcgan", "--resources.workers-per-component=2"],
    }
    cells = [*small, *FUSED, "--schedule.begin=centroids", "--rounds=4"]
    found |= {
        "cells": [*cells, "--assign.margin=0.1", "--schedule.settle=2"],
        "copies on cells": [*cells, "--schedule.pretrain-on=one"],
        "bounds": [*cells, "--discriminator.body=none", "--assign.normalise=false"],
    }
    for mode in ("bag", "single", "random", "oracle", "centroids"):
        found[mode] = [*small, *FUSED, f"--mode={mode}"]
    return found


def digest(options: list[str], out: str) -> str:
    """The digest of a run with these options, or what the command line said instead."""
    said, told = io.StringIO(), io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(told):
        code = main(["train", *_in_order(options), "--out", out])
    if code:
        return f"exit code {code}: {told.getvalue().strip().splitlines()[-1]}"
    with redirect_stdout(said):
        main(["digest", out])
    return said.getvalue().split()[0]


def _in_order(options: list[str]) -> list[str]:
    """The recipe, what all cases have, what the case has: of an option given twice the last one counts."""
    last: dict[str, list[str]] = {}
    words = iter([*SHORT, *options[1:]])
    for word in words:
        last[word.split("=")[0]] = [word] if "=" in word else [word, next(words)]
    return [options[0], *(word for pair in last.values() for word in pair)]


def print_digests() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True, help="a folder that holds mnist/ and cifar10/")
    parser.add_argument("cases", nargs="*", help="some of them only")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder, "faces.npy")
        np.save(faces, np.random.default_rng(0).integers(0, 256, (240, 64, 64, 3)).astype(np.uint8))
        for name, options in cases(asked.data_dir.resolve(), faces).items():
            if not asked.cases or name in asked.cases:
                print(f"{digest(options, str(Path(folder, name)))}  {name}", flush=True)


if __name__ == "__main__":
    print_digests()
