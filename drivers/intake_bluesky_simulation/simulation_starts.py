"""Start documents of simulations: what paths, sweeps, attributes and the catalog say of each."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal
from uuid import UUID

import numpy as np

from intake_bluesky.documents.model import MAX_TIME, Document, to_plain
from intake_bluesky.errors import DamagedRun
from intake_bluesky.runtime.secrets import shown

__all__ = ["ALL_ATTRIBUTES", "SimulationStarts", "plain_attributes", "plain_parameter", "sorted_json"]

SPACE: Final = UUID("6d7a36a3-7c55-5e0f-9d2b-5f1b8d1c0c47")
"""In which an address and a point name a run, the same for ever."""
ALL_ATTRIBUTES: Final = "all"
sorted_json: Final = json.JSONEncoder(sort_keys=True).encode
"""Parameters as text: the same for the same values, in whichever order they come."""
NO_NAME: Final = re.compile(r"[./$\0]")
"""What event-model, or a database, has no names with."""


@dataclass(frozen=True, slots=True)
class SimulationStarts:
    """What a catalog says of all its simulations, from which it makes their start documents.

    Attributes
    ----------
    fields : dict
        Of each start document, with ``plan_name`` and, if they are given, ``program``, ``inputs`` and ``models``.
    parameters : dict
        Of each simulation.
    attributes : tuple of str, or "all"
        The attributes that are parameters, too; all that are single values.
    time : str or None
        The attribute that tells when a simulation was made.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    attributes: tuple[str, ...] | Literal["all"] = ()
    time: str | None = None

    @property
    def needs_attributes(self) -> bool:
        """Whether outputs have to be opened before their start documents can be made."""
        return bool(self.attributes) or self.time is not None

    def of(
        self,
        address: str,
        modified: float,
        told: Mapping[str, Mapping[str, Any]],
        attributes: Mapping[str, Any],
        point: Mapping[str, Any] | None = None,
    ) -> Document:
        """Make the start document of one simulation.

        Parameters
        ----------
        address : str
            Of its output.
        modified : float
            When that was written; NaN where nobody knows.
        told : mapping of origin to parameters
            Of the path, and others but for those of the point.
        attributes : mapping
            All of the output that are known.
        point : mapping, optional
            Of a sweep, by name.

        Raises
        ------
        DamagedRun
            When two of these contradict each other, a name is none that documents have, or there is no time.
        """
        origins = {"the catalog": self.parameters, **told, "the sweep": point or {}, "attributes": self._of(attributes)}
        parameters = _joined(origins, address)
        name = address if point is None else f"{address}\n{sorted_json(point)}"
        start: Document = {"uid": _uid(name), "time": self._when(address, modified, attributes)}
        start |= self.fields
        if parameters:
            start["parameters"] = parameters
        return start

    def _of(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        if self.attributes == ALL_ATTRIBUTES:
            single = {name: value for name, value in attributes.items() if not isinstance(value, (list, dict))}
            return {name: value for name, value in single.items() if not NO_NAME.search(name) and name[0] != "_"}
        return {name: attributes[name] for name in self.attributes if name in attributes}

    def lacking(self, attributes: Mapping[str, Any]) -> list[str]:
        """The attributes that are asked for and are not there."""
        return [name for name in self.attributes if name not in attributes] if self.attributes != ALL_ATTRIBUTES else []

    def _when(self, address: str, modified: float, attributes: Mapping[str, Any]) -> float:
        if "time" in self.fields:
            return float(self.fields["time"])
        if self.time is not None:
            return _seconds(attributes.get(self.time), f"the attribute {self.time!r} of {shown(address)}")
        if not math.isfinite(modified):
            raise DamagedRun(
                f"nobody tells when {shown(address)} was written: name the attribute that does, time: created, or "
                "give start: {time: ...}, in seconds since 1970"
            )
        return modified


def _uid(name: str) -> str:
    """The UUID of version 5 of a name; that of the standard library takes none of files that are no UTF-8."""
    digest = hashlib.sha1(SPACE.bytes + name.encode(errors="surrogatepass"), usedforsecurity=False).digest()
    return str(UUID(bytes=digest[:16], version=5))


def _joined(origins: Mapping[str, Mapping[str, Any]], address: str) -> dict[str, Any]:
    """All parameters; the same name may come from several, if they agree."""
    found: dict[str, Any] = {}
    from_where: dict[str, str] = {}
    for origin, values in origins.items():
        for name, value in values.items():
            if name in found and found[name] != value:
                raise DamagedRun(
                    f"the parameter {name!r} of {shown(address)} is {found[name]!r} by {from_where[name]} and "
                    f"{value!r} by {origin}: leave one of them out, or rename it"
                )
            if not isinstance(name, str) or not name or NO_NAME.search(name):
                raise DamagedRun(
                    f"{name!r} of {shown(address)}, by {origin}, is no name of a parameter: documents have none with "
                    "'.', '/' or '$'"
                )
            found[name], from_where[name] = value, origin
    return found


def plain_parameter(value: Any) -> Any:
    """A value of a coordinate or an attribute as documents have it: dates as text, other values of numpy as of Python.

    A float of 32 bits is the shortest decimal number that it stands for, by which people search for it.

    Raises
    ------
    DamagedRun
        For what documents have no form for.

    Examples
    --------
    >>> plain_parameter(np.float64(5.43)), plain_parameter(np.datetime64("2026-05-01", "D"))
    (5.43, '2026-05-01')
    >>> plain_parameter(np.float32(5.43)), float(np.float32(5.43))
    (5.43, 5.429999828338623)
    """
    if isinstance(value, np.ndarray) and value.size == 1 and value.ndim <= 1:
        value = value.reshape(())[()]
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    if isinstance(value, (np.float32, np.float16)):
        return float(str(value))
    plain = to_plain(value)
    if isinstance(plain, bytes):
        try:
            plain = plain.decode()
        except UnicodeDecodeError as error:
            raise DamagedRun(f"{value!r:.60} is no value of a parameter: it is no text in UTF-8") from error
    if not _is_plain(plain):
        raise DamagedRun(f"{value!r:.60} is no value of a parameter: it is a {type(value).__name__}")
    return plain


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and all(map(_is_plain, value.values()))
    return value is None or type(value) in (str, int, float, bool)


def _seconds(value: Any, what: str) -> float:
    if type(value) in (int, float) and abs(value) < MAX_TIME:
        return float(value)
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise DamagedRun(
            f"{what} is {value!r:.60}, and no time: that is a number of seconds since 1970, or a text as "
            "2026-05-01T12:00:00+02:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def plain_attributes(attributes: Mapping[str, Any], most: int = 1000) -> dict[str, Any]:
    """Those attributes of an output that documents have a form for, long ones aside."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        if (np.size(value) or 0) > most:  # None, of what HDF5 calls empty
            continue
        try:
            found[str(name)] = plain_parameter(value)
        except DamagedRun:
            continue
    return found
