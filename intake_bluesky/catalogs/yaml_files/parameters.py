"""Parameters that a YAML file declares for all of its sources, and the values that are chosen for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from intake.catalog.local import UserParameter

__all__ = ["SharesParameters"]


class SharesParameters:
    """A catalog of YAML files that keeps the values chosen for its parameters, ``cat(site="cluster")``.

    Intake has the file's own defaults back in their place as soon as it reads the file again, a minute later, and in a
    pickle: then sources would be looked for in another place than the one that was asked for.
    """

    user_parameters: dict[str, Any]
    _declared: Mapping[str, UserParameter] = {}  # as the file has them

    def _declare(self, declared: Mapping[str, UserParameter]) -> None:
        """Take the parameters of the file, but for those that were given another value."""
        self.user_parameters = {**declared, **self._chosen}
        self._declared = dict(declared)

    @property
    def _chosen(self) -> dict[str, Any]:
        """Those that are not as the file has them, by the user or by the file that names this one."""
        return {name: one for name, one in self.user_parameters.items() if one is not self._declared.get(name)}

    def configure_new(self, **kwargs: Any) -> Self:
        """The catalog with other arguments, or other values of its parameters."""
        new: Self = super().configure_new(**kwargs)  # type: ignore[misc]  # Intake's
        new.user_parameters.update({name: one for name, one in self._chosen.items() if name not in kwargs})
        return new

    __call__ = get = configure_new

    def __getitem__(self, key: Any) -> Any:
        """Open a source; ``cat["beamline.runs"]`` as ``cat["beamline"]["runs"]``, with the values chosen, too."""
        if isinstance(key, str) and key not in self:  # type: ignore[operator]  # Intake's
            for place in (place for place, letter in enumerate(key) if letter == "." and key[:place] in self):  # type: ignore[operator]
                return self[key[:place]][key[place + 1 :]]
        return super().__getitem__(key)  # type: ignore[misc]  # Intake's

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, "chosen": self._chosen}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rest = dict(state)
        chosen = rest.pop("chosen")
        super().__setstate__(rest)  # type: ignore[misc]  # Intake's
        self.user_parameters.update(chosen)
