"""Reads damaged files one after the other and says what came of them. A program; `test_bad_data.py` starts it.

`python tests/faults/read_mutants.py FIRST COUNT` tells more when COUNT is 1; under `python -O` too.
"""

import faulthandler
import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from good_files import CANARY, good_files
from mutants import mutant

from raymix.config import DataConfig
from raymix.data.open import open_source
from raymix.data.scan import scan
from raymix.data.source import Source, block_bounds
from raymix.errors import DataError

BLOCK_BYTES = 2**20
HANGS_AFTER_S = 60


def _config(folder: Path, name: str) -> DataConfig:
    """How a user would have the file of that name read; it lies there alone, but for the rows that labels belong to."""
    path = folder / name
    if name.startswith("labels."):
        np.save(folder / "rows.npy", np.ones((20, 2), np.float32))
        return DataConfig(name="file", path=str(folder / "rows.npy"), labels=str(path))
    if name.endswith(".bin"):
        return DataConfig(name="cifar10", dir=str(folder))
    whole = path.suffix in (".npy", ".npz", ".idx", ".gz", ".parquet", ".zip")
    return DataConfig(name="file", path=str(path if whole else folder))


def _digest(source: Source) -> str:
    """A digest of all rows and labels, which must be what the source says of them."""
    spec, digest = source.spec, hashlib.sha256()
    for start, stop in block_bounds(spec, BLOCK_BYTES):
        rows, labels = source.read(start, stop)
        if rows.shape != (stop - start, *spec.row_shape) or rows.dtype != spec.dtype or not rows.flags.c_contiguous:
            raise RuntimeError(f"rows are {rows.shape} {rows.dtype}, {spec} says otherwise")
        digest.update(rows.tobytes())
        if labels is not None:
            if labels.shape != (stop - start,) or labels.min() < 0 or labels.max() >= len(spec.classes):
                raise RuntimeError(f"labels are {labels}, {spec} says otherwise")
            digest.update(labels.tobytes())
    return digest.hexdigest()


def outcome(config: DataConfig) -> str:
    """`""` for a sound data set, else the error's line. Raises whatever must not be raised."""
    try:
        scan(open_source(config), BLOCK_BYTES)
        first, second = _digest(open_source(config)), _digest(open_source(config))
    except DataError as error:
        line = str(error)
        named = any(Path(place).name in line for place in (config.path, config.dir, config.labels) if place)
        if not line.isprintable() or len(line) > 1000 or not named:
            raise RuntimeError(f"not one clear line: {line[:2000]!r}") from error
        return line
    if first != second:
        raise RuntimeError("two readings differ")
    return ""


def _resident_bytes(kind: str) -> int:
    """Memory of this process: now (`VmRSS`, which also begins the count of the peak anew) or at its peak (`VmHWM`)."""
    if kind == "VmRSS":
        Path("/proc/self/clear_refs").write_text("5")
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) * 1024


def run(first: int, count: int) -> dict[str, Any]:
    """Read mutants first <= n < first + count; what came of them, as the test asks for it."""
    warnings.simplefilter("ignore")  # decoders warn of damage
    refused: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    faults: list[str] = []
    slowest, peak = (0.0, -1), (0, -1)
    for name, content in good_files().items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(content)
            if bool(outcome(_config(Path(folder), name))) != ("trap" in name and name != "trap.parquet"):
                faults.append(f"the good {name}: {outcome(_config(Path(folder), name))}")
    for number in range(first, first + count):
        Path("number").write_text(str(number))
        name, content = mutant(number)
        with tempfile.TemporaryDirectory(dir=".") as folder:
            (Path(folder) / name).write_bytes(content)
            config = _config(Path(folder), name)
            faulthandler.dump_traceback_later(HANGS_AFTER_S, exit=True)
            before = _resident_bytes("VmRSS")
            start = time.process_time()
            try:
                line = outcome(config)
                (refused if line else accepted)[name] += 1
            except Exception as error:
                line = f"{type(error).__name__}: {error}"
                faults.append(f"{number} ({name}): {line[:2000]}")
            slowest = max(slowest, (time.process_time() - start, number))
            faulthandler.cancel_dump_traceback_later()
            if count == 1:
                print(name, config, line or "accepted", sep="\n", file=sys.stderr)
        peak = max(peak, (_resident_bytes("VmHWM") - before, number))
    if Path(CANARY).exists():
        faults.append("a pickle was loaded")
    return {
        "accepted": accepted.total(),
        "refused": refused.total(),
        "never refused": sorted(set(good_files()) - set(refused)),
        "never accepted": sorted(set(good_files()) - set(accepted)),
        "slowest": slowest,
        "peak": peak,
        "faults": faults,
    }


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
