"""Sources of a federation as they are given, and how each is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intake.catalog.local import YAMLFileCatalog

from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.catalogs.yaml_files.catalog import YAMLCatalog, open_catalog
from intake_bluesky.catalogs.yaml_files.entries import SourceParser
from intake_bluesky.catalogs.yaml_files.named_entry import YAML_ENTRY, named_entry
from intake_bluesky.errors import CatalogNotFound, PluginError, StoreUnavailable, UntrustedName
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.trust import TRUST, check_remote, origin_of, resolve_against

__all__ = ["GivenSource"]


@dataclass(frozen=True, slots=True, eq=False)
class GivenSource:
    """One source, which is opened when it is called.

    Attributes
    ----------
    name : str
        In the federation.
    given : BlueskyCatalog, mapping or str
        A catalog; a source as in a YAML file, with ``driver`` and ``args``; or the name of one: of the same YAML file,
        of another, ``lab.yml:runs``, or of a catalog that is installed.
    parent : YAMLFileCatalog or None
        The file that names the federation, as Intake or this package opens it.
    folder : str or None
        That of the file.
    trusted, said : bool
        Whether the file is of this machine, and whether the user said that it is to be trusted.
    parameters : mapping
        Values for parameters that the file of a source that is named declares for all of its sources.
    owner : str
        What it is a source of, in messages.
    """

    name: str
    given: Any
    parent: YAMLFileCatalog | None = None
    folder: str | None = None
    trusted: bool = True
    said: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    owner: str = "a federation"

    @property
    def address(self) -> str:
        """What tells it from all others, without secrets."""
        if isinstance(self.given, str):
            file = YAML_ENTRY.fullmatch(self.given)
            place = resolve_against(self.folder, file["file"]) if file else self._file
            return shown(f"{place}:{file['entry'] if file else self.given}")
        if isinstance(self.given, BlueskyCatalog):
            return f"{self.name} ({type(self.given).__name__} {id(self.given):#x})"
        return f"{self._file}: source {self.name} {id(self.given):#x}"

    @property
    def _file(self) -> str:
        return "" if self.parent is None else str(self.parent.path)

    def lasting(self) -> Any:
        """The same as a file in another place may have it; of a catalog how that is opened.

        Raises
        ------
        UnsupportedOperation
            When it is a catalog that was made of a store object.
        """
        if isinstance(self.given, BlueskyCatalog):
            (source,) = self.given._yaml()["sources"].values()
            return source
        if not isinstance(self.given, str):
            return self.given
        file = YAML_ENTRY.fullmatch(self.given)
        if file or self._is_beside:
            place = resolve_against(self.folder, file["file"]) if file else self._file
            entry = f":{file['entry']}" if file and file["entry"] else "" if file else f":{self.given}"
            return f"{place if '://' in place else os.path.abspath(place)}{entry}"
        return self.given

    @property
    def _is_beside(self) -> bool:
        """Whether it names a source of the same file."""
        return self.parent is not None and self.given.partition(".")[0] in list(self.parent)

    def __call__(self) -> BlueskyCatalog:
        """Open it.

        Raises
        ------
        StoreUnavailable
            When there is none of that name, or it is no catalog of runs.
        UntrustedName
            When a file from elsewhere names what it may not.
        WrongArgument
            When it lacks arguments that its driver needs.
        """
        try:
            found = self.opened()
        except TypeError as error:
            if isinstance(error, WrongArgument):
                raise
            # As Python says that an argument is missing, which names the class, and not which of several sources it is.
            raise WrongArgument(
                f"source {self.name!r} of {self.owner} has not the arguments it needs: {error}"
            ) from error
        if not isinstance(found, BlueskyCatalog):
            raise StoreUnavailable(
                f"source {self.name!r} of {self.owner} is a {type(found).__name__}, and no catalog of Bluesky runs"
            )
        return found

    def opened(self) -> Any:
        """Open it, whatever it is; raises as it does when it is called."""
        if isinstance(self.given, BlueskyCatalog):
            return self.given
        if isinstance(self.given, Mapping):
            return self._inline(dict(self.given))
        file = YAML_ENTRY.fullmatch(self.given)
        if file:
            return self._of_file(file["file"], file["entry"])
        if self._is_beside:
            return named_entry(self._with_parameters(self.parent), self.given, self._file)
        return self._installed()

    def _with_parameters(self, catalog: Any) -> Any:
        """A file with the values of parameters that are for it: as its own defaults, and trusted as little."""
        values = {name: value for name, value in self.parameters.items() if name in catalog.user_parameters}
        return catalog(**values) if values else catalog

    def _inline(self, given: dict[str, Any]) -> Any:
        """A source that is described in the place of a name, as one of its file."""
        parent = self.parent
        if parent is not None and given.get("parameters"):  # by now its templates were filled in without them
            raise PluginError(
                f"source {self.name!r} of {self.owner} declares parameters, which are lost there: declare them for all "
                f"of the file, in its metadata, or beside the args of {self.owner}; or name the source"
            )
        parser = SourceParser(
            {"sources": {self.name: given}},
            trusted=self.trusted,
            trust=self.said,
            context={"root": self.folder or ""},
            getenv=True if parent is None else parent.getenv,
            getshell=False if parent is None else parent.getshell,
        )
        if parser.errors:
            # Not what it quotes: arguments may hold secrets.
            raise PluginError(f"source {self.name!r} of {self.owner} is no source: it takes driver and args")
        (entry,) = parser.data["data_sources"]
        entry._catalog = parent
        entry._filesystem = None if parent is None else parent.filesystem
        return entry()  # not by `get`: then the catalog would not know by which entry it is trusted

    def _of_file(self, path: str, entry: str | None) -> Any:
        place = resolve_against(self.folder, path)
        if not self.trusted:
            check_remote(place, f"the file of source {self.name!r}")
        options: dict[str, Any] = {}
        # What the user said of the file that names it is for the same server, and for no other.
        if self.parent is not None and "://" in place and origin_of(place) == origin_of(str(self.parent.path)):
            said = isinstance(self.parent, YAMLCatalog) and self.parent.getenv  # of Intake's it is so if nobody says
            options = {"storage_options": self.parent.storage_options, **({"getenv": True} if said else {})}
        catalog = self._with_parameters(open_catalog(place, trust=self.said, **options))
        return named_entry(catalog, entry, place)

    def _installed(self) -> Any:
        where = f"in {self._file}" if self._file else "installed"
        if not self.trusted:
            raise UntrustedName(f"there is no source {self.given!r} {where}, which may name no other. {TRUST}")
        from intake_bluesky.catalogs import catalog  # late: listing what is installed takes longest

        try:
            return catalog[self.given]
        except CatalogNotFound as error:
            raise StoreUnavailable(
                f"source {self.name!r} is {self.given!r}, which is no source {where}: {error}"
            ) from None
