"""What stands at paths, in SQL: read out of the search form, and brought back to what documents hold.

Whole floats are ints in the search form. Of what is not at all in it (infinity, which stands for integers past 64 bits
too, and dicts, whose keys may be no texts) nothing is told but that the document has to be asked.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from intake_bluesky.query.form import DEEPEST, MARK, decode_text, rank, unrank
from intake_bluesky.query.paths import MISSING, Path
from intake_bluesky.query.sql import Columns
from intake_bluesky.query.sql_json import SQL
from intake_bluesky.query.sqlite import ways

__all__ = ["Standing", "plain", "standing", "untold"]

WHOLE: Final = 9 * 10**18  # past it, a column for numbers may hold infinity in the place of an integer
FINITE: Final = rank(-math.inf) + 1, rank(math.inf) - 1
LONGEST: Final = DEEPEST // 2 - 3  # segments of a path that the search form has for certain


@dataclass(frozen=True, slots=True)
class Standing:
    """The expressions that tell of what stands at a path.

    Attributes
    ----------
    type : SQL
        As ``json_type`` names it, NULL where nothing stands there.
    value : SQL
        The value itself; of an object, the rank of the number that it is, NULL where it is none.
    """

    type: SQL
    value: SQL


def standing(columns: Columns, path: Path, *, column: bool = True) -> Standing | None:
    """Say how to find what stands at an exact path; None where the search form may not tell.

    Parameters
    ----------
    column : bool
        Whether a column that has the path is looked at, before the search form.
    """
    if path.descend or path.document not in columns.documents or len(path.segments) > LONGEST:
        return None
    found = ways(path.segments)
    if found is None:
        return None
    text = columns.documents[path.document]
    types: list[SQL] = [(f"json_type({text}, ?)", [way]) for way in found]
    values: list[SQL] = [
        (
            f"CASE json_type({text}, ?) WHEN 'object' THEN json_extract({text}, ?) ELSE json_extract({text}, ?) END",
            [way, f'{way}."{MARK}"', way],
        )
        for way in found
    ]
    kept = columns.special.get((path.document, path.segments)) if column else None
    if kept is None or kept.kind not in ("text", "number"):
        return Standing(_first(types), _first(values))
    known = f"{kept.name} IS NOT NULL" if kept.kind == "text" else f"{kept.name} BETWEEN {-WHOLE} AND {WHOLE}"
    return Standing(_if(known, f"'{kept.kind}'", _first(types)), _if(known, kept.name, _first(values)))


def _first(expressions: list[SQL]) -> SQL:
    """The first that is not NULL."""
    if len(expressions) == 1:
        return expressions[0]
    return f"coalesce({', '.join(sql for sql, _ in expressions)})", [value for _, some in expressions for value in some]


def _if(condition: str, then: str, other: SQL) -> SQL:
    return f"CASE WHEN {condition} THEN {then} ELSE {other[0]} END", other[1]


def untold(type: str, value: str) -> str:
    """The condition, on the names of a type and a value, that the document has to be asked."""
    finite = f"coalesce({value} BETWEEN {FINITE[0]} AND {FINITE[1]}, 0)"
    return f"CASE {type} WHEN 'array' THEN instr({value}, '{{') > 0 WHEN 'object' THEN NOT {finite} ELSE 0 END"


def plain(type: str | None, value: Any) -> Any:
    """Give the value that SQL told of, `MISSING` where there is none; whole floats are ints.

    Examples
    --------
    >>> plain("text", "scan"), plain("true", 1), plain("object", rank(0.5)), plain("array", '[1,["a"]]')
    ('scan', True, 0.5, [1, ['a']])
    """
    if type == "text":
        return decode_text(value)
    if type in ("integer", "number"):
        return value
    if type == "object":
        return unrank(value)
    if type == "array":
        return _decoded(json.loads(value))
    return {"true": True, "false": False, "null": None}.get(type, MISSING) if type else MISSING


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return decode_text(value) if isinstance(value, str) else value
