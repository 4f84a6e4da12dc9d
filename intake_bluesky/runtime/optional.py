"""Packages that an extra brings."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from intake_bluesky.errors import MissingDependency

__all__ = ["optional_import"]


def optional_import(module: str, *, extra: str, purpose: str, package: str = "") -> Any:
    """Import a module, or raise with the way to install its package.

    Raises
    ------
    MissingDependency

    Examples
    --------
    >>> optional_import("json", extra="assets", purpose="to read JSON").__name__
    'json'
    """
    try:
        # The package first: a module that was imported before is found even where its package is no more.
        import_module(module.partition(".")[0])
        return import_module(module)
    except ImportError as error:
        raise MissingDependency.of(package or module, extra=extra, purpose=purpose) from error
