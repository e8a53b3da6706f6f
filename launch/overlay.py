"""cluster.yaml for another place: `python -m launch.overlay launch/overlays/gcp.yaml > my-cluster.yaml`.

An overlay has keys of the top level, which take the place of those in cluster.yaml; one that is null is left out.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

BASE = Path(__file__).parents[1] / "cluster.yaml"


def overlaid(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The base with the overlay's keys. Raises `ValueError` for one that the base does not have."""
    unknown = [key for key in overlay if key not in base]
    if unknown:
        raise ValueError(f"{unknown[0]} is no key of cluster.yaml")
    return {key: value for key, value in {**base, **overlay}.items() if value is not None}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m launch.overlay launch/overlays/PLACE.yaml > my-cluster.yaml")
    try:
        overlay = yaml.safe_load(Path(sys.argv[1]).read_text())
        cluster = overlaid(yaml.safe_load(BASE.read_text()), overlay)
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"overlay: error: {sys.argv[1]}: {str(error).splitlines()[0]}")
    print(f"# cluster.yaml with {sys.argv[1]} over it")
    print(yaml.safe_dump(cluster, sort_keys=False, width=120), end="")


if __name__ == "__main__":
    main()
