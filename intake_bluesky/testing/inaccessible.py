"""An array that raises when its values are read: lazy code never reads them."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["InaccessibleArray", "UnexpectedDataAccess"]


class UnexpectedDataAccess(AssertionError):
    """Values were read where only the structure may be."""


class InaccessibleArray:
    """Has a shape and a dtype, and refuses to give any value.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype-like

    Examples
    --------
    >>> import dask.array as da
    >>> image = da.from_array(InaccessibleArray((10, 4, 6), "u2"), chunks=(5, 4, 6))
    >>> image[2:].mean(axis=0).shape
    (4, 6)
    >>> image.sum().compute()
    Traceback (most recent call last):
    ...
    intake_bluesky.testing.inaccessible.UnexpectedDataAccess: values of an array (10, 4, 6) uint16
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike = float) -> None:
        self.shape = shape
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise UnexpectedDataAccess(f"values of an array {self.shape} {self.dtype}")

    __getitem__ = __array__ = __iter__ = __float__ = __int__ = __bool__ = _refuse
