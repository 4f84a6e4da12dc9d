"""`BlueskyStream.reader` and `BlueskyRun.reader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.datasets.options import checked_options
from intake_bluesky.errors import UnsupportedOperation

if TYPE_CHECKING:
    from intake_bluesky.catalogs.intake_readers.readers import BlueskyRunReader, BlueskyStreamReader
    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.stream import BlueskyStream

__all__ = ["reader_of_run", "reader_of_stream"]

SEARCHED: Final = ("plan_name", "scan_id", "time")
"""What a saved reader tells of its run, for those who read the YAML."""


def reader_of_run(self: BlueskyRun) -> BlueskyRunReader:
    """The run as a reader of Intake 2, which its catalogs hold, pipe and save, and other processes open again.

    Returns
    -------
    BlueskyRunReader
        It names the YAML file by which the catalog was opened, or the catalog's driver and arguments, and holds no
        secrets. What `read` gives is the run.

    Raises
    ------
    UnsupportedOperation
        When nothing names the catalog (a store object), it was opened with credentials outside a YAML file, or an
        argument has braces in it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import intake
    >>> from intake_bluesky.testing import EXAMPLES
    >>> runs = intake.open_bluesky_jsonl_catalog(mkdtemp())
    >>> with runs.writer() as write:
    ...     for pair in EXAMPLES["scan"](None):
    ...         write(*pair)
    >>> runs[-1].reader().read() == runs[-1]
    True
    """
    from intake_bluesky.catalogs.intake_readers.named_catalog import catalog_name, with_order
    from intake_bluesky.catalogs.intake_readers.readers import BlueskyRunReader  # late: few make readers

    if self.cat is None or not hasattr(type(self.cat), "selection"):
        raise UnsupportedOperation(f"run {self.uid} was not opened from a catalog, which its reader would name")
    told: dict[str, Any] = {name: self.start.get(name) for name in SEARCHED}
    metadata = {name: value for name, value in told.items() if type(value) in (str, int, float)}
    return BlueskyRunReader(with_order(catalog_name(self.cat)), self.uid, metadata=metadata)


def reader_of_stream(self: BlueskyStream) -> BlueskyStreamReader:
    """The stream as a reader of Intake 2, which its catalogs hold, pipe and save, and other processes open again.

    Returns
    -------
    BlueskyStreamReader
        Of the same options. What `read` gives is the Dataset of `to_dask`. See `BlueskyRun.reader`.

    Raises
    ------
    UnsupportedOperation
        As of `BlueskyRun.reader`, and when the stream was given `AssetOptions` of its own.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> import intake
    >>> from intake_bluesky.testing import EXAMPLES
    >>> runs = intake.open_bluesky_jsonl_catalog(mkdtemp())
    >>> with runs.writer() as write:
    ...     for pair in EXAMPLES["scan"](None):
    ...         write(*pair)
    >>> stream = runs[-1].primary(include=["det"])
    >>> stream.reader().read().identical(stream.to_dask())
    True
    """
    from intake_bluesky.catalogs.intake_readers.readers import BlueskyStreamReader

    if self.cat is None:
        raise UnsupportedOperation(f"{self._where} was not opened from a catalog, which its reader would name")
    if self._given["assets"] != self.cat.origin.assets:
        raise UnsupportedOperation(
            f"{self._where} was given assets of its own, which a reader does not hold: give root_map and handlers to "
            "the catalog"
        )
    options = {name: value for name, value in self._given.items() if name != "assets" and value is not None}
    run = self.cat.reader()
    return BlueskyStreamReader(**run.kwargs, stream=self._stream, metadata=run.metadata, **checked_options(options))
