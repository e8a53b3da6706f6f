"""The import rules: who may import whom, and what may be loaded by it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from raymix.models.registry import FAMILIES

ROOT = Path(__file__).parents[1] / "raymix"

# Lowest first; a module may import its own layer and those before it.
LAYERS = [
    {"errors", "seeds", "cache"},
    {"metrics"},
    {"config", "config_values"},
    {"state", "storage", "data", "budgets"},
    {"maths"},
    {"algorithm"},
    {"runs"},
    {"report"},
    {"families", "models", "features"},
    {"training"},
    {"evaluation"},
    {"recipes"},
    {"local"},
    {"runtime"},
    {"session"},
    {"search"},
    {"planning"},
    {"mixture"},
    {"bench"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# What each layer's modules must not load, not even through others.
WITHOUT_TORCH = [
    "maths",
    "metrics",
    "report",
    "data",
    "state",
    "config",
    "config_values",
    "families",
    "budgets",
    "algorithm",
    "runs",
    "cache",
]
WITHOUT_RAY = [*WITHOUT_TORCH, "models", "features", "training", "local", "planning"]


def rank(part: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def modules_of(part: str) -> list[str]:
    folder = ROOT / part
    files = sorted(folder.glob("*.py")) if folder.is_dir() else [ROOT / f"{part}.py"]
    names = (file.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", ".") for file in files)
    return [name.removesuffix(".__init__") for name in names]


def test_every_module_has_a_layer() -> None:
    found = {path.stem if path.is_file() else path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert found - {"__init__"} <= set().union(*LAYERS)


@pytest.mark.parametrize("file", sorted(ROOT.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_from_its_layer_and_below(file: Path) -> None:
    relative = file.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name == "raymix" and isinstance(node, ast.ImportFrom):
                targets = [alias.name for alias in node.names if alias.name != "__version__"]
            elif name and name.startswith("raymix."):
                targets = [name.split(".")[1]]
            else:
                targets = []
            for target in targets:
                assert rank(target) <= rank(part), f"{relative} imports raymix.{target}"


def test_families_do_not_import_each_other() -> None:
    families = {str(family.generator).split(":")[0] for family in FAMILIES.values()}
    for family in families:
        text = (ROOT.parent / f"{family.replace('.', '/')}.py").read_text()
        assert not any(other in text for other in families | {"raymix.models.registry"})


def imports_of(file: Path) -> set[str]:
    """Top-level names of everything a file imports, in functions too."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    parts = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in [*whole, *parts]}


def test_only_the_runtime_the_search_and_the_benchmark_import_ray() -> None:
    importers = {file.relative_to(ROOT).parts[0] for file in ROOT.rglob("*.py") if "ray" in imports_of(file)}
    assert importers == {"runtime", "search", "bench"}


HEAVY = ("torch", "ray")
# Prints what is loaded after each of the lists of modules that are imported one after another.
IMPORTER = f"""
import importlib, json, sys
for modules in json.loads(sys.argv[1]):
    for module in modules:
        importlib.import_module(module)
    print(*(heavy for heavy in {HEAVY!r} if heavy in sys.modules))
"""


def loaded_by(*lists: list[str]) -> list[set[str]]:
    """What is loaded in a fresh process after each of these lists of modules."""
    command = [sys.executable, "-c", IMPORTER, json.dumps(lists)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """What each layer was the first to load, of those that may not load Ray; those that may load torch come last."""
    parts = ["__init__", *WITHOUT_RAY]
    sofar = [set(), *loaded_by(["raymix"], *(modules_of(part) for part in WITHOUT_RAY))]
    return {part: sofar[i + 1] - sofar[i] for i, part in enumerate(parts)}


@pytest.mark.parametrize("part", WITHOUT_RAY)
def test_a_layer_loads_neither_ray_nor_torch_where_it_must_not(part: str, loaded: dict[str, set[str]]) -> None:
    assert "ray" not in loaded[part]
    assert "torch" not in loaded[part] or part not in WITHOUT_TORCH


def test_the_coordinator_loads_no_torch() -> None:
    [loaded] = loaded_by(["raymix.runtime.coordinator", "raymix.runtime.tasks", "raymix.runtime.actors"])
    assert "torch" not in loaded


def test_importing_raymix_loads_nothing_heavy(loaded: dict[str, set[str]]) -> None:
    assert not loaded["__init__"]
