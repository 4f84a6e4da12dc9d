"""The layout of the package: rooms of a size, names that occur once, and a page and a picture that are true."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
CORE = ROOT / "intake_bluesky"
PACKAGES = [CORE, *sorted(path.parent for path in (ROOT / "drivers").glob("*/__init__.py"))]
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"


def modules() -> Iterator[Path]:
    return (path for package in PACKAGES for path in package.rglob("*.py"))


def folders() -> Iterator[Path]:
    return (path.parent for package in PACKAGES for path in package.rglob("__init__.py"))


def test_the_top_of_the_package_is_seen_at_a_glance() -> None:
    assert len([path for path in CORE.iterdir() if (path / "__init__.py").exists()]) <= 14
    assert len(list(CORE.glob("*.py"))) <= 6


def test_no_folder_has_more_modules_than_a_screen_shows() -> None:
    sizes = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders()}
    assert {name: size for name, size in sizes.items() if size > 20} == {}


def test_a_class_name_means_one_class() -> None:
    where = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def test_paths_on_the_page_of_the_architecture_are_there() -> None:
    named = re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)*/(?:[a-z0-9_]+\.py)?)`", ARCHITECTURE.read_text())
    assert len(named) > 40
    missing = [
        name for name in named if not ((ROOT if name.startswith(("docs/", "drivers/")) else CORE) / name).exists()
    ]
    assert missing == []


def test_the_picture_of_the_rooms_is_drawn_from_the_layers() -> None:
    rooms = _draw_rooms()
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.drawn(), "python docs/draw_rooms.py draws it anew"
    drawn = {room for layer in rooms.layers() for room in layer}
    assert drawn == {path.stem for path in CORE.iterdir() if path.stem[0] != "_" and path.stem != "py"}


def _draw_rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
