"""Every error this package raises.

One root, so that ``except IntakeBlueskyError`` catches all of them; the leaves also inherit the built-in that
a caller who has never heard of this package would catch::

    IntakeBlueskyError
    ├── CatalogNotFound        (KeyError)
    ├── RunNotFound            (KeyError)
    ├── StreamNotFound         (KeyError)
    ├── AmbiguousRun           (ValueError)
    ├── DamagedRun             (ValueError)
    ├── DamagedPack            (ValueError)
    ├── DuplicateRun           (ValueError)
    ├── UnsupportedQuery       (ValueError)
    │   └── QuerySyntaxError
    ├── UnsupportedOperation   (NotImplementedError)
    ├── WrongSetting           (ValueError)
    ├── RemovalFailed          (RuntimeError)
    ├── CopyFailed             (RuntimeError)
    ├── SearchTooLarge         (RuntimeError)
    ├── ArrayTooLarge          (MemoryError)
    ├── AssetUnavailable       (OSError)
    ├── StoreUnavailable       (OSError)
    ├── MissingDependency      (ImportError)
    ├── UntrustedName          (PermissionError)
    └── PluginError            (LookupError)

A message names what was wanted, what was found, and what to do about it. `UnknownKeyWarning` and
`EmptyCatalogWarning` are no errors; each is a `UserWarning` about a search or a catalog in which nothing was found.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "AmbiguousRun",
    "ArrayTooLarge",
    "AssetUnavailable",
    "CatalogNotFound",
    "CopyFailed",
    "DamagedPack",
    "DamagedRun",
    "DuplicateRun",
    "EmptyCatalogWarning",
    "IntakeBlueskyError",
    "MissingDependency",
    "PluginError",
    "QuerySyntaxError",
    "RemovalFailed",
    "RunNotFound",
    "SearchTooLarge",
    "SourceLeftOutWarning",
    "StoreUnavailable",
    "StreamNotFound",
    "UnknownKeyWarning",
    "UnsupportedOperation",
    "UnsupportedQuery",
    "UntrustedName",
    "WrongSetting",
    "printable",
]

DISTRIBUTION: Final = "bluesky-intake"  # its name for pip
KEPT: Final = frozenset("\n\t\xa0\u2007\u202f\u3000")  # line ends, and spaces that Python does not call printable


def printable(text: str) -> str:
    r"""Text without what controls a terminal, or turns the direction of writing: such characters are spelled.

    Examples
    --------
    >>> print(printable("plan \x1b[2J of µm"))
    plan \x1b[2J of µm
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in KEPT else repr(one)[1:-1] for one in text)


class IntakeBlueskyError(Exception):
    """Root of every error raised by this package."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument: a sentence would come out quoted and escaped. Names and values of
        # documents are in it, and tracebacks go to terminals.
        return printable(str(self.args[0]) if len(self.args) == 1 else super().__str__())


class CatalogNotFound(IntakeBlueskyError, KeyError):
    """No installed catalog has that name."""


class RunNotFound(IntakeBlueskyError, KeyError):
    """No run in the catalog has that uid, scan_id or place."""


class StreamNotFound(IntakeBlueskyError, KeyError):
    """The run has no stream of that name."""


class AmbiguousRun(IntakeBlueskyError, ValueError):
    """A key, such as a partial uid, is that of several runs."""


class DamagedRun(IntakeBlueskyError, ValueError):
    """The stored documents contradict themselves or cannot be decoded."""


class DamagedPack(IntakeBlueskyError, ValueError):
    """A folder or zip file is no pack of runs, or has not what its manifest says."""


class DuplicateRun(IntakeBlueskyError, ValueError):
    """A run of that uid is in the store already."""


class UnsupportedQuery(IntakeBlueskyError, ValueError):
    """The query uses an operator or a form that has no meaning here."""


class QuerySyntaxError(UnsupportedQuery):
    """The text of a query cannot be read; the message shows the place, `line` and `column` count it from 1."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class UnsupportedOperation(IntakeBlueskyError, NotImplementedError):
    """The store or the object does not offer this operation."""


class WrongSetting(IntakeBlueskyError, ValueError):
    """The user's configuration file, or an environment variable, has what it cannot have."""


class RemovalFailed(IntakeBlueskyError, RuntimeError):
    """Some of several runs could not be removed; `removal` has those that were, and why the others stayed."""

    def __init__(self, message: str, removal: Any = None) -> None:
        super().__init__(message)
        self.removal = removal


class CopyFailed(IntakeBlueskyError, RuntimeError):
    """Some of several runs could not be copied; `report` has those that were, and why the others were not."""

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


class SearchTooLarge(IntakeBlueskyError, RuntimeError):
    """A search would have to read more data than the user allows."""


class ArrayTooLarge(IntakeBlueskyError, MemoryError):
    """An external array does not fit into memory as a whole, or a descriptor declares a shape that no data have."""


class AssetUnavailable(IntakeBlueskyError, OSError):
    """An external file is missing, too short, or of a kind nothing installed here reads."""


class StoreUnavailable(IntakeBlueskyError, OSError):
    """The store itself (folder, bucket, server) cannot be reached or read."""


class MissingDependency(IntakeBlueskyError, ImportError):
    """An optional package is needed; the message ends with the command that installs it."""

    @classmethod
    def of(cls, package: str, *, extra: str, purpose: str) -> MissingDependency:
        """Build the error that names the cure: the package, and others of the extra that are not installed.

        Examples
        --------
        >>> print(MissingDependency.of("zarr", extra="zarr", purpose="to read Zarr arrays"))
        zarr is needed to read Zarr arrays and is not installed: pip install "zarr>=3.1"
        """
        lacking = " ".join(f'"{one}"' for one in _lacking(package, extra))
        return cls(f"{package} is needed {purpose} and is not installed: pip install {lacking}")


def _lacking(package: str, extra: str) -> list[str]:
    """What of an extra is to be installed, as `setup.py` requires it.

    Not the extra by its name: that works for none who installed a checkout, or a copy of it.
    """
    from importlib import metadata

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    try:
        declared = [Requirement(one) for one in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:  # it is on sys.path, and not installed
        declared = []
    brought = [one for one in declared if one.marker is not None and one.marker.evaluate({"extra": extra})]
    found = []
    for one in brought:
        if canonicalize_name(one.name) != canonicalize_name(package):
            try:
                metadata.version(one.name)
            except metadata.PackageNotFoundError:
                pass
            else:
                continue
        one.marker = None
        found.append(str(one))
    return found or [package]


class UntrustedName(IntakeBlueskyError, PermissionError):
    """A document or catalog from elsewhere named code or files that it may not use."""


class PluginError(IntakeBlueskyError, LookupError):
    """A plugin is unknown, or registered and broken."""


class UnknownKeyWarning(UserWarning):
    """No run has a key that was asked for; the message names those that are near.

    Of a search that found nothing, of a side of ``|``, of a key to sort by, or of a column of a table.
    """


class EmptyCatalogWarning(UserWarning):
    """A catalog has no runs; the message says what could not be read, or in which folders below runs are."""


class SourceLeftOutWarning(RuntimeWarning):
    """A source of a federation cannot be opened or asked, and is left out; the message says which, and why."""
