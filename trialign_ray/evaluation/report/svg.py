"""Matplotlib figures as inline SVG that follows the page: its width, its typeface, and its light or dark colours.

A plot is drawn in stand-in colours, which become CSS variables, so one drawing serves both colour schemes.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

INK, MUTED, LINE, SURFACE = "#010203", "#010204", "#010205", "#010206"
BASE, ACCENT, HEAT, SHADE = "#010207", "#010208", "#010209", "#01020a"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    SURFACE: "surface",
    BASE: "base",
    ACCENT: "accent",
    HEAT: "heat",
    SHADE: "shade",
}

_WIDTH = 370
"""Points; text of 11 points stays readable when a telephone shows the plot 330 pixels wide."""
_POINTS = 72
_LABEL = 24
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "trialign", "font.size": 11.0, "font.family": "sans-serif"}
_REFERENCE = re.compile(r'(\bid="|href="#|url\(#)')


def canvas(height: float, panels: int = 1) -> tuple[Canvas, list[Axes]]:
    """A drawing of the page's width and `height` points, with panels one above the other on one x axis."""
    with mpl.rc_context(_SETTINGS):
        drawing = Canvas(figsize=(_WIDTH / _POINTS, height / _POINTS), layout="constrained")
        FigureCanvasSVG(drawing)
        axes = drawing.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for ax in axes:
        _calm(ax)
    return drawing, list(axes)


def inline(drawing: Canvas, name: str, description: str) -> Markup:
    """The drawing as an SVG element. `name` keeps its ids apart from those of the page's other drawings."""
    file = io.StringIO()
    with mpl.rc_context(_SETTINGS):
        drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = _REFERENCE.sub(rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    view_box = f'viewBox="0 0 {drawing.get_figwidth() * _POINTS:g} {drawing.get_figheight() * _POINTS:g}"'
    return Markup(re.sub(r"<svg[^>]*>", f'<svg {_ROOT} {view_box} aria-label="{escape(description)}">', text, count=1))  # noqa: S704


_ROOT = 'class="plot" role="img" xmlns:xlink="http://www.w3.org/1999/xlink"'


def plain(text: str) -> str:
    """A label that matplotlib shows as it is, cut to the room of a plot: `$` would start a formula."""
    short = text if len(text) <= _LABEL else text[: _LABEL - 1] + "…"
    return short.replace("$", r"\$")


def _calm(ax: Axes) -> None:
    ax.set_facecolor("none")
    for side in ("top", "right", "left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0, colors=MUTED, labelcolor=MUTED)
    ax.set_axisbelow(True)
