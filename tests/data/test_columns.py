"""Columns of Parquet files are known by name: which are data, which are labels, which are neither."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.errors import DataError

X = np.array([[1.5, 2.0], [3.5, 4.0], [5.5, 6.0], [7.5, 8.0]])


def _write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def _rows(source):
    return source.read(0, source.spec.num_rows).rows


@pytest.mark.parametrize(
    "index",
    [[3, 1, 0, 2], pd.Index([3, 1, 0, 2], name="id"), pd.MultiIndex.from_product([[0, 1], [5, 6]]), list("wxyz"), None],
    ids=["unnamed", "named", "several", "text", "range"],
)
def test_the_index_of_a_frame_is_none_of_the_data(tmp_path, open_file, index):
    pd.DataFrame(X, columns=["a", "b"], index=index).to_parquet(tmp_path / "a.parquet")
    source = open_file(tmp_path / "a.parquet")
    assert source.spec.columns == ("a", "b")
    np.testing.assert_array_equal(_rows(source), X)
    assert [note.endswith("index and left out") for note in source.notes] == [True] * (
        0 if index is None else 1 if not isinstance(index, pd.MultiIndex) else 2
    )


def test_an_index_is_known_by_pandas_own_name_where_its_metadata_is_lost(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", a=X[:, 0], b=X[:, 1], __index_level_0__=[3, 1, 0, 2])
    np.testing.assert_array_equal(_rows(open_file(path)), X)
    assert open_file(path, columns=("a", "__index_level_0__")).spec.row_shape == (2,)


@pytest.mark.parametrize("metadata", [b"{", b"[]", b"{}", json.dumps({"index_columns": {"a": 1}}).encode(), b"\xff"])
def test_odd_metadata_of_pandas_is_no_obstacle(tmp_path, open_file, metadata):
    table = pa.table({"a": X[:, 0], "b": X[:, 1]}).replace_schema_metadata({b"pandas": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    np.testing.assert_array_equal(_rows(open_file(tmp_path / "a.parquet"))[:, -1], X[:, 1])


def test_chosen_columns_are_read_in_their_order(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", b=X[:, 1], y=[0, 1, 0, 1], name=list("wxyz"), a=X[:, 0])
    source = open_file(path, columns=("a", "b"))
    np.testing.assert_array_equal(_rows(source), X)
    assert source.spec.columns == ("a", "b")
    assert source.spec.classes == ("0", "1")
    assert open_file(path, columns=("y", "a")).spec.classes == ()
    with pytest.raises(
        DataError, match=r"a\.parquet: has no column c; of its columns name some in data.columns: b, y, "
    ):
        open_file(path, columns=("a", "c"))
    with pytest.raises(DataError, match="column name holds string"):
        open_file(path, columns=("a", "name"))


def test_names_can_be_given_to_the_columns_of_an_array(tmp_path, open_file):
    np.save(tmp_path / "a.npy", X)
    assert open_file(tmp_path / "a.npy").spec.columns == ()
    assert open_file(tmp_path / "a.npy", columns=("a", "b")).spec.columns == ("a", "b")
    with pytest.raises(DataError, match=r"has rows of shape \(2,\) and 3 names of columns"):
        open_file(tmp_path / "a.npy", columns=("a", "b", "c"))


# ---- labels by name


@pytest.mark.parametrize(
    ("columns", "classes"),
    [
        ({"x": np.arange(50), "y": np.arange(50)[::-1]}, ()),
        ({"x": X[:, 0], "y": X[:, 1]}, ()),
        ({"a": X[:, 0], "y": X[:, 0]}, ()),
        ({"X": np.arange(50), "Y": np.arange(50)}, ()),
        ({"source": np.arange(50), "target": np.arange(50)}, ()),
        ({"x": X[:, 0], "y": [0, 1, 0, 1]}, ("0", "1")),
        ({"x": [5, 6, 7, 8], "y": [0, 1, 0, 1]}, ("0", "1")),
        ({"a": X[:, 0], "y": [0.0, 1.0, 0.0, 1.0]}, ("0", "1")),
        ({"a": np.arange(50), "y": np.arange(50)}, tuple(map(str, range(50)))),
        ({"a": X[:, 0], "Class": ["b", "a", "b", "b"]}, ("a", "b")),
    ],
    ids=["pixels", "plane", "fractions", "capitals", "edges", "label", "few", "whole fractions", "alone", "text"],
)
def test_a_coordinate_is_no_label_for_all_its_name(tmp_path, open_file, columns, classes):
    source = open_file(_write(tmp_path / "a.parquet", **columns))
    assert source.spec.classes == classes
    assert source.spec.row_shape == (1 if classes else 2,)
    (note,) = source.notes
    assert note.startswith(
        f"column {list(columns)[1]} is {'taken for labels by its name' if classes else 'read as data'}"
    )


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        ([1, 0, 1, 1], ["cat", "dog"], ("cat", "dog")),
        ([2, 0, 2, 2], ["cat", "dog", "owl"], ("cat", "owl")),
        ([1, -1, 1, 0], ["cat", "dog"], ("-1", "0", "1")),
        ([1, 0, 1, 5], ["cat", "dog"], ("0", "1", "5")),
        ([1, 0, 1, 1], ["cat", "cat"], ("0", "1")),
        ([1, 0, 1, 1], {"a": 1}, ("0", "1")),
    ],
)
def test_classes_have_the_names_that_the_file_gives_them(tmp_path, open_file, labels, names, classes):
    told = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
    table = pa.table({"a": X[:, 0], "label": labels}).replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_file(tmp_path / "a.parquet")
    assert source.spec.classes == classes
    np.testing.assert_array_equal(source.read(0, 4).labels, np.unique(labels, return_inverse=True)[1])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"target": [0, 1, 0, 1], "label": [0, 1, 0, 1]}, "no labels are taken: has the label columns target, label"),
        ({"target": [0.5, 1.5, 2.5, 3.5]}, "no labels are taken: 0.5 is no class"),
        ({"label": [[0], [1], [0], [1]]}, "no labels are taken: holds list<element: int64>"),
        ({"label": [0, None, 1, 1]}, "no labels are taken: column label has no value"),
    ],
)
def test_a_column_that_is_no_label_can_be_put_aside(tmp_path, open_file, more, said):
    path = _write(tmp_path / "a.parquet", a=X[:, 0], **more)
    with pytest.raises(DataError):
        open_file(path)
    source = open_file(path, columns=("a",))
    assert source.spec.classes == ()
    assert source.notes == (said,)


def test_decimals_can_be_labels(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", a=X[:, 0], label=pa.array([7, 5, 7, 7]).cast(pa.decimal128(38, 0)))
    assert open_file(path).spec.classes == ("5", "7")


def test_one_of_several_columns_of_images_is_chosen(tmp_path, open_file):
    def png(value):
        file = io.BytesIO()
        Image.fromarray(np.full((3, 4), value, np.uint8)).save(file, "PNG")
        return file.getvalue()

    path = _write(tmp_path / "a.parquet", image=[png(1), png(2)], depth=[png(3), png(4)])
    with pytest.raises(DataError, match=r"image columns image, depth; name one of them in data\.columns"):
        open_file(path)
    source = open_file(path, columns=("depth",))
    assert source.read(0, 2).rows[:, 0, 0, 0].tolist() == [3, 4]
    assert source.settings["columns"] == ("depth",)


# ---- lists, decimals


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)])
def test_a_column_of_lists_is_a_vector(tmp_path, open_file, kind):
    path = _write(tmp_path / "a.parquet", id=[0, 1, 2, 3], embedding=pa.array(X.tolist(), kind), label=list("abab"))
    source = open_file(path)
    np.testing.assert_array_equal(_rows(source), np.column_stack([range(4), X]))
    np.testing.assert_array_equal(source.read(1, 3).rows[:, 1:], X[1:3])
    assert source.spec.columns == ("id", "embedding")
    assert source.spec.row_shape == (3,)
    assert open_file(path, columns=("embedding",)).spec.row_shape == (2,)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[1.0, 2.0], [3.0]], "row 1: column v has 1 values, the first row 2"),
        ([[1.0, 2.0], None], "row 1: column v has no value"),
        ([None, [1.0, 2.0]], "row 0: column v has no value"),
        ([[1.0, 2.0], [3.0, None]], "row 1: column v has no value"),
        (pa.array([[], []], pa.list_(pa.float32())), "row 0: column v is empty; give lists of one length"),
        ([["a"], ["b"]], "column v holds list<element: string>"),
        ([[[1.0]], [[2.0]]], "column v holds list<element: list<element: double>>"),
    ],
)
def test_lists_that_are_no_vectors_are_refused(tmp_path, open_file, lists, message):
    with pytest.raises(DataError, match=message):
        _rows(open_file(_write(tmp_path / "a.parquet", v=lists)))


def test_decimals_are_numbers(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", a=pa.array([1.25, 2.5]).cast(pa.decimal128(10, 2)))
    np.testing.assert_array_equal(_rows(open_file(path)), [[1.25], [2.5]])


# ---- files that were written apart


def test_files_in_another_order_and_of_fitting_types_are_one_data_set(tmp_path, open_file):
    _write(tmp_path / "0.parquet", a=X[:2, 0].astype(np.float32), b=[2, 4], label=["u", "v"])
    nullable = pa.schema([pa.field("label", pa.large_string()), pa.field("b", pa.int64(), False), ("a", pa.float64())])
    pq.write_table(pa.table({"label": ["v", "w"], "b": [6, 8], "a": X[2:, 0]}, nullable), tmp_path / "1.parquet")
    source = open_file(tmp_path)
    np.testing.assert_array_equal(_rows(source), X)
    assert source.spec.columns == ("a", "b")
    assert source.spec.dtype == "float64"
    assert source.spec.classes == ("u", "v", "w")
    np.testing.assert_array_equal(source.read(0, 4).labels, [0, 1, 1, 2])


def test_lists_of_one_length_in_files_of_several_kinds_are_one_column(tmp_path, open_file):
    _write(tmp_path / "0.parquet", v=pa.array(X[:2].tolist(), pa.list_(pa.float32())))
    _write(tmp_path / "1.parquet", v=pa.array(X[2:].tolist(), pa.list_(pa.float64(), 2)))
    np.testing.assert_array_equal(_rows(open_file(tmp_path)), X)


def test_a_column_without_a_value_in_one_file_names_its_row(tmp_path, open_file):
    _write(tmp_path / "0.parquet", a=[1.0, 2.0])
    _write(tmp_path / "1.parquet", a=pa.nulls(2))
    with pytest.raises(DataError, match=r"1\.parquet, row 0: column a has no value"):
        _rows(open_file(tmp_path))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": ["x"]}, r"1\.parquet: column a holds string, in .*0\.parquet double; give files of one kind of values"),
        ({"b": [1.0]}, r"1\.parquet: lacks the column a; give files of the same columns"),
        ({"a": [1.0], "b": [1.0]}, r"0\.parquet: lacks the column b; give files of the same columns"),
    ],
)
def test_files_of_other_columns_are_refused(tmp_path, open_file, other, message):
    _write(tmp_path / "0.parquet", a=[1.0])
    _write(tmp_path / "1.parquet", **other)
    with pytest.raises(DataError, match=message):
        open_file(tmp_path)


def test_partitions_are_read_without_their_keys(tmp_path, open_file):
    for number, row in enumerate(X):
        _write(tmp_path / f"year={number // 2}" / f"month={number}" / "part-0.parquet", a=row[:1], b=row[1:])
    (tmp_path / "_SUCCESS").touch()
    _write(tmp_path / "_temporary" / "x=1" / "part-0.parquet", a=[9.0], b=[9.0])
    _write(tmp_path / ".hidden=1" / "part-0.parquet", a=[9.0], b=[9.0])
    source = open_file(tmp_path)
    np.testing.assert_array_equal(_rows(source), X)
    assert source.notes == ("keys of the folders are left out: year, month",)
    assert source.where(3).endswith("year=1/month=3/part-0.parquet, row 0")
