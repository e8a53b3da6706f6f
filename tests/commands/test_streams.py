"""What the command line does where its output has a poor encoding, or nowhere to go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RAYMIX = [sys.executable, "-m", "raymix.cli"]
ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
QUICK = [
    "train",
    "synthetic-3",
    "--workers",
    "local",
    "--rounds",
    "0",
    "--data.num-rows",
    "60",
    "--schedule.report",
    "false",
]


# Runs commands one after another and prints their exit codes.
SEVERAL = """
import json, sys
from raymix.cli import main
print([main(argv) for argv in json.loads(sys.argv[1])])
"""


@pytest.mark.parametrize(
    ("poor", "run", "code"),
    [
        pytest.param(ASCII, "läufe", 0, id="ascii"),
        pytest.param(
            C_LOCALE, os.fsencode("läufe").decode("ascii", "surrogateescape"), 2, id="C", marks=pytest.mark.slow
        ),
    ],
)
def test_what_cannot_be_shown_is_replaced(poor: dict[str, str], run: str, code: int, tmp_path: Path) -> None:
    """`run` is the folder as Python reads its name; where that has no letters, it is refused as a data set's."""
    np.save(tmp_path / "läufe.npy", np.zeros((4, 2)))
    commands = [
        ["train", "--help"],
        ["recipes"],
        [*QUICK, "--out", run],
        ["status", run],
        ["data", "inspect", f"{run}.npy"],
    ]
    command = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    done = subprocess.run(command, env=os.environ | poor, cwd=tmp_path, capture_output=True, timeout=120, check=True)
    shown, said = done.stdout.decode("ascii"), done.stderr.decode("ascii")
    assert shown.splitlines()[-1] == str([0, 0, 0, 0, code])
    assert "run: l?" in shown and "round 0/0: " in said
    assert "Traceback" not in said and said.count("raymix: error: ") == bool(code)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", line.replace("RAYMIX", '"$0" -m raymix.cli'), sys.executable]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("RAYMIX recipes >&-", 0, ""),
        ("RAYMIX recipes 2>&-", 0, ""),
        ("RAYMIX nothing >&- 2>&-", 2, ""),
        ("RAYMIX recipes > /dev/full", 2, "raymix: error: stdout: cannot be written (No space left on device)"),
        ("RAYMIX train --help > /dev/full", 2, "raymix: error: stdout: cannot be written (No space left on device)"),
    ],
)
def test_output_that_goes_nowhere_is_no_fault(line: str, code: int, said: str) -> None:
    done = shell(line)
    assert done.returncode == code
    assert done.stderr.startswith(said) and done.stderr.count("\n") == bool(said)


@pytest.mark.parametrize("argv", [["recipes"], ["train", "--help"]])
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(argv: list[str]) -> None:
    process = subprocess.Popen([*RAYMIX, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(), said) == (141, b"")
    process.stderr.close()
