"""Figures as SVG text that stands inside the page and takes its colours, so that they follow light and dark."""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

INK, LINE, SHEET = "#010203", "#040506", "#070809"  # stand for the page's own colours until the text is written
LARGEST = 1.25  # a wider page magnifies a figure as much
THEMED = {INK: "currentColor", LINE: "var(--line)", SHEET: "var(--sheet)"}
PIXELS_PER_INCH = 72  # of the SVG: a length of one is a pixel of the page
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.dpi": PIXELS_PER_INCH,
    "savefig.dpi": 110,  # of points and fields, which are embedded as PNG
    "text.parse_math": False,
}


def drawn(name: str, about: str, width: int, height: int, draw: Callable[[Figure], None]) -> Markup:
    """What `draw` puts on a figure of so many pixels, as an SVG element; it fits the page's width.

    `name` is unique on the page; `about` says what is seen, for readers who cannot.
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for stand_in, colour in THEMED.items():
        text = text.replace(stand_in, colour)
    text = text.replace("image-rendering:crisp-edges;image-rendering:pixelated", "")  # fields are smooth
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r' id="(figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)_\d+"', "", text)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    size = f'style="max-width:{LARGEST * width:.0f}px" {box[0]}'
    opening = f'<svg class="figure" role="img" aria-label="{escape(about)}" {size}>'
    return Markup(opening + text[text.index(">") + 1 :])
