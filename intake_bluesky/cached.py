"""A property that is computed once, without a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["cached_property"]

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:  # noqa: N801  # as functools names it
        """As `functools.cached_property` of Python 3.12 and newer.

        That of 3.11 holds one lock for all objects of a class while it computes: two runs are never described at once,
        and a process that was forked meanwhile waits for a thread that it does not have. Without it, threads that
        come together compute the same twice.

        Examples
        --------
        >>> class Box:
        ...     @cached_property
        ...     def content(self):
        ...         print("looked into")
        ...         return 5
        >>> box = Box()
        >>> box.content, box.content
        looked into
        (5, 5)
        """

        def __init__(self, function: Any) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            return value
