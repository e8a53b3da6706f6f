"""What callers hand over as rows and labels (frames, tensors, lists), as arrays of numbers.

Frames are known by what they can do, so that no library of frames is imported here. Shapes: n rows, D columns.
"""

import numbers
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raymix.data.faults import listing, reason_of
from raymix.data.layout import row_dtype
from raymix.data.limits import MAX_LABEL
from raymix.errors import DataError

_FILL = "fill it or drop the row"


class Rows(NamedTuple):
    """Rows as they are handed over."""

    values: NDArray[Any]
    """(n, ...) numbers."""
    columns: tuple[str, ...]
    """Names of the columns; empty where they have none, or some that are no text."""


def as_rows(rows: Any, place: str, columns: Sequence[str] = ()) -> Rows:
    """Rows (n, ...) of an array, a tensor, nested lists, or a frame of pandas, polars or pyarrow.

    `columns` are wanted by name, in this order, of rows whose columns have names; others are left out. Raises
    `DataError` for missing values, text, complex numbers, sparse matrices and columns that are not there.
    """
    frame = _columns_of(rows)
    if frame is None:
        return Rows(_numbers(rows, place), ())
    names, parts = frame
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"has several columns {twice[0]!r}", place, "give each column a name of its own")
    if columns and all(isinstance(name, str) for name in names):
        parts, names = _chosen(names, parts, columns, place), list(columns)
    if not parts:
        raise DataError("has no columns", place, "give at least one")
    places = [f"{place}, column {name}" for name in names]
    arrays = [_numbers(part, where) for part, where in zip(parts, places, strict=True)]
    dtypes = [row_dtype(array.dtype, where) for array, where in zip(arrays, places, strict=True)]
    flat = [array.reshape(len(array), -1) for array in arrays]
    values = np.concatenate(flat, 1, dtype=np.result_type(*dtypes), casting="unsafe")
    return Rows(values, tuple(names) if all(isinstance(name, str) for name in names) else ())


def as_labels(labels: Any, place: str) -> NDArray[Any]:
    """Labels (n,) of an array (n,) or (n, 1), a tensor, a list, a column or a frame of one, as numbers or text.

    Raises `DataError` for missing ones and for several columns.
    """
    frame = _columns_of(labels)
    if frame is not None:
        if len(frame[1]) != 1:
            raise DataError(f"has {len(frame[1])} columns", place, "give one label per row")
        labels = frame[1][0]
    if isinstance(labels, (list, tuple)) and not any(hasattr(label, "detach") for label in labels):
        labels = np.array(labels, dtype=object)  # else numbers and missing values beside text became text
    values = _plain(labels, place)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    missing = np.array([_is_missing(value) for value in values.flat]) if values.dtype == object else values != values
    if missing.any():
        raise DataError("has no label", f"{place}, row {int(missing.argmax())}", _FILL)
    if values.dtype != object:
        return values
    if all(isinstance(value, (numbers.Real, np.bool_)) for value in values.flat):
        found = np.array(values.tolist())
        if found.dtype != object:  # whole numbers may be larger than any type of numpy's
            return found
    odd = next((value for value in values.flat if isinstance(value, (list, tuple, dict, set, np.ndarray))), None)
    if odd is not None:
        raise DataError(f"holds {type(odd).__name__} objects", place, "give numbers or text as labels")
    names = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.flat]
    if any(len(name) > MAX_LABEL for name in names):
        raise DataError("a label is too long", place, f"give names of at most {MAX_LABEL} characters")
    return np.array(names, dtype=str).reshape(values.shape)


def _columns_of(frame: Any) -> tuple[list[Any], list[Any]] | None:
    """Names and columns of a frame; None of what is none."""
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):  # pandas
        return list(frame.columns), [frame.iloc[:, index] for index in range(frame.shape[1])]
    if hasattr(frame, "get_columns"):  # polars
        return list(frame.columns), list(frame.get_columns())
    if hasattr(frame, "column_names"):  # pyarrow
        return list(frame.column_names), list(frame.columns)
    if isinstance(frame, np.ndarray) and frame.dtype.names:
        return list(frame.dtype.names), [frame[name] for name in frame.dtype.names]
    return None


def _chosen(names: Sequence[str], parts: Sequence[Any], columns: Sequence[str], place: str) -> list[Any]:
    missing = [name for name in columns if name not in names]
    if missing:
        what = f"has no column {listing(missing)}"
        raise DataError(what, place, f"give {listing(columns)}")
    return [parts[names.index(name)] for name in columns]


def _numbers(values: Any, place: str) -> NDArray[Any]:
    """(n, ...) numbers of rows, or of one column; lists in a column become an axis."""
    array = _plain(values, place)
    if array.ndim == 0:
        raise DataError(f"is a {type(values).__name__}", place, "give an array of rows or a frame")
    if array.dtype == object and array.ndim == 1 and len(array) and isinstance(array[0], (list, tuple, np.ndarray)):
        array = _plain(array.tolist(), place)
    if array.dtype.kind == "c":
        raise DataError("holds complex numbers", place, "give real and imaginary parts as columns")
    if array.dtype.kind in "US":
        raise DataError("holds text", place, "drop it or turn it into numbers")
    if array.dtype != object:
        return array
    for index, value in np.ndenumerate(array):
        if isinstance(value, (numbers.Number, np.bool_)) and not isinstance(value, complex) and value == value:
            continue
        if _is_missing(value):
            raise DataError("has no value", f"{place}, row {index[0]}", _FILL)
        what = "holds text" if isinstance(value, (str, bytes)) else f"holds {type(value).__name__} objects"
        raise DataError(what, f"{place}, row {index[0]}", "give numbers of one shape per row")
    return array.astype(np.float64)


def _plain(values: Any, place: str) -> NDArray[Any]:
    """An array of whatever lies in memory."""
    if hasattr(values, "detach"):
        values = _of_tensor(values, place)
    elif isinstance(values, (list, tuple)) and any(hasattr(value, "detach") for value in values):
        values = [_of_tensor(value, place) if hasattr(value, "detach") else value for value in values]
    elif hasattr(values, "nnz") and hasattr(values, "toarray"):
        raise DataError("is a sparse matrix", place, "give its .toarray()")
    elif isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        if masked.any():
            raise DataError("has no value", f"{place}, row {int(np.argwhere(masked)[0][0])}", _FILL)
        values = values.data
    try:
        return np.asarray(values)
    except Exception as error:  # rows of several lengths, foreign objects that refuse
        what = f"cannot be read as an array ({reason_of(error)})"
        raise DataError(what, place, "give numbers of one shape per row") from None


def _of_tensor(tensor: Any, place: str) -> NDArray[Any]:
    """A tensor of any device, with or without gradient; NumPy lacks bfloat16, float32 holds it."""
    if str(tensor.layout) != "torch.strided":
        raise DataError("is a sparse tensor", place, "give its .to_dense()")
    plain = tensor.detach().cpu()
    return np.asarray((plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy())


def _is_missing(value: Any) -> bool:
    """None, NaN, NaT, pandas' NA."""
    named = value is None or type(value).__name__ in ("NAType", "NaTType")
    return named or bool(isinstance(value, numbers.Number) and value != value)
