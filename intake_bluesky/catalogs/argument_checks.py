"""What the arguments of catalogs may be: of every driver, from YAML as from Python."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from itertools import islice
from typing import Any, Final

from intake.catalog import Catalog

from intake_bluesky.errors import PluginError

__all__ = ["WrongArgument", "check_arguments", "check_keys", "not_of_runs"]

Kind = tuple[str, Callable[[Any], bool]]
"""What an argument may be, in words and as a function; None is what an argument has that is not given."""


class WrongArgument(PluginError, TypeError):
    """An argument of a catalog has a name that its driver does not know, or a value that it cannot have."""


def _named(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) or callable(one) for one in value.values())


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike)) and bool(str(value))


def _are_paths(value: Any) -> bool:
    several = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    return all(map(_is_path, value)) if several else _is_path(value)


def _moved(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_path(one) for pair in value.items() for one in pair)


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_path, value))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


PATH: Final[Kind] = ("a path", _is_path)
ARGUMENTS: Final[Mapping[str, Kind]] = {
    "handler_registry": ("a mapping of specs to classes or dotted names", _named),
    "paths": ("a path or a list of paths", _are_paths),
    "directory": PATH,
    "compression": ("a name", lambda value: isinstance(value, str)),
    "writable": ("True or False", lambda value: isinstance(value, bool)),
    "find_kwargs": ("a mapping of options by name", _options),
    "root_map": ("a mapping of folders to the folders or URLs that they are now", _moved),
    "data_roots": ("a list of folders or URLs, data_roots: [/data]", _listed),
    "transforms": ("a mapping of names of documents to functions or dotted names", _named),
    "storage_options": ("a mapping of options by name", _options),
    "parameters": ("a mapping of values by name", _options),
    "metadata": ("a mapping", lambda value: isinstance(value, Mapping)),
    "ttl": ("a number of seconds", _number),
}


def check_arguments(driver: type, given: Mapping[str, Any]) -> None:
    """Check names and kinds of arguments.

    Raises
    ------
    WrongArgument
        Which names the argument and what it may be. Of what was given it tells the type: the value may be a secret.
    """
    known = set(_names(driver))
    for name, value in given.items():
        if known and name not in known:
            near = get_close_matches(name, known)
            told = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
            raise WrongArgument(
                f"{driver.__name__} has no argument {name!r}: {told}It may have {', '.join(sorted(known))}"
            )
        if name not in ARGUMENTS or value is None:
            continue
        what, fits = ARGUMENTS[name]
        if not fits(value):
            raise WrongArgument(f"{name!r} of {driver.__name__} is {what}, and was given as {_told(value)}")


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        odd = ", ".join(f"{key!r}: {type(one).__name__}" for key, one in value.items())
        return f"a mapping of {odd}"
    return f"a {type(value).__name__}"


def _names(driver: type) -> Iterator[str]:
    """The arguments of a class, and of those that it passes the others on to."""
    for base in driver.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = signature(vars(base)["__init__"]).parameters.values()
        yield from (one.name for one in parameters if one.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL))
        if all(one.kind is not Parameter.VAR_KEYWORD for one in parameters):
            return


def check_keys(asked: Sequence[str], known: Sequence[str], *, what: str, where: str) -> None:
    """Raise `KeyError`, naming similar keys, for the first key that is not known."""
    for key in asked:
        if key not in known:
            close = get_close_matches(str(key), known, n=3, cutoff=0.5)
            meant = (
                f"did you mean {' or '.join(map(repr, close))}?" if close else f"it has {', '.join(known) or 'none'}"
            )
            raise KeyError(f"{where} has no {what} {key!r}; {meant}")


def not_of_runs(given: Any) -> str:
    """Say what was given in the place of a catalog of runs, and what may be meant."""
    if isinstance(given, Catalog):  # as of a YAML file
        names = ", ".join(map(repr, islice(given, 5))) or "none"
        return (
            f"a {type(given).__name__}, a catalog of others: give one of its entries, such as cat[name]; it has {names}"
        )
    if isinstance(given, str):
        return f"the text {given!r}: open it first, as by intake.open_catalog(...)[name]"
    return f"a {type(given).__name__}"
