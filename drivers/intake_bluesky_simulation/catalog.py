"""Outputs of simulations as an Intake catalog of runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from intake.catalog.local import YAMLFileCatalog

from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import MAX_TIME
from intake_bluesky.errors import UntrustedName
from intake_bluesky.query import Query, to_json
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.runtime.trust import TRUST, check_remote, origin_of, without_credentials
from intake_bluesky.search.given_queries import lasting_query

if TYPE_CHECKING:
    from intake_bluesky.catalogs.federated.given_sources import GivenSource
    from intake_bluesky.storage.contract import RunStore

__all__ = ["BlueskySimulationCatalog"]

RESERVED: Final = ("uid", "parameters", "program", "inputs", "models")
"""Fields of a start document that have arguments of their own, or follow from the output."""


class BlueskySimulationCatalog(BlueskyCatalog):
    """Outputs of simulations as runs, each with its parameters in its start document; nothing is copied, or written.

    A run is one file, or one point of a sweep in it. Its stream ``primary`` is the Dataset in the file, as xarray opens
    it; each group of the file that has variables is another stream. Values are read when they are computed, and a file
    that was written anew meanwhile is an error. A run keeps its uid as long as its output has the same path.

    Parameters
    ----------
    paths : str, Path or list of them, optional
        Patterns, files, folders and URLs, of netCDF 4 (``.nc``) and of Zarr (``.zarr``, ``.zarr.zip``). Fields of a
        pattern are parameters: ``sims/a_{a:f}_seed_{seed:d}.nc``; ``{name:d}`` is an integer, ``{name:f}`` a number,
        ``{name}`` a text. ``*``, ``?``, ``[...]`` and ``**/`` stand for anything. Of several patterns that read a path
        the first counts. A listing opens none of them.
    source : mapping or str, optional
        In the place of paths: any Intake source that gives a Dataset of xarray, as in a YAML file, ``{driver: netcdf,
        args: {...}}``, or the name of one in the same file.
    sweep : str or list of str, optional
        Dimensions of which each combination of places is a run. The coordinates along them are parameters.
    parameters : mapping, optional
        Of each simulation, beside those of path and sweep. All are in ``start["parameters"]``.
    attributes : list of str or "all", optional
        Attributes of the output that are parameters, too; ``"all"`` takes those that are single values. Each output is
        opened once for that, and the user's cache keeps what was found.
    program : str or mapping, optional
        What computed them, its name or ``{name: ..., version: ...}``; ``start["program"]``.
    inputs : optional
        Input files, or what else is to be known of them; ``start["inputs"]``.
    models : query, or list of uids, optional
        The experiments that they model: a query as a catalog's `query`, or uids of runs; ``start["models"]`` is
        ``{"query": ...}``, in the JSON form of queries, or ``{"uids": [...]}``.
    start : mapping, optional
        Further fields of start documents, as ``sample``. ``plan_name`` is ``"simulation"`` unless it is among them, and
        ``time`` when the output was written.
    time : str, optional
        The attribute that tells when a simulation was made: text as ``2026-05-01T12:00:00+02:00``, in UTC where it
        names no time zone, or seconds since 1970.
    events : str, optional
        The dimension of which documents make an event each. By default ``time``, else the first of the first variable.
    storage_options : mapping, optional
        Of fsspec, for paths at URLs.
    **kwargs
        Of `BlueskyCatalog`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from tempfile import TemporaryDirectory
    >>> from intake_bluesky import Start
    >>> tth = np.linspace(5, 20, 4)
    >>> with TemporaryDirectory() as folder:
    ...     for a in (5.42, 5.43, 5.44):
    ...         pattern = xr.Dataset({"I": ("tth", tth * a)}, coords={"tth": tth})
    ...         pattern.to_netcdf(f"{folder}/Si_a_{a}.nc", engine="h5netcdf")
    ...     sims = BlueskySimulationCatalog(folder + "/Si_a_{a:f}.nc", program="powder 2.1")
    ...     [run] = sims.search(Start("parameters.a") > 5.43).values()
    ...     print(run.start["parameters"], run.primary.read()["I"].values.round(1))
    ...     sims.store.close()
    {'a': 5.44} [ 27.2  54.4  81.6 108.8]
    """

    name = "bluesky-simulation-catalog"
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "paths": without_secrets, "source": without_secrets}
    _forgotten = BlueskyCatalog._forgotten - {"_secrets"}  # those of the store, by which workers read its files

    def __init__(  # noqa: PLR0913  # as many as there are things to say of a simulation
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        source: Mapping[str, Any] | str | None = None,
        sweep: str | Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        attributes: Sequence[str] | str | None = None,
        program: Mapping[str, Any] | str | None = None,
        inputs: Any = None,
        models: Query | Mapping[str, Any] | Sequence[str] | str | None = None,
        start: Mapping[str, Any] | None = None,
        time: str | None = None,
        events: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        from intake_bluesky_simulation.simulation_starts import SimulationStarts  # late: Intake loads all drivers
        from intake_bluesky_simulation.store import SimulationStore

        if (paths is None) == (source is None):
            raise WrongArgument("a catalog of simulations has either paths or a source")
        if source is not None and not isinstance(source, (str, Mapping)):
            raise WrongArgument(
                f"source is given as a {type(source).__name__}: it is a mapping with driver and args, or the name of a "
                "source in the same YAML file"
            )
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths or ())
        given = {"program": _program(program), "inputs": inputs, "models": _models(models)}
        fields = _start(start) | {name: value for name, value in given.items() if value is not None}
        chosen: Any = attributes if attributes == "all" else _names(attributes, "attributes")
        if not isinstance(parameters or {}, Mapping):
            raise WrongArgument(
                f"parameters is a mapping of names to values, parameters: {{sample: Si}}, not {parameters!r:.60}; of "
                "attributes in the output give the names by attributes, of dimensions by sweep"
            )
        starts = SimulationStarts(fields, dict(parameters or {}), chosen, time)
        self._given, places = source, [_checked(os.fspath(path)) for path in several]
        options: dict[str, Any] = {"sweep": _names(sweep, "sweep"), "events": events}
        self._servers = tuple({origin_of(path) for path in places if "://" in path})
        made = SimulationStore(starts, paths=places, storage_options=storage_options, **options)
        super().__init__(made, storage_options=storage_options, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_checked_store": self.store}

    @property
    def store(self) -> RunStore:
        """The driver's store: all simulations."""
        if self._checked_store is None and self._given is not None:
            # Now, for Intake tells a catalog only after it was made from which file it comes.
            from intake_bluesky_simulation.source_output import SourceOutput

            given, opener = self._given, self._opener()
            told = json.dumps(without_secrets(given), sort_keys=True, default=str)
            named = opener.address if isinstance(given, str) else told
            self._checked_store = self._made_store.with_source(SourceOutput(named, opener.opened))  # type: ignore[attr-defined]  # ours
        return super().store

    def _opener(self) -> GivenSource:
        from intake_bluesky.catalogs.federated.given_sources import GivenSource

        source, parent = self._source, getattr(self._entry, "_catalog", None) or self.cat
        return GivenSource(
            "source",
            self._given,
            parent=parent if isinstance(parent, YAMLFileCatalog) else None,
            folder=source.folder,
            trusted=source.trusts("source"),
            said=source.said,
            owner="a catalog of simulations",
        )

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """Files on servers of one kind alone, read without this user's credentials; a source is checked as it opens."""
        paths, options = arguments.get("paths"), arguments.get("storage_options")
        if paths is None:
            if options:
                raise UntrustedName(
                    "a catalog from elsewhere gives storage_options, which are for its own paths: pass "
                    "storage_options, too, with the paths that you pass ({} for none)"
                )
            return arguments
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        places = [check_remote(os.fspath(path), "its paths") for path in several]
        if len({place.partition("://")[0] for place in places}) > 1:
            raise UntrustedName(f"a catalog from elsewhere names paths on servers of several kinds. {TRUST}")
        return {**arguments, **({"storage_options": without_credentials(places[0], options)} if places else {})}

    def _yaml(self) -> dict[str, Any]:
        data = super()._yaml()
        (source,) = data["sources"].values()
        if self._given is not None:
            source["args"]["source"] = without_secrets(self._opener().lasting())
        return data


