"""Rows and labels as callers have them: frames, tensors, lists, objects."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy import sparse

from raymix.data.frames import as_labels, as_rows
from raymix.errors import DataError

X = np.array([[1.5, 2.0], [3.5, 4.0], [5.5, 6.0]])


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(X, columns=["a", "b"]),
        pd.DataFrame(X, columns=["a", "b"], index=[7, 3, 5]),
        pd.DataFrame({"a": pd.array(X[:, 0], dtype="Float64"), "b": X[:, 1]}),
        pd.DataFrame({"a": pd.array(X[:, 0], dtype="Float32"), "b": pd.array([2, 4, 6], dtype="Int64")}),
        pd.DataFrame({"a": X[:, 0].astype(object), "b": X[:, 1].astype(np.int8)}),
        pd.DataFrame({"a": pd.arrays.SparseArray(X[:, 0]), "b": pd.Categorical(X[:, 1])}),
        pa.table({"a": X[:, 0], "b": X[:, 1].astype(np.int32)}),
        pa.record_batch({"a": X[:, 0], "b": X[:, 1]}),
        np.array([tuple(row) for row in X], dtype=[("a", "f8"), ("b", "f4")]),
    ],
    ids=["plain", "index", "nullable", "nullable integers", "objects", "sparse", "arrow", "batch", "structured"],
)
def test_frames_become_their_numbers_and_names(frame):
    rows, columns = as_rows(frame, "the rows")
    np.testing.assert_array_equal(rows, X)
    assert rows.dtype.kind == "f"
    assert columns == ("a", "b")


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [0, 1, 2], "b": list(X)}),
        pa.table({"a": [0, 1, 2], "b": X.tolist()}),
        pd.DataFrame({"a": [0, 1, 2], "b": X.tolist()}),
    ],
    ids=["arrays", "arrow", "lists"],
)
def test_lists_of_one_length_in_a_column_are_taken_as_parquet_files_have_them(frame):
    np.testing.assert_array_equal(as_rows(frame, "the rows").values, np.column_stack([range(3), X]))


def test_polars_frames_become_their_numbers_and_names():
    polars = pytest.importorskip("polars")
    rows, columns = as_rows(polars.DataFrame({"a": X[:, 0], "b": [2, 4, 6]}), "the rows")
    np.testing.assert_array_equal(rows, X)
    assert columns == ("a", "b")


@pytest.mark.parametrize(
    "rows",
    [
        X.tolist(),
        X.astype(object),
        [[Decimal("1.5"), 2], [Decimal("3.5"), 4], [Decimal("5.5"), 6]],
        torch.tensor(X),
        torch.tensor(X, requires_grad=True),
        torch.tensor(X).to(torch.bfloat16),
        torch.tensor(X).T.contiguous().T,
        list(torch.tensor(X, requires_grad=True)),
        np.ma.masked_array(X, mask=False),
        pd.DataFrame(X),
    ],
    ids=["list", "objects", "decimals", "tensor", "gradient", "bfloat16", "strided", "tensors", "masked", "numbered"],
)
def test_rows_without_names_become_their_numbers(rows):
    found = as_rows(rows, "the rows")
    np.testing.assert_array_equal(found.values, X)
    assert found.columns == ()


def test_booleans_count_as_numbers():
    frame = pd.DataFrame({"a": pd.array([True, False], dtype="boolean"), "b": [False, True]})
    np.testing.assert_array_equal(as_rows(frame, "the rows").values, [[1, 0], [0, 1]])


def test_columns_are_matched_by_name():
    frame = pd.DataFrame({"b": X[:, 1], "id": ["x", "y", "z"], "a": X[:, 0]})
    rows, columns = as_rows(frame, "the rows", ("a", "b"))
    np.testing.assert_array_equal(rows, X)
    assert columns == ("a", "b")
    with pytest.raises(DataError, match=r"^the rows: has no column c; give a, c$"):
        as_rows(frame, "the rows", ("a", "c"))
    np.testing.assert_array_equal(as_rows(X, "the rows", ("a", "b")).values, X)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (sparse.csr_array(X), "the rows: is a sparse matrix; give its .toarray()"),
        (torch.tensor(X).to_sparse(), "the rows: is a sparse tensor; give its .to_dense()"),
        (X + 1j, "the rows: holds complex numbers; give real and imaginary parts as columns"),
        (torch.tensor(X + 1j), "the rows: holds complex numbers; give real and imaginary parts as columns"),
        ([[1, 2], [3, None]], "the rows, row 1: has no value; fill it or drop the row"),
        (np.ma.masked_equal(X, 4.0), "the rows, row 1: has no value; fill it or drop the row"),
        ([["a"], ["b"]], "the rows: holds text; drop it or turn it into numbers"),
        (np.array([[1, "a"]], dtype=object), "the rows, row 0: holds text; give numbers of one shape per row"),
        (np.array([[1, {}]], dtype=object), "the rows, row 0: holds dict objects; give numbers of one shape per row"),
        (pd.DataFrame({"a": [1.0], "b": ["x"]}), "the rows, column b, row 0: holds text; give numbers of one shape"),
        (
            pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}),
            "the rows, column when: values are of type datetime64",
        ),
        (pd.DataFrame(X, columns=["a", "a"]), "the rows: has several columns 'a'; give each column a name of its own"),
        (pd.DataFrame(index=[0, 1]), "the rows: has no columns; give at least one"),
        ([[1, 2], [3]], "the rows: cannot be read as an array"),
        ({"a": [1.0], "b": [2.0]}, "the rows: is a dict; give an array of rows or a frame"),
        (pd.DataFrame({"e": [[1.0, 2.0], [3.0]]}), "the rows, column e: cannot be read as an array"),
    ],
    ids=str,
)
def test_what_is_no_rows_of_numbers_is_refused_in_a_line(rows, message):
    with pytest.raises(DataError) as refused:
        as_rows(rows, "the rows")
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["b", "a", "b"], dtype=object),
        np.array([b"b", b"a", b"b"], dtype=object),
        ["b", "a", "b"],
        pd.Series(["b", "a", "b"]),
        pd.Series(["b", "a", "b"], dtype="string"),
        pd.Series(pd.Categorical(["b", "a", "b"])),
        pd.Categorical(["b", "a", "b"]),
        pd.DataFrame({"kind": ["b", "a", "b"]}),
        np.array([["b"], ["a"], ["b"]]),
        pa.chunked_array([["b"], ["a", "b"]]),
        pa.array(["b", "a", "b"]).dictionary_encode(),
    ],
    ids=str,
)
def test_labels_of_text_are_text_however_they_come(labels):
    found = as_labels(labels, "the labels")
    assert found.dtype.kind == "U"
    assert found.tolist() == ["b", "a", "b"]


@pytest.mark.parametrize(
    "labels",
    [
        [2, 1, 2],
        np.array([[2], [1], [2]]),
        np.array([2, 1, 2], dtype=object),
        torch.tensor([2, 1, 2]),
        pd.Series([2, 1, 2], dtype="Int64"),
        pd.Series(pd.Categorical([2, 1, 2])),
        pd.DataFrame({"kind": [2, 1, 2]}, index=[5, 6, 7]),
    ],
    ids=str,
)
def test_labels_of_numbers_are_numbers_however_they_come(labels):
    found = as_labels(labels, "the labels")
    assert found.dtype.kind == "i"
    assert found.tolist() == [2, 1, 2]


def test_labels_of_several_kinds_are_text():
    assert as_labels([1, "a", True], "the labels").tolist() == ["1", "a", "True"]
    assert as_labels([1, 2**70], "the labels").tolist() == ["1", str(2**70)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", None], "the labels, row 1: has no label; fill it or drop the row"),
        (["a", float("nan")], "the labels, row 1: has no label; fill it or drop the row"),
        ([1, float("nan")], "the labels, row 1: has no label; fill it or drop the row"),
        ([[1], [2, 3]], "the labels: holds list objects; give numbers or text as labels"),
        (pd.Series([np.ones(2), np.ones(2)]), "the labels: holds ndarray objects; give numbers or text as labels"),
        (np.array(["a", np.nan], dtype=object), "the labels, row 1: has no label; fill it or drop the row"),
        (pd.Series([1, None], dtype="Int64"), "the labels, row 1: has no label; fill it or drop the row"),
        (pd.Series(pd.Categorical([None, "a"])), "the labels, row 0: has no label; fill it or drop the row"),
        (pd.DataFrame({"a": [1], "b": [2]}), "the labels: has 2 columns; give one label per row"),
        (sparse.csr_array([[1]]), "the labels: is a sparse matrix; give its .toarray()"),
        (
            np.array(["x" * 1001], dtype=object),
            "the labels: a label is too long; give names of at most 1000 characters",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_unfit_labels_are_refused_in_a_line(labels, message):
    with pytest.raises(DataError) as refused:
        as_labels(labels, "the labels")
    assert str(refused.value) == message
