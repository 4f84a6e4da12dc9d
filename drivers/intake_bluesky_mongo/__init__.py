"""Runs in MongoDB as Intake catalogs: ``bluesky-mongo-normalized-catalog`` and ``bluesky-mongo-embedded-catalog``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import MissingDependency
from intake_bluesky.storage.buffered_insert import Buffering

if TYPE_CHECKING:
    from intake_bluesky_mongo.embedded import EmbeddedStore
    from intake_bluesky_mongo.normalized import NormalizedStore

__all__ = [
    "BlueskyMongoEmbeddedCatalog",
    "BlueskyMongoNormalizedCatalog",
    "Buffering",
    "EmbeddedStore",
    "NormalizedStore",
]

_HOMES = {"NormalizedStore": "normalized", "EmbeddedStore": "embedded"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("pymongo", "bson"):
            raise
        raise MissingDependency.of("pymongo", extra="mongo", purpose="to read runs in MongoDB") from error


def _shown(database: Any) -> str:
    from intake_bluesky_mongo.connections import Connection

    return Connection(database, "the database").shown


def _from_elsewhere(arguments: dict[str, Any], *names: str) -> dict[str, Any]:
    """Addresses of servers alone, which are sent nothing but what the URIs hold; and nothing is written."""
    from intake_bluesky_mongo.address import MongoAddress

    given = {name: arguments[name] for name in names if isinstance(arguments.get(name), str)}
    addresses = {name: MongoAddress.from_elsewhere(uri, name) for name, uri in given.items()}
    return {**arguments, **addresses, **({"writable": False} if arguments.get("writable") else {})}


def _unused(auth: Any) -> None:
    """What may be shown of an argument that nobody uses."""


class BlueskyMongoNormalizedCatalog(BlueskyCatalog):
    """The runs in a database of databroker; every other argument is one of `BlueskyCatalog`.

    Parameters
    ----------
    metadatastore_db : str or pymongo.database.Database
        A URI that names a database, ``mongodb://user:password@host:27017/database?authSource=admin``.
    asset_registry_db : str or pymongo.database.Database, optional
        Where resources and datums are; by default the same database.
    find_kwargs : mapping, optional
        Options of pymongo's ``find`` that change how runs are found: ``max_time_ms``, ``batch_size``, ``hint``,
        ``comment``, ``allow_disk_use``.
    auth : optional
        Taken so that YAML files written for databroker open, and never used: it is for Intake's server.
    writable : bool
        Whether runs may be written, and statistics beside them; without it nothing in the database changes.
    event_pages : bool
        Write events in pages, which are smaller and read faster, and which databroker does not find.
    """

    name = "bluesky-mongo-normalized-catalog"
    url_schemes = ("mongodb", "mongodb+srv")
    WITHOUT_SECRETS = {
        **BlueskyCatalog.WITHOUT_SECRETS, "metadatastore_db": _shown, "asset_registry_db": _shown, "auth": _unused,
    }  # fmt: skip

    def __init__(
        self,
        metadatastore_db: Any,
        asset_registry_db: Any = None,
        *,
        find_kwargs: Mapping[str, Any] | None = None,
        auth: Any = None,
        writable: bool = False,
        event_pages: bool = False,
        **kwargs: Any,
    ) -> None:
        make = __getattr__("NormalizedStore")
        store = make(
            metadatastore_db, asset_registry_db, find_kwargs=find_kwargs, writable=writable, event_pages=event_pages
        )
        super().__init__(store, **kwargs)

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """As for databases on servers."""
        return _from_elsewhere(arguments, "metadatastore_db", "asset_registry_db")


class BlueskyMongoEmbeddedCatalog(BlueskyCatalog):
    """The runs in a database of suitcase-mongo's embedded serializer; other arguments are those of `BlueskyCatalog`.

    Parameters
    ----------
    datastore_db : str or pymongo.database.Database
        A URI that names a database.
    find_kwargs, auth, writable
        As in `BlueskyMongoNormalizedCatalog`.
    """

    name = "bluesky-mongo-embedded-catalog"
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "datastore_db": _shown, "auth": _unused}

    def __init__(
        self,
        datastore_db: Any,
        *,
        find_kwargs: Mapping[str, Any] | None = None,
        auth: Any = None,
        writable: bool = False,
        **kwargs: Any,
    ) -> None:
        store = __getattr__("EmbeddedStore")(datastore_db, find_kwargs=find_kwargs, writable=writable)
        super().__init__(store, **kwargs)

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """As for databases on servers."""
        return _from_elsewhere(arguments, "datastore_db")
