"""What tab completion offers of catalogs, runs and streams: what users call."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Iterable
from functools import cache
from typing import ClassVar, Final

__all__ = ["OffersNames"]

OF_INTAKE: Final = frozenset({"description", "items", "keys", "metadata", "name", "save", "values"})
"""Names that classes have of Intake, and users call; what else there is of Intake works, and is not offered."""
MACHINERY: Final = frozenset({
    "arrangement", "configure_new", "container", "from_elsewhere", "from_location", "get", "origin", "parse",
    "partition_access", "selection", "signatures", "store_class", "suffixes", "trust", "url_schemes",
})  # fmt: skip
"""Names of ours that Intake, drivers and other rooms call."""


class OffersNames:
    """Has a `dir` without constants, without Intake's names that nobody needs, and without machinery."""

    _not_offered: ClassVar[frozenset[str]] = frozenset()
    """Further names of a class that are there, and not offered."""

    def _more_names(self) -> Iterable[str]:
        """What is reached as an attribute besides: entries by name."""
        return ()

    def __dir__(self) -> list[str]:
        if "IPython" in sys.modules:  # which asks `dir` before it completes
            _tell_ipython()
        names = {name for name in object.__dir__(self) if name.startswith("_") or self._is_offered(name)}
        return sorted(
            {*names, *(name for name in self._more_names() if name.isidentifier() and not keyword.iskeyword(name))}
        )

    def _is_offered(self, name: str) -> bool:
        if name in OF_INTAKE:
            return True
        if name.isupper() or name in MACHINERY or name in self._not_offered:
            return False
        owner = next((kind for kind in type(self).__mro__ if name in vars(kind)), None)
        return owner is not None and owner.__module__.partition(".")[0] not in ("intake", "dask")


@cache
def _tell_ipython() -> None:
    """Have IPython offer what `dir` gives, without all that the class has."""
    from IPython.utils.generics import complete_object

    complete_object.register(OffersNames, lambda one, _: dir(one))
