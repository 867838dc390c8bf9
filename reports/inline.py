"""Inline: a figure's SVG made part of a page, with the page's colours, ids of its own, and words for who cannot see it."""

from __future__ import annotations

import re
from html import escape

from reports.figures.drawing import ACCENT, INK, MUTED, OTHER, PAPER

COLOURS = {INK: "--ink", ACCENT: "--warm", OTHER: "--cool", MUTED: "--muted", PAPER: "--paper", "#000000": "--ink"}
"""The page's variable for each colour of a figure."""


def inline(svg: str, key: str, title: str, told: str) -> str:
    """Return an SVG document as an element of a page; `key` makes its ids unique there. Names in it are markup-free already."""
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, body = body.split(">", 1)
    wide, high = (float(size) for size in re.search(r'viewBox="0 0 (\S+) (\S+)"', head).groups())  # type: ignore[union-attr]
    # only attributes are rewritten: a name that looks like one of them stands in text, where < and > are escaped
    body = re.sub(r"<[^<>]+>", lambda tag: themed(tag[0], key), body)
    words = f'<title id="{key}-title">{escape(title)}</title><desc id="{key}-desc">{escape(told)}</desc>'
    return (
        f'<svg viewBox="0 0 {wide:g} {high:g}" role="img" aria-labelledby="{key}-title {key}-desc" '
        f'style="--wide: {wide * 4 / 3:.0f}px">{words}{body}'
    )


def themed(tag: str, key: str) -> str:
    """Return a tag with variables in the place of colours and with ids and references under `key`."""
    if tag.startswith("<!--"):
        return ""
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda colour: f"var({COLOURS[colour[0]]})" if colour[0] in COLOURS else colour[0], tag)
    tag = re.sub(r'(\bid=")', rf"\1{key}-", tag)
    tag = re.sub(r'(href="#|url\(#)', rf"\1{key}-", tag)
    return tag.replace("xlink:href", "href")
