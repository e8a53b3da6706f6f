"""Thousands of damaged files of every form: each gives a data set or a `DataError`, soon and within bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from good_files import good_files
from mutants import mutant
from read_mutants import BLOCK_BYTES

from raymix.data.limits import MAX_BYTES

PROGRAM = Path(__file__).with_name("read_mutants.py")
MOST_S = 2.0
BOUND_BYTES = 2 * BLOCK_BYTES + MAX_BYTES
"""What `raymix.data.limits` promises; twice that is allowed."""
NUM_MUTANTS = 20_000


def _check(folder: Path, first: int, count: int, *options: str) -> None:
    """In a process of its own, so that a crash is a failure too and memory is its own."""
    command = [sys.executable, *options, str(PROGRAM), str(first), str(count)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60 + count)
    last = (folder / "number").read_text() if (folder / "number").exists() else "none"
    assert done.returncode == 0, f"ended with {done.returncode} at mutant {last}: {done.stderr[-3000:]}"
    result = json.loads(done.stdout)
    print(f"{first} to {first + count}, python {' '.join(options)}: {result}")
    assert result["faults"] == []
    assert result["accepted"] + result["refused"] == count
    assert result["slowest"][0] < MOST_S
    assert result["peak"][0] < 2 * BOUND_BYTES


def test_a_mutant_depends_on_its_number_alone() -> None:
    first, second = mutant(123), mutant(124)
    good_files.cache_clear()
    assert (mutant(124), mutant(123)) == (second, first)


def test_every_form_is_damaged_in_the_quick_slice(tmp_path: Path) -> None:
    _check(tmp_path, 0, 10 * len(good_files()))


@pytest.mark.faults
@pytest.mark.parametrize("options", [(), ("-O",)], ids=["python", "python -O"])
def test_damage_gives_a_data_set_or_a_data_error(tmp_path: Path, options: tuple[str, ...]) -> None:
    _check(tmp_path, 0, NUM_MUTANTS, *options)
