"""The hooks by which Python and IPython show an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intake_bluesky.catalogs.display.page import page, problem
from intake_bluesky.catalogs.display.text import page_width
from intake_bluesky.catalogs.display.values import on_one_line

__all__ = ["Displayed"]


class Displayed:
    """Shows itself by `_line`, `_lines` and `_html`; no repr raises, since what is wrong is shown in its place."""

    _ipython_display_ = None  # Intake's shows YAML; IPython takes those below

    def _line(self) -> str:
        raise NotImplementedError

    def _lines(self, width: int) -> str:
        raise NotImplementedError

    def _html(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return _told(self._line, lambda why: f"<{type(self).__name__}: {why}>")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        text = repr(self) if cycle else _told(lambda: self._lines(page_width()), lambda why: f"{self!r}\n{why}")
        printer.text(text)

    def _repr_html_(self) -> str:
        return _told(self._html, lambda why: page(type(self).__name__, "", problem(why)))


def _told(show: Callable[[], str], instead: Callable[[str], str]) -> str:
    try:
        return show()
    except Exception as error:  # noqa: BLE001  # of stores, files and documents of any kind
        return instead(on_one_line(f"cannot be shown: {type(error).__name__}: {error}"))
