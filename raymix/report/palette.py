"""A colour and a marker for each component.

Ten colours that stay apart under colour blindness (Petroff, 2021, arXiv:2107.02270), ten more hues that can be seen on
light and dark alike; each ten has a marker and a dash of its own.
"""

COLOURS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
    *("#2f9e57", "#e377c2", "#0f8f92", "#9bbb3c", "#6065d0", "#f08080", "#b98bf0", "#a38100", "#5fb0e8", "#8a5a3c"),
)
MARKERS = "o^sD"
DASHES = ("-", "--", "-.", ":")


def colour_of(k: int) -> str:
    """As #rrggbb."""
    return COLOURS[k % len(COLOURS)]


def marker_of(k: int) -> str:
    return MARKERS[k // 10 % len(MARKERS)]


def dash_of(k: int) -> str:
    return DASHES[k // 10 % len(DASHES)]
