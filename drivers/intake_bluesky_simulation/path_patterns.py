"""Patterns of paths that hold values: ``sims/a_{a:f}_seed_{seed:d}.nc``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final

from intake_bluesky.errors import PluginError

__all__ = ["PathPattern"]

KINDS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "d": (r"[+-]?\d+", int),
    "f": (r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf|nan", float),
    "s": (r"[^/]+?", str),
}
"""What a field may stand for by the last letter of its format, and what makes a value of it."""
FIELD: Final = "\0"
"""Stands for a field while a pattern is made."""
SAME: Final = {"e": "f", "g": "f", "": "s"}
GLOB: Final = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]")
AS_REGEX: Final = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A path in which fields stand for values, and ``*``, ``?``, ``[...]`` and ``**/`` for parts of names.

    A field is ``{name:d}``, an integer; ``{name:f}``, a number; or ``{name}``, a text without slashes. Something fixed
    stands between two fields, and between a star and a field: else nobody could tell where a value begins.

    Attributes
    ----------
    glob : str
        The same with a star in the place of each field.
    regex : re.Pattern
        With a group for each field.
    readers : mapping of name to callable
        By which the text of a field becomes a value.

    Examples
    --------
    >>> pattern = PathPattern.of("/sims/a_{a:f}_seed_{seed:d}.nc")
    >>> pattern.glob
    '/sims/a_*_seed_*.nc'
    >>> pattern.values("/sims/a_5.4309_seed_07.nc")
    {'a': 5.4309, 'seed': 7}
    >>> pattern.values("/sims/a_none_seed_7.nc") is None
    True
    """

    glob: str
    regex: re.Pattern[str]
    readers: dict[str, Callable[[str], Any]]

    @classmethod
    def of(cls, text: str) -> PathPattern:
        """Read a pattern.

        Raises
        ------
        PluginError
            When a field is not of this form, or nothing tells where its value begins or ends.
        """
        glob, regex, readers = "", "", dict[str, Callable[[str], Any]]()
        _check_borders(text)
        for literal, name, kind in _parts(text):
            glob += literal
            regex += _as_regex(literal, text)
            if name is None:
                continue
            glob += FIELD
            pattern, reader = KINDS[kind]
            regex += f"(?P={name})" if name in readers else f"(?P<{name}>{pattern})"
            readers[name] = reader
        # One star, also beside another: two would stand for folders.
        return cls(re.sub(rf"\**{FIELD}[*{FIELD}]*", "*", glob), re.compile(regex), readers)

    def values(self, path: str) -> dict[str, Any] | None:
        """The values in a path that `glob` finds; None where they are not of the form of the fields."""
        if not self.readers:
            return {}
        found = self.regex.fullmatch(path)
        return None if found is None else {name: read(found[name]) for name, read in self.readers.items()}


def _parts(text: str) -> Iterator[tuple[str, str | None, str]]:
    """What stands before each field, its name and its kind; at the end what stands after all."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise PluginError(f"the pattern {text!r} cannot be read: {error}. Write {{{{ and }}}} for braces") from error
    for literal, name, form, conversion in parts:
        if name is None:
            yield literal, None, ""
            continue
        kind = (form or "")[-1:]
        kind = SAME.get(kind, kind)
        # A width and a precision are of writing: `{seed:03d}` reads any integer.
        if not name.isidentifier() or conversion or kind not in KINDS or not re.fullmatch(r"[\d.]*\w?", form or ""):
            told = f"{{{name}{':' if form else ''}{form or ''}}}"
            raise PluginError(
                f"the field {told} of the pattern {text!r} is none that paths have: write {{name:d}} for an integer, "
                "{name:f} for a number, {name} for text"
            )
        yield literal, name, kind


def _check_borders(text: str) -> None:
    """Refuse fields that touch each other or a star: ``run*{seed:d}`` would read 3 of run123."""
    before: str | None = None
    for literal, name, _ in _parts(text):
        for own, begins in ((before, False), (name, True)):
            touches = literal.endswith("*") if begins else literal.startswith("*")
            if own is not None and (touches or (begins and not literal and before is not None)):
                raise PluginError(
                    f"nothing in the pattern {text!r} tells where the value of {own!r} {'begins' if begins else 'ends'}"
                    ": put what is fixed in the paths between fields, and between stars and fields"
                )
        before = name


def _as_regex(literal: str, text: str) -> str:
    found, place = "", 0
    for magic in GLOB.finditer(literal):
        found += re.escape(literal[place : magic.start()])
        part = AS_REGEX.get(magic[0]) or magic[0].replace("[!", "[^", 1)
        try:
            re.compile(part)
        except re.error as error:
            raise PluginError(f"{magic[0]} of the pattern {text!r} cannot be read: {error}") from error
        found += part
        place = magic.end()
    return found + re.escape(literal[place:])
