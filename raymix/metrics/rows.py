"""What every measure asks of the rows it is given."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raymix.errors import DataError


def checked_rows(rows: ArrayLike, name: str, least: int = 1) -> NDArray[np.float64]:
    """The rows as (N, D) float64; `name` is what an error calls them.

    Raises `DataError` for another number of axes, fewer than `least` rows, or a value that is not finite.
    """
    rows_ND = np.asarray(rows, dtype=np.float64)
    if rows_ND.ndim != 2:
        raise DataError(f"has shape {rows_ND.shape}", name, "give one flat row per sample: (N, D)")
    if len(rows_ND) < least:
        raise DataError(f"has {len(rows_ND)} rows", name, f"give at least {least}")
    finite_N = np.isfinite(rows_ND).all(axis=1)
    if not finite_N.all():
        raise DataError("holds a value that is not finite", f"{name}, row {int(finite_N.argmin())}", "drop or mend it")
    return rows_ND
