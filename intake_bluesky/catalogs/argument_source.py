"""Where the arguments of a catalog come from, and its store, from which a file from elsewhere sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from intake_bluesky.runtime.trust import is_local
from intake_bluesky.storage.contract import RunStore

__all__ = ["ArgumentSource", "KnowsItsSource"]


@dataclass(frozen=True, slots=True)
class ArgumentSource:
    """Where a catalog's arguments come from.

    Attributes
    ----------
    folder : str or None
        Folder or URL of the YAML file; None where Python code gave the arguments.
    trusted : bool
        Whether those of the file may name Python objects and folders of this machine.
    said : bool
        Whether the user gave ``trust=True``: then documents, too, may name any file.
    users : frozenset of str
        Names of the arguments that the user's own call passed: they are the user's word, whatever the file is.
    """

    folder: str | None = None
    trusted: bool = True
    said: bool = False
    users: frozenset[str] = frozenset()

    def trusts(self, argument: str) -> bool:
        """Whether an argument may name Python objects and folders of this machine."""
        return self.trusted or argument in self.users

    def passing(self, arguments: Mapping[str, Any]) -> ArgumentSource:
        """The source of a catalog that is made of this one's arguments and those that the user passes now."""
        said = self.said or bool(arguments.get("trust"))
        users = self.users | (arguments.keys() - MIXED)
        return replace(self, trusted=self.trusted or said, said=said, users=users)


MIXED: Final = frozenset({"metadata"})
"""Arguments into which what the file says is put beside what the user passes."""


def _passed_by_user(entry: Any, names: Iterable[str]) -> frozenset[str]:
    """Those of the arguments passed to an entry that have the user's values, and not the file's."""
    passed = frozenset(names) - MIXED
    if entry is None or getattr(entry, "passed_wins", False):
        return passed
    # Intake's own entries keep the value of the file where it declares a parameter of that name, or uses it in a
    # template; and Intake tells the names alone.
    file = repr([getattr(entry, part, None) for part in ("_open_args", "_metadata", "_driver")])
    declared = {getattr(one, "name", None) for one in getattr(entry, "_user_parameters", None) or ()}
    used = {name for name in passed if re.search(rf"{{[{{%].*\b{re.escape(name)}\b", file, re.DOTALL)}
    several = passed if isinstance(getattr(entry, "_driver", None), dict) else set()  # each has arguments of its own
    return passed - declared - used - several


class KnowsItsSource:
    """A catalog that knows from which file its arguments come, and how far that file is trusted."""

    _made_store: RunStore
    _checked_store: RunStore | None = None
    _source_kept: ArgumentSource | None = None
    _trust: bool = False
    _entry: Any
    _secrets: Mapping[str, Any]
    _captured_init_kwargs: Any
    cat: Any
    metadata: Any

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments that a YAML file from elsewhere gave, changed so that nothing of this user is sent with them.

        A driver whose store would by itself take passwords, tokens or certificates from the environment or from the
        user's files overrides this, and refuses places on this machine, too.

        Raises
        ------
        UntrustedName
            When an argument names what a file from elsewhere may not.
        """
        return arguments

    @property
    def store(self) -> RunStore:
        """The driver's store: all runs, without transforms.

        Raises
        ------
        UntrustedName
            When a YAML file from elsewhere names what it may not.
        """
        # At the first use, not before: Intake tells a catalog only after it was made from which file it comes.
        if self._checked_store is None:
            self._checked_store = self._made_store if self._source.trusted else self._store_from_elsewhere()
        return self._checked_store

    def _store_from_elsewhere(self) -> RunStore:
        given = {**self._captured_init_kwargs, **self._secrets}
        passed = {name: given.pop(name) for name in self._source.users if name in given}
        allowed = type(self).from_elsewhere(dict(given))
        # One that changes nothing is the store that was made.
        return self._made_store if allowed == given else type(self)(**{**allowed, **passed})._made_store

    @property
    def _source(self) -> ArgumentSource:
        """Where the arguments come from, by all that Intake records: YAML may give ``metadata`` and ``trust``."""
        if self._source_kept is not None:
            return self._source_kept
        entry, parent = self._entry, self.cat
        told = (
            getattr(entry, "_catalog_dir", None),
            getattr(parent, "_dir", None),
            self.metadata.get("catalog_dir"),
        )
        # All of the places have to be local: `metadata` in a YAML file from elsewhere may claim a local `catalog_dir`.
        places = [str(place) for place in told if place]
        local = all(map(is_local, places))
        trusted_file = getattr(entry, "trust", False)  # by the user's word to `open_catalog`
        # `_passed_kwargs` are Intake's record of what the user's own call passed: a file from elsewhere cannot trust
        # itself by an argument of its own.
        users = _passed_by_user(entry, self.__dict__.get("_passed_kwargs", ()))
        said = trusted_file or (bool(self._trust) and (local or "trust" in users))
        return ArgumentSource(places[0] if places else None, local or said, said, users)
