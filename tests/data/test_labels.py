"""Labels from files of their own, and how classes are numbered."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raymix.data.rows import encode_labels
from raymix.errors import DataError

VALUES = [7, -1, 7, 30]


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((4, 2), np.float32))
    return tmp_path / "rows.npy"


@pytest.mark.parametrize("form", ["npy", "idx1-ubyte", "csv", "txt", "parquet", "headed.csv"])
def test_label_file_numbers_classes_in_order(tmp_path, open_file, idx_bytes, rows, form):
    path = tmp_path / f"labels.{form}"
    if form == "npy":
        np.save(path, np.array(VALUES))
    elif form == "idx1-ubyte":
        path.write_bytes(idx_bytes(np.array(VALUES, np.int8)))
    elif form == "parquet":
        pq.write_table(pa.table({"id": list("abcd"), "label": VALUES}), path)
    else:
        heading = "label\n" if form == "headed.csv" else ""
        path.write_text(heading + "\n".join(map(str, VALUES)) + "\n")
    source = open_file(rows, labels=str(path))
    assert source.spec.classes == ("-1", "7", "30")
    np.testing.assert_array_equal(source.read(0, 4).labels, [1, 0, 1, 2])
    assert source.read(0, 4).labels.dtype == np.int64


@pytest.mark.parametrize(
    "text",
    [
        "id,label,more\na,7,x\nb,-1,y\nc,7,z\nd,30,w\n",
        '"","x"\n"1",7\n"2",-1\n"3",7\n"4",30\n',
        ",Species\n0,7\n1,-1\n2,7\n3,30\n",
        "Class\r\n7\r\n-1\r\n7\r\n30\r\n",
        "\ufefflabel\n7\n-1\n7\n30\n",
    ],
    ids=["table", "R", "pandas", "Windows", "Excel"],
)
def test_labels_are_found_in_the_tables_that_others_write(tmp_path, open_file, rows, text):
    (tmp_path / "l.csv").write_text(text, newline="")
    source = open_file(rows, labels=str(tmp_path / "l.csv"))
    assert source.spec.classes == ("-1", "7", "30")
    np.testing.assert_array_equal(source.read(0, 4).labels, [1, 0, 1, 2])


def test_a_first_label_that_looks_like_a_heading_is_a_label(tmp_path, open_file, rows):
    (tmp_path / "l.txt").write_text("y\nn\ny\nn\n")
    source = open_file(rows, labels=str(tmp_path / "l.txt"))
    assert source.spec.classes == ("n", "y")
    np.testing.assert_array_equal(source.read(0, 4).labels, [1, 0, 1, 0])


def test_labels_in_a_column_of_an_array_are_labels(tmp_path, open_file, rows):
    np.save(tmp_path / "l.npy", np.array(VALUES)[:, None])
    assert open_file(rows, labels=str(tmp_path / "l.npy")).spec.classes == ("-1", "7", "30")
    np.savez(tmp_path / "a.npz", x=np.ones((4, 2)), y=np.array([["b"], ["a"], ["b"], ["b"]]))
    assert open_file(tmp_path / "a.npz").spec.classes == ("a", "b")
    np.save(tmp_path / "l.npy", np.ones((4, 2)))
    with pytest.raises(DataError, match=r"labels have shape \(4, 2\)"):
        open_file(rows, labels=str(tmp_path / "l.npy"))


def test_the_index_of_a_frame_is_no_label(tmp_path, open_file, rows):
    pd.Series(VALUES, index=[5, 6, 8, 9]).to_frame("kind").to_parquet(tmp_path / "l.parquet")
    assert open_file(rows, labels=str(tmp_path / "l.parquet")).spec.classes == ("-1", "7", "30")


def test_pickled_labels_are_refused_with_what_to_do(tmp_path, open_file):
    np.savez(tmp_path / "a.npz", x=np.ones((2, 2)), y=np.array(["b", "a"], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz:y: holds Python objects; give numbers, or text as `astype\(str\)`"):
        open_file(tmp_path / "a.npz")


def test_text_labels_are_names(tmp_path, open_file, rows):
    (tmp_path / "l.txt").write_text("pear\napple\n7\npear")
    source = open_file(rows, labels=str(tmp_path / "l.txt"))
    assert source.spec.classes == ("7", "apple", "pear")
    np.testing.assert_array_equal(source.read(0, 4).labels, [2, 1, 0, 2])


def test_label_file_replaces_the_data_sets_own(tmp_path, open_file):
    np.savez(tmp_path / "a.npz", x=np.ones((2, 2)), y=np.array([0, 1]))
    (tmp_path / "l.txt").write_text("b\na\n")
    assert open_file(tmp_path / "a.npz", labels=str(tmp_path / "l.txt")).spec.classes == ("a", "b")


def test_first_rows_keep_all_classes(tmp_path, open_file, rows):
    (tmp_path / "l.txt").write_text("b\nb\na\nc\n")
    source = open_file(rows, labels=str(tmp_path / "l.txt"), num_rows=2)
    assert source.spec.num_rows == 2
    assert source.spec.classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", b"1\n2\n3\n", "3 labels for 4 rows"),
        ("l.txt", b"1\n2\n3\n4\n5\n", "5 labels for 4 rows"),
        ("l.csv", b"1,2\n3,4\n", r"row 0.*'1,2'"),
        ("l.txt", b"1\n\n3\n4\n", r"row 1"),
        ("l.txt", b"\xff\xfe\x00", r"l\.txt.*UTF-8"),
        ("l.npy", b"garbage", r"l\.npy"),
        ("l.idx", b"garbage", r"l\.idx"),
        ("l.parquet", b"garbage", r"l\.parquet"),
        ("l.json", b"[1]", "no file of labels"),
    ],
)
def test_unfit_label_file_is_refused(tmp_path, open_file, rows, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_file(rows, labels=str(tmp_path / name))


def test_absent_label_file_is_refused(tmp_path, open_file, rows):
    with pytest.raises(DataError, match="does not exist"):
        open_file(rows, labels=str(tmp_path / "none.txt"))
    with pytest.raises(DataError, match="not a file"):
        open_file(rows, labels=str(tmp_path))


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, 0.5]),
        np.array([1.0, np.nan]),
        np.array([1.0, np.inf]),
        np.array([1e300, 1]),
        np.array([[1, 2]]),
        np.array([1j]),
        np.array([b"\xff"]),
    ],
    ids=str,
)
def test_values_that_are_no_classes_are_refused(values):
    with pytest.raises(DataError):
        encode_labels(values, "l")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array([10, 9, 10]), ("9", "10")),
        (np.array([2.0, -1.0]), ("-1", "2")),
        (np.array([True, False]), ("0", "1")),
        (np.array([b"b", b"a"]), ("a", "b")),
        (np.arange(1000), tuple(map(str, range(1000)))),
    ],
)
def test_classes_are_sorted_by_value(values, classes):
    labels = encode_labels(values, "l")
    assert labels.classes == classes
    np.testing.assert_array_equal([int(code) for code in labels.codes], np.unique(values, return_inverse=True)[1])
