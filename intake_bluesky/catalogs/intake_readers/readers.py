"""The readers, subclasses of Intake 2's: named by a catalog, a uid and a stream, and nothing of this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from intake.readers.readers import BaseReader

from intake_bluesky.catalogs.intake_readers.named_catalog import open_named
from intake_bluesky.catalogs.intake_readers.plain_arguments import plain_arguments

if TYPE_CHECKING:
    import xarray as xr

    from intake_bluesky.catalogs.run import BlueskyRun

__all__ = ["BlueskyRunReader", "BlueskyStreamReader"]


class RunDescription(BaseReader):  # type: ignore[misc]  # Intake ships no types
    """What both readers are: a run by the name of its catalog and its uid."""

    imports: ClassVar[set[str]] = {"bluesky-intake"}
    kwargs: dict[str, Any]
    metadata: dict[str, Any]

    def __init__(
        self, *, metadata: Mapping[str, Any] | None = None, output_instance: str | None = None, **arguments: Any
    ) -> None:
        # Intake gives the class's own output back, which as an attribute of the object would change its token.
        other = None if output_instance == type(self).output_instance else output_instance
        super().__init__(metadata=dict(metadata or {}), output_instance=other, **plain_arguments(arguments))

    @classmethod
    def qname(cls) -> str:
        """The name in YAML, which stays whatever the modules are called."""
        return f"intake_bluesky.catalogs:{cls.__name__}"

    def __call__(self, **arguments: Any) -> Self:
        """Make another reader with arguments changed."""
        return type(self)(**{**self.kwargs, "metadata": self.metadata, **arguments})

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.kwargs.items())
        return f"{type(self).__name__}({told})"

    def __dask_tokenize__(self) -> tuple[str, str]:
        return self.qname(), self.token


class BlueskyStreamReader(RunDescription):
    """A stream as a reader of Intake 2: `read` gives its lazy Dataset; `BlueskyStream.reader` makes one.

    The catalog is opened at each reading, and the run read as it is then.

    Parameters
    ----------
    catalog : mapping
        ``{"file": ..., "entry": ...}``, a YAML file and the name of a source in it; or ``{"driver": ..., "args": ...}``
        as a YAML file has them.
    uid : str
        The run's, whole.
    stream : str
    metadata : mapping, optional
        Saved with the reader; not part of the token.
    output_instance : str, optional
        Intake's; leave it out.
    **options
        Of `BlueskyStream`: ``include``, ``exclude``, ``sub_dict``, ``configuration_for`` ...

    Raises
    ------
    UnsupportedOperation
        For an argument that YAML does not hold, or that has braces in it, which Intake 2 fills in.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import intake
    >>> from intake_bluesky.testing import EXAMPLES
    >>> runs = intake.open_bluesky_jsonl_catalog(mkdtemp())
    >>> with runs.writer() as write:
    ...     for pair in EXAMPLES["scan"](None):
    ...         write(*pair)
    >>> reader = runs[-1].primary.reader()
    >>> reader.read()["det"].sizes
    Frozen({'time': 11})
    >>> cat = intake.readers.entry.Catalog()
    >>> cat["scan"] = reader
    >>> cat["scan"].token == reader.token
    True
    >>> reader.apply(list).read(), list(reader(include=["det"]).read())
    (['det', 'counts'], ['det'])
    """

    output_instance = "xarray:Dataset"

    def __init__(
        self,
        catalog: Mapping[str, Any],
        uid: str,
        stream: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        output_instance: str | None = None,
        **options: Any,
    ) -> None:
        arguments = {"catalog": catalog, "uid": uid, "stream": stream, **options}
        super().__init__(metadata=metadata, output_instance=output_instance, **arguments)

    def _read(self, *, catalog: Mapping[str, Any], uid: str, stream: str, **options: Any) -> xr.Dataset:
        """Describe the Dataset lazily."""
        return _run(catalog, uid)[stream].configure_new(**options).to_dask()

    def to_dask(self) -> xr.Dataset:
        """The same as `read`: dask arrays, of which nothing is read yet."""
        return self.read()  # type: ignore[no-any-return]  # Intake has no types


class BlueskyRunReader(RunDescription):
    """A run as a reader of Intake 2: `read` opens it; ``reader["primary"]`` is the reader of a stream.

    Parameters
    ----------
    catalog, uid, metadata, output_instance
        As of `BlueskyStreamReader`.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import intake
    >>> from intake_bluesky.testing import EXAMPLES
    >>> runs = intake.open_bluesky_jsonl_catalog(mkdtemp())
    >>> with runs.writer() as write:
    ...     for pair in EXAMPLES["scan"](None):
    ...         write(*pair)
    >>> reader = runs[-1].reader()
    >>> reader.read().start["plan_name"], reader.apply(list).read()
    ('scan', ['baseline', 'ring_current_monitor', 'primary'])
    >>> reader["primary"] == runs[-1].primary.reader()
    True
    """

    output_instance = "intake_bluesky.catalogs.run:BlueskyRun"

    def __init__(
        self,
        catalog: Mapping[str, Any],
        uid: str,
        *,
        metadata: Mapping[str, Any] | None = None,
        output_instance: str | None = None,
    ) -> None:
        super().__init__(metadata=metadata, output_instance=output_instance, catalog=catalog, uid=uid)

    def _read(self, *, catalog: Mapping[str, Any], uid: str) -> BlueskyRun:
        """Open the run."""
        return _run(catalog, uid)

    def __getitem__(self, stream: str) -> BlueskyStreamReader:
        """The reader of a stream; reads nothing."""
        return BlueskyStreamReader(**self.kwargs, stream=stream, metadata=self.metadata)


def _run(catalog: Mapping[str, Any], uid: str) -> BlueskyRun:
    found = open_named(catalog)
    # By its whole uid and past any query: the beginning of a uid might be that of another run by now.
    return found._opened(found._view.header(uid))
