"""Names of the files of a sequence: a template with one number, as documents have it.

Documents are untrusted input, so a template is parsed and never handed to ``%`` or ``str.format``: it is literal text
around one number, whose width is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from intake_bluesky.errors import UntrustedName

__all__ = ["NameTemplate"]

WIDEST: Final = 32
"""Characters that a number may be padded to: areaDetector pads to 6, and a file's name ends at 255 bytes."""

_BRACES: Final = re.compile(
    r"\{\{|\}\}|%s|\{0?(?::(?:(?P<fill>[0 ])?(?P<align>[<>]))?(?P<zero>0)?(?P<width>[1-9]\d*)?d?)?\}"
)
_PERCENT: Final = re.compile(r"%%|%s|%(?P<flags>[-0]*)(?P<width>[1-9]\d*)?(?:\.(?P<precision>\d+))?[diu]")
_Padding: TypeAlias = tuple[int, int, bool]
_ESCAPED: Final = ("{{", "}}", "%%")


@dataclass(frozen=True, slots=True)
class NameTemplate:
    """The names of files that differ by one number.

    Attributes
    ----------
    before, after : str
        Around the number.
    digits : int
        The number is padded with zeros to so many.
    width : int
        And then with spaces to so many characters.
    left : bool
        Whether the spaces come after the number.
    numbered : bool
        False where there is one file and no number.
    folder : bool
        Whether the resource is the folder of the files; else its path is what the names begin with.
    """

    before: str = ""
    after: str = ""
    digits: int = 0
    width: int = 0
    left: bool = False
    numbered: bool = True
    folder: bool = False

    @classmethod
    def parse(cls, template: str, filename: str = "") -> NameTemplate:
        """Parse a template of either style.

        In the new style, ``"img_{:06d}.tiff"``, a name is the resource's path followed by the template: the path is a
        folder where it ends in a slash or the template begins with one, else it is what the names begin with. In the
        old style two ``%s`` are the folder and the filename (``"%s%s_%6.6d.tiff"``), one ``%s`` is the filename in the
        folder, or without a filename the resource's path (``"%s_%d.npy"``), and without any the template is a name in
        the folder (``"img_%05d.tif"``).

        Raises
        ------
        ValueError
            When it is no such template.
        UntrustedName
            When the filename is an absolute path.

        Examples
        --------
        >>> NameTemplate.parse("%s%s_%6.6d.tiff", "scan").path("/data", 7)
        '/data/scan_000007.tiff'
        >>> NameTemplate.parse("_{:03d}.tiff").path("/data/scan", 7)
        '/data/scan_007.tiff'
        """
        if filename.startswith(("/", "\\")):
            raise UntrustedName(f"a document names the file {filename!r}: names in a folder do not begin with a slash")
        # A template may have braces as literal text in the old style, so a number in the old style decides.
        old = "{" not in template or any(t[0] not in (*_ESCAPED, "%s") for t in _PERCENT.finditer(template))
        style = _PERCENT if old else _BRACES
        strings = len([token for token in style.finditer(template) if token[0] == "%s"])
        if strings > 2:
            raise ValueError(f"the template {template!r} has {strings} '%s', two are known: folder and filename")
        # The folder is empty here: `path` puts the resource's own before the name.
        given = ["", filename][-strings:] if strings else []
        parts, numbers = _assemble(template, style, given)
        if len(numbers) > 1:
            raise ValueError(f"the template {template!r} has {len(numbers)} numbers, one is known")
        if (strings == 2 or (strings and not filename)) and not template.startswith("%s"):
            raise ValueError(f"the template {template!r} has text before its first '%s', which stands for the folder")
        digits, width, left = numbers[0] if numbers else (0, 0, False)
        folder = strings == 2 or (old and not (strings and not filename))
        return cls(parts[0], "".join(parts[1:]), digits, width, left, bool(numbers), folder)

    def path(self, base: str, number: int) -> str:
        """The path of one file.

        Parameters
        ----------
        base : str
            Path or URL of the resource.
        number : int

        Raises
        ------
        UntrustedName
            When the name climbs with ``..``, or is a URL of its own.
        """
        digits = str(number).zfill(self.digits) if self.numbered else ""
        padded = digits.ljust(self.width) if self.left else digits.rjust(self.width)
        name = f"{self.before}{padded}{self.after}"
        whole = self._joined(base, name)
        # fsspec chains filesystems at `::`, and a scheme would lead to another one; NUL ends a path in C.
        for forbidden in ("::", "://", "\0"):
            if whole.count(forbidden) > base.count(forbidden):
                raise UntrustedName(f"a document names the file {name!r}: {forbidden!r} in names of files is refused")
        # Compared, because two halves that are harmless alone, `a/.` and `./b`, join to a name that climbs.
        if _climbs(name) or _climbs(whole) > _climbs(base):
            raise UntrustedName(f"a document names the file {name!r}: '..' in names of files is refused")
        return whole

    def prefix(self, base: str) -> str:
        """The paths of all files up to the number."""
        return self._joined(base, self.before)

    def number_of(self, rest: str) -> int | None:
        """The number in what follows the `prefix` in the path of a file; None where it is no name of this template."""
        digits = rest[: len(rest) - len(self.after)].strip()
        number = int(digits) if digits.isdecimal() and digits.isascii() and len(digits) <= WIDEST else None
        # Made again and compared, so that `img_7` and `img_007` are not taken for the same file.
        named = NameTemplate("", self.after, self.digits, self.width, self.left)
        return number if number is not None and named.path("", number) == rest else None

    def _joined(self, base: str, name: str) -> str:
        if base.endswith("/") or (self.folder and base):
            return base.rstrip("/") + "/" + name.lstrip("/")
        return base + name


