"""Parquet: vectors, images, labels, files as one table, damage."""

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymix.data import parquet_pages
from raymix.data.parquet_pages import chunks_of, pages_of
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
        ({"a": [["x"], ["y"]]}, "column a holds list"),
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
    with pytest.raises(DataError, match=r"b\.parquet: lacks the column"):
        open_file(tmp_path)


def test_garbage_and_cut_files_are_refused(tmp_path, open_file):
    path = _write(tmp_path / "a.parquet", x=np.arange(1000.0))
    good = path.read_bytes()
    for bad in (b"", b"PAR1", good[:-20], b"x" * 100, b"PAR1" + b"x" * 100 + b"PAR1"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.parquet"):
            open_file(path)


@pytest.mark.parametrize("encoding", ["dictionary", "PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_text_labels_of_any_encoding_are_read(tmp_path, open_file, encoding, version):
    labels = [f"class {row % 3}" for row in range(11)]
    how = {"use_dictionary": False, "column_encoding": {"label": encoding}} if encoding != "dictionary" else {}
    table = pa.table({"x": np.ones(11), "label": labels})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4, data_page_version=version, **how)
    source = open_file(tmp_path / "a.parquet")
    assert source.spec.classes == ("class 0", "class 1", "class 2")
    np.testing.assert_array_equal(source.read(0, 11).labels, np.arange(11) % 3)


def test_an_image_that_many_rows_repeat_is_read_in_bounded_memory(tmp_path, open_file):
    image = _png(np.random.default_rng(0).integers(0, 256, (600, 600), dtype=np.uint8))
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array([image])).cast(pa.binary())
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet", dictionary_pagesize_limit=2**24)
    del rows
    assert (tmp_path / "a.parquet").stat().st_size < 2 * len(image)
    source = open_file(tmp_path / "a.parquet")
    assert source.read(990, 992).rows.shape == (2, 1, 600, 600)
    assert pa.total_allocated_bytes() < 20 * len(image)


@pytest.mark.parametrize("settings", [{}, {"use_dictionary": False, "data_page_version": "2.0", "compression": "zstd"}])
def test_pages_are_found_where_pyarrow_says_they_lie(tmp_path, settings):
    path = tmp_path / "a.parquet"
    columns = {"a": np.arange(5000), "b": [{"bytes": b"x" * row} for row in range(5000)], "c": ["y", None] * 2500}
    pq.write_table(
        pa.table(columns), path, row_group_size=3000, data_page_size=5000, write_statistics=False, **settings
    )
    metadata = pq.read_metadata(path)
    with path.open("rb") as file:
        for number, chunks in enumerate(chunks_of(path)):
            for column, chunk in enumerate(chunks):
                known = metadata.row_group(number).column(column)
                pages = list(pages_of(file, chunk, "a"))
                assert file.seek(0, 1) > chunk.start
                assert chunk.end - chunk.start == known.total_compressed_size
                headers = known.total_compressed_size - sum(page.packed_bytes for page in pages)
                assert headers == known.total_uncompressed_size - sum(page.unpacked_bytes for page in pages)
                assert 0 < headers < 100 * len(pages)


def test_page_that_unpacks_to_too_much_is_refused(tmp_path, open_file, monkeypatch):
    pq.write_table(pa.table({"a": np.zeros(10**5)}), tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    assert scan(open_file(tmp_path / "a.parquet"), 2**20).spec.num_rows == 10**5
    monkeypatch.setattr(parquet_pages, "MAX_BYTES", 10**5)
    with pytest.raises(DataError, match=re.escape("write pages of at most 100000 bytes")):
        scan(open_file(tmp_path / "a.parquet"), 2**20)
