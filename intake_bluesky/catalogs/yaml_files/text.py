"""The text of a YAML file as data; and what is wrong with it, without its lines, which may hold a password."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml
from intake.catalog.exceptions import ValidationError
from intake.utils import yaml_load

__all__ = ["load", "what_is_wrong"]

FIRST: Final = re.compile(r"""\((?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"), """)
"""The message in what Intake appends to its errors, the text of a tuple: what it complains of comes after it."""
QUOTED: Final = re.compile(r"'[^'<][^']+'|\"[^\"]{2,}\"|\([^()]+\)")
"""What a message of YAML quotes of the file: tags, names of anchors, keys; ``'<scalar>'`` is a word of YAML itself."""


def load(text: str) -> Any:
    """Read YAML as Intake does.

    >>> load("driver: bluesky-jsonl-catalog")
    {'driver': 'bluesky-jsonl-catalog'}
    """
    return yaml_load(text.replace("!template ", ""))


def what_is_wrong(error: Exception) -> str:
    """Place and problem, without anything that the file says.

    Examples
    --------
    >>> try:
    ...     load("password: !hunter2 x")
    ... except yaml.YAMLError as error:
    ...     print(what_is_wrong(error))
    line 1, column 11: could not determine a constructor for the tag ...
    """
    if isinstance(error, yaml.MarkedYAMLError):
        problem, mark = QUOTED.sub("...", error.problem or error.context or "it cannot be read"), error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
    if isinstance(error, yaml.reader.ReaderError):
        return f"at character {error.position}: {error.reason}"
    if isinstance(error, ValidationError) and error.errors:  # Intake appends what it complains of
        told = [(found[1] or found[2]) for found in map(FIRST.match, map(str, error.errors)) if found]
        return "; ".join(one if CHOICE in one else QUOTED.sub(_kept, one) for one in told)
    if isinstance(error, TypeError):
        return f"{error}; a template, '{{{{ ... }}}}', has to be quoted"
    return QUOTED.sub("...", str(error).partition("\n")[0]) or type(error).__name__


def _kept(quoted: re.Match[str]) -> str:
    return quoted[0] if quoted[0] in KEYS else "..."


CHOICE: Final = "is invalid (choose from"
KEYS: Final = frozenset(f"'{key}'" for key in ("sources", "driver", "args", "metadata", "parameters", "description"))
"""Of Intake's files: these it may name in messages."""