def _checked(path: str) -> str:
    from intake_bluesky_simulation.path_patterns import PathPattern

    PathPattern.of(path)  # raises for what is none, now
    return path


def _names(given: Sequence[str] | str | None, what: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given or ())
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise WrongArgument(f"{what} is a list of different names, not {given!r}")
    return names


def _program(given: Mapping[str, Any] | str | None) -> dict[str, Any] | None:
    if given is None or isinstance(given, str):
        return None if given is None else {"name": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        raise WrongArgument(f"program is a name, or a mapping with name and version, not {given!r}")
    return dict(given)


def _models(given: Query | Mapping[str, Any] | Sequence[str] | str | None) -> dict[str, Any] | None:
    if given is None:
        return None
    uids: Any = given["uids"] if isinstance(given, Mapping) and set(given) == {"uids"} else given
    if isinstance(uids, Sequence) and not isinstance(uids, str):
        if not uids or not all(isinstance(uid, str) for uid in uids):
            raise WrongArgument(f"models is a query, or a list of uids of runs, not {given!r}")
        return {"uids": list(uids)}
    query: Any = given["query"] if isinstance(given, Mapping) and set(given) == {"query"} else given
    return {"query": json.loads(to_json(lasting_query(query)))}


def _start(given: Mapping[str, Any] | None) -> dict[str, Any]:
    fields = dict(given or {})
    for name in RESERVED:
        if name in fields:
            own = "follows from the path" if name == "uid" else "is an argument of its own"
            raise WrongArgument(f"{name} of start cannot be given: it {own}")
    time = fields.get("time", 0.0)
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) < MAX_TIME:
        raise WrongArgument(f"time of start is a number of seconds since 1970, not {time!r}")
    return {"plan_name": "simulation", **fields}