def _assemble(template: str, of: re.Pattern[str], given: Sequence[str]) -> tuple[list[str], list[_Padding]]:
    """The text before, between and after the numbers, and the padding of each; `given` takes the places of ``%s``."""
    parts, strings = [""], iter(given)
    numbers: list[_Padding] = []
    for literal, token in _tokens(template, of):
        parts[-1] += literal
        if token is None:
            break
        if token[0] in _ESCAPED:
            parts[-1] += token[0][0]
        elif token[0] == "%s":
            parts[-1] += next(strings)
        else:
            numbers.append(_padding(token, template))
            parts.append("")
    return parts, numbers


def _tokens(template: str, of: re.Pattern[str]) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Each token with the literal text before it, then the text after the last."""
    end = 0
    for token in of.finditer(template):
        yield _literal(template[end : token.start()], template, of), token
        end = token.end()
    yield _literal(template[end:], template, of), None


def _literal(text: str, template: str, of: re.Pattern[str]) -> str:
    found = re.search(r"%\S*" if of is _PERCENT else r"\{[^}]*\}?|\}", text)
    if found:
        raise ValueError(
            f"the template {template!r} has {found[0]!r}, which is not understood: "
            "known are '{:06d}', '%6.6d' and the like for one number, and '%s'"
        )
    return text


def _padding(token: re.Match[str], template: str) -> _Padding:
    """Digits, width and whether spaces come after, of the number in the place of a token."""
    own = token.groupdict()
    width, precision = int(own["width"] or 0), int(own.get("precision") or 0)
    if max(width, precision) > WIDEST:
        raise ValueError(f"the template {template!r} pads its number to more than {WIDEST} characters")
    left = own.get("align") == "<" or "-" in (own.get("flags") or "")
    zeros = bool(own.get("zero")) or own.get("fill") == "0" or "0" in (own.get("flags") or "")
    if zeros and left and own.get("align"):
        raise ValueError(f"the template {template!r} puts zeros after its number, which then is another")
    return max(precision, width if zeros and not left else 0), width, left


def _climbs(path: str) -> int:
    return path.replace("\\", "/").split("/").count("..")
