"""`raymix recipes`."""

from dataclasses import dataclass

from raymix.commands.parsing import parse
from raymix.data.open import known_data_sets
from raymix.recipes.catalogue import RECIPES


@dataclass(frozen=True)
class Recipes:
    """List the recipes of `raymix train`, and the data sets that --data.name knows."""


def recipes(argv: list[str]) -> None:
    parse(Recipes, argv, "recipes")
    about = {name: (make.__doc__ or "").strip().splitlines()[0] for name, make in RECIPES.items()}
    for title, entries in (("recipes:", about), ("data sets:", known_data_sets())):
        print(title)
        for name, text in entries.items():
            print(f"  {name:14} {text}")
