"""The Dataset of an Intake source as the output of a simulation, or of a sweep of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, StoreUnavailable
from intake_bluesky.runtime.secrets import shown
from intake_bluesky_simulation.found_outputs import FoundOutput, list_outputs

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SourceOutput"]


class SourceOutput:
    """What a source gives with ``to_dask``, opened once for each version of its files.

    Parameters
    ----------
    path : str
        What tells the source from all others, without secrets.
    opener : callable
        Opens the source. It pickles, as a name or a description does.
    """

    def __init__(self, path: str, opener: Callable[[], Any]) -> None:
        self.path, self._opener = path, opener
        self._source: Any = None
        self._opened: tuple[str, xr.Dataset] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._opener)

    def found(self) -> FoundOutput:
        """The source as a listing shows it; looks at its files, if it tells where they are."""
        files = self._files()
        modified = max((one.modified for one in files.values()), default=math.nan)
        return FoundOutput(self, self._version(files), modified)

    def version(self) -> str:
        """What the source's files are now; the same for ever where it does not tell where they are."""
        return self._version(self._files())

    @staticmethod
    def _version(files: Mapping[str, FoundOutput]) -> str:
        return " ".join(f"{path} {files[path].version}" for path in sorted(files))

    def _files(self) -> dict[str, FoundOutput]:
        places, options = _places(self._made())
        try:
            return list_outputs(places, options).outputs
        except Exception:  # noqa: BLE001  # a server of data, as of OPeNDAP, need not tell of files
            return {}

    def _made(self) -> Any:
        if self._source is None:
            made = self._opener()
            if not hasattr(made, "to_dask") or getattr(made, "container", "xarray") != "xarray":
                raise StoreUnavailable(
                    f"source {shown(self.path)} is a {type(made).__name__}, which gives no Dataset of xarray"
                )
            self._source = made
        return self._source

    @contextmanager
    def datasets(self, version: str) -> Iterator[Mapping[str, xr.Dataset]]:
        """Its Dataset as the stream ``primary``.

        Raises
        ------
        DamagedRun
            When it cannot be opened, or its files are others by now.
        """
        if self._opened is None or self._opened[0] != version:
            self._opened = version, self._read()
        self.check(version)
        yield {"primary": self._opened[1]}

    def _read(self) -> xr.Dataset:
        import xarray as xr

        try:
            found = self._made().to_dask()
        except (IntakeBlueskyError, MemoryError):
            raise
        except Exception as error:  # libraries of formats raise any type
            told = (str(error).splitlines() or [""])[0]
            raise DamagedRun(
                f"source {shown(self.path)} cannot be opened: {type(error).__name__}: {shown(told)}"
            ) from error
        if not isinstance(found, xr.Dataset):
            raise DamagedRun(f"source {shown(self.path)} gives a {type(found).__name__}, and no Dataset of xarray")
        return found

    def check(self, version: str) -> None:
        """Refuse another version."""
        if self.version() != version:
            raise DamagedRun(f"the files of source {shown(self.path)} changed since its run was opened: open it again")

    def attributes(self, version: str) -> dict[str, Any]:
        """The attributes of its Dataset."""
        with self.datasets(version) as datasets:
            return dict(datasets["primary"].attrs)

    def at(
        self,
        version: str,
        stream: str,
        dataset: xr.Dataset,
        *,
        point: Mapping[Hashable, int],
        events: str | None = None,
    ) -> xr.Dataset:
        """Its Dataset at a point, whose values are checked to be of a version as they are computed."""
        import xarray as xr

        chosen = dataset.isel(point, missing_dims="ignore")
        variables = {name: self._checked(version, one) for name, one in chosen.variables.items()}
        return xr.Dataset(variables, attrs=chosen.attrs).set_coords(list(chosen.coords))

    def _checked(self, version: str, variable: xr.Variable) -> xr.Variable:
        import dask.array as da

        if variable._in_memory:
            return variable
        values = variable.chunk() if variable.chunks is None else variable
        check, meta = partial(_passed, self, version), np.empty((0,) * values.ndim, values.dtype)
        return values.copy(data=da.map_blocks(check, values.data, meta=meta, dtype=values.dtype))


def _passed(output: SourceOutput, version: str, block: Any) -> Any:
    output.check(version)
    return block


def _places(source: Any) -> tuple[list[str], dict[str, Any]]:
    """Where the files of a source are, and by which options, of those that tell."""
    told: Any = source
    reader = getattr(source, "reader", None)  # of Intake 2, as those of intake-xarray have
    if reader is not None and reader.kwargs.get("args"):
        told = reader.kwargs["args"][0]
    places = getattr(told, "urlpath", None) or getattr(told, "url", None)
    several = [places] if isinstance(places, str) else list(places or ())
    return [str(one) for one in several], dict(getattr(told, "storage_options", None) or {})
