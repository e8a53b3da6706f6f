"""Parquet: vectors, images, labels, files as one table, damage."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.data.scan import scan
from raymix.errors import DataError


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _write(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=4)
    return path


def test_numeric_columns_become_vectors(tmp_path, open_file):
    a, b = np.arange(10.0, dtype=np.float32), np.arange(10, dtype=np.int16)
    path = _write(tmp_path / "a.parquet", a=a, target=["x", "z", "y", "z", "x"] * 2, b=b, c=b > 4)
    source = open_file(path)
    assert source.spec.row_shape == (3,)
    assert source.spec.dtype == "float32"
    assert source.spec.classes == ("x", "y", "z")
    for start, stop in [(0, 10), (3, 9), (8, 10), (4, 8), (5, 5)]:
        block = source.read(start, stop)
        np.testing.assert_array_equal(block.rows, np.stack([a, b, b > 4], axis=1)[start:stop])
        np.testing.assert_array_equal(block.labels, np.array([0, 2, 1, 2, 0] * 2)[start:stop])
    assert source.where(7) == f"{path}, row 7"


def test_wide_integers_become_float64(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", a=np.array([2**40 + 1, 3]), b=np.array([0.5, 1], np.float32))
    source = open_file(path)
    assert source.spec.dtype == "float64"
    assert source.read(0, 1).rows[0, 0] == 2**40 + 1


def test_y_of_fractions_is_a_coordinate(tmp_path, open_file):
    assert open_file(_write(tmp_path / "a.parquet", x=[0.5, 1.5], y=[1.5, 2.5])).spec.row_shape == (2,)
    assert open_file(_write(tmp_path / "b.parquet", x=[0.5, 1.5], y=[1, 0])).spec.classes == ("0", "1")


@pytest.mark.parametrize("kind", ["struct", "bytes"])
def test_folder_of_image_tables_is_one_data_set(tmp_path, open_file, colour, kind):
    images = [{"bytes": _png(image), "path": "x"} if kind == "struct" else _png(image) for image in colour]
    _write(tmp_path / "part-1.parquet", image=images[4:], label=[1, 0], id=["e", "f"])
    _write(tmp_path / "part-0.parquet", image=images[:4], label=[0, 0, 5, 5], id=["a", "b", "c", "d"])
    source = open_file(tmp_path)
    assert source.spec.row_shape == (3, 5, 4)
    assert source.spec.classes == ("0", "1", "5")
    block = source.read(2, 6)
    np.testing.assert_array_equal(block.rows, np.moveaxis(colour[2:], -1, 1))
    np.testing.assert_array_equal(block.labels, [2, 2, 1, 0])
    assert source.where(5).endswith("part-1.parquet, row 1")


def test_labels_of_dictionary_type_are_read(tmp_path, open_file):
    column = pa.array(["b", "a", "b"]).dictionary_encode()
    source = open_file(_write(tmp_path / "a.parquet", x=[1.0, 2.0, 3.0], label=column))
    np.testing.assert_array_equal(source.read(0, 3).labels, [1, 0, 1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, 2.0], "name": ["x", "y"]}, "column name holds string"),
        ({"a": [[1.0], [2.0]]}, "column a holds list"),
        ({"label": [1, 2]}, "no columns"),
        ({"a": [1.0, 2.0], "label": [1, None]}, r"a\.parquet, row 1.*label has no value"),
        ({"a": [1.0, 2.0], "label": [0.5, 1.0]}, "0.5 is no class"),
        ({"a": [1.0, 2.0], "label": [[0], [1]]}, "label: holds list"),
        ({"a": [1.0, 2.0], "label": [0, 1], "target": [0, 1]}, "label, target"),
        ({"a": [1.0, 2.0], "label": pa.array([b"\xff", b"x"]).view(pa.string())}, "labels"),
        ({"a\n": [1.0, 2.0]}, r"column 'a\\n'"),
        ({"a": [b"x", b"y"], "b": [b"x", b"y"]}, "image columns a, b"),
        ({"a": [b"x", b"y"]}, r"a\.parquet, row 0.*image"),
        ({"a": pa.array([], pa.float32())}, "no rows"),
    ],
)
def test_unfit_columns_are_refused(tmp_path, open_file, columns, message):
    with pytest.raises(DataError, match=message):
        open_file(_write(tmp_path / "a.parquet", **columns))


def test_missing_values_are_named(tmp_path, open_file):
    source = open_file(_write(tmp_path / "a.parquet", a=[1.0] * 6, b=[1.0, 2.0, 3.0, 4.0, None, 6.0]))
    with pytest.raises(DataError, match=r"row 4.*column b has no value"):
        scan(source, 2**20)
    images = [_png(np.zeros((2, 2), np.uint8)), None]
    with pytest.raises(DataError, match=r"row 1.*no bytes"):
        scan(open_file(_write(tmp_path / "b.parquet", image=images)), 2**20)


def test_two_columns_of_one_name_are_refused(tmp_path, open_file):
    pq.write_table(pa.table([[1.0], [2.0]], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="several columns 'a'"):
        open_file(tmp_path / "a.parquet")


def test_dotted_names_are_not_paths(tmp_path, open_file):
    source = open_file(_write(tmp_path / "a.parquet", **{"b.c": [1.0, 2.0], "b": [3.0, 4.0]}))
    np.testing.assert_array_equal(source.read(0, 2).rows, [[1, 3], [2, 4]])


def test_files_of_two_schemas_are_refused(tmp_path, open_file):
    _write(tmp_path / "a.parquet", x=[1.0])
    _write(tmp_path / "b.parquet", z=[1.0])
    with pytest.raises(DataError, match=r"b\.parquet.*other columns than .*a\.parquet"):
        open_file(tmp_path)


def test_garbage_and_cut_files_are_refused(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", x=np.arange(1000.0))
    good = path.read_bytes()
    for bad in (b"", b"PAR1", good[:-20], b"x" * 100, b"PAR1" + b"x" * 100 + b"PAR1"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.parquet"):
            open_file(path)
