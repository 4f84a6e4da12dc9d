"""Draw the rooms of the package, as the import-linter layers have them: ``python docs/draw_rooms.py``."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "_static" / "rooms.svg"
WIDTH, HEIGHT, GAP, MARGIN = 860, 72, 12, 16
DRIVERS = 170
COLOURS = ("#dbe9f6", "#d5ecd4", "#fdeccb", "#f6dcdc", "#e6dff1")
RULE = "A room imports rooms below it, and none above or beside it."
STYLE = (
    "text{font-family:'DejaVu Sans',Verdana,Arial,sans-serif;fill:#1c1c1c} .room{font-size:15px;font-weight:bold} "
    ".what{font-size:11.5px} .note{font-size:12px;fill:#444}"
)


def layers() -> list[list[str]]:
    """The rooms, from the top: those of one layer do not import each other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [rooms] = [one["layers"] for one in contracts if one.get("containers") == ["intake_bluesky"]]
    named = [[re.sub(r"[()]", "", name.strip()) for name in layer.split("|")] for layer in rooms]
    there = [[name for name in layer if _source(name).exists()] for layer in named]
    return [layer for layer in there if layer]


def _source(room: str) -> Path:
    package = ROOT / "intake_bluesky" / room
    return package / "__init__.py" if package.is_dir() else package.with_suffix(".py")


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse(_source(room).read_text(encoding="utf-8"))) or ""
    return re.split(r"(?<=[.])\s|\n\n", text.strip())[0].replace("\n", " ").rstrip(".")


def drawn() -> str:
    """The picture as SVG."""
    rows = layers()
    height = 2 * MARGIN + len(rows) * (HEIGHT + GAP) + 26
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'aria-label="The rooms of intake_bluesky, from the edges at the top to the errors at the bottom">'
        ),
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text class="note" x="{MARGIN}" y="{MARGIN + 10}">{RULE}</text>',
    ]
    top = MARGIN + 24
    for number, row in enumerate(rows):
        y = top + number * (HEIGHT + GAP)
        inner = WIDTH - 2 * MARGIN - DRIVERS - GAP
        width = (inner - GAP * (len(row) - 1)) / len(row)
        for place, room in enumerate(row):
            parts += _room(room, MARGIN + place * (width + GAP), y, width, COLOURS[number % len(COLOURS)])
    parts += _drivers(rows, top)
    return "\n".join([*parts, "</svg>", ""])


def _room(room: str, x: float, y: float, width: float, colour: str) -> list[str]:
    lines = _wrapped(purpose(room), int(width / 6.8))
    return [
        f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="6" fill="{colour}" stroke="#888"/>',
        f'<text class="room" x="{x + 10:.0f}" y="{y + 20}">{escape(room)}</text>',
        *(
            f'<text class="what" x="{x + 10:.0f}" y="{y + 36 + 14 * n}">{escape(line)}</text>'
            for n, line in enumerate(lines[:3])
        ),
    ]


def _drivers(rows: list[list[str]], top: int) -> list[str]:
    """The drivers, beside the rooms that they use."""
    first = next(n for n, row in enumerate(rows) if "catalogs" in row)
    last = next(n for n, row in enumerate(rows) if "query" in row)
    x, y = WIDTH - MARGIN - DRIVERS, top + first * (HEIGHT + GAP)
    height = (last - first + 1) * (HEIGHT + GAP) - GAP
    names = sorted(path.name for path in (ROOT / "drivers").iterdir() if (path / "__init__.py").exists())
    lines = ["Drivers, each a package", "of its own, found by", "entry points:", "", *names, ""]
    lines += ["The core imports none,", "and none another."]
    return [
        (
            f'<rect x="{x}" y="{y}" width="{DRIVERS}" height="{height}" rx="6" fill="#f4f4f4" stroke="#888" '
            'stroke-dasharray="5 3"/>'
        ),
        *(
            f'<text class="what" x="{x + 10}" y="{y + 24 + 17 * n}">{escape(line)}</text>'
            for n, line in enumerate(lines)
        ),
    ]


def _wrapped(text: str, most: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > most:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
