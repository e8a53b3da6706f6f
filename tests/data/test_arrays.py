"""npy, npz and idx files: round trips, layouts, damage."""

import gzip
import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
from scipy import sparse

from raymix.errors import DataError

SHAPES = [
    ((6, 3), (3,)),
    ((6, 5, 4), (1, 5, 4)),
    ((6, 5, 4, 1), (1, 5, 4)),
    ((6, 5, 4, 3), (3, 5, 4)),
    ((6, 3, 5, 4), (3, 5, 4)),
    ((6, 1, 5, 4), (1, 5, 4)),
]
DTYPES = [
    ("bool", "uint8"),
    ("uint8", "uint8"),
    ("int8", "float32"),
    ("uint16", "float32"),
    ("int32", "float64"),
    ("int64", "float64"),
    (">f4", "float32"),
    ("float16", "float32"),
    ("float32", "float32"),
    ("float64", "float64"),
]


def _channels_first(array):
    if array.ndim == 3:
        return array[:, None]
    return np.moveaxis(array, -1, 1) if array.ndim == 4 and array.shape[-1] in (1, 3) else array


@pytest.mark.parametrize("form", ["npy", "npy-fortran", "npz", "npz-compressed", "npz-fortran", "idx", "idx.gz"])
@pytest.mark.parametrize(("shape", "row_shape"), SHAPES)
def test_array_file_gives_back_its_rows(tmp_path, open_file, idx_bytes, form, shape, row_shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    path = tmp_path / f"a.{form.partition('-')[0]}"
    if form == "npy":
        np.save(path, array)
    elif form == "npy-fortran":
        np.save(path, np.asfortranarray(array))
    elif form == "npz":
        np.savez(path, x=array)
    elif form == "npz-compressed":
        np.savez_compressed(path, anything=array)
    elif form == "npz-fortran":
        np.savez(path, data=np.asfortranarray(array))
    elif form == "idx":
        path.write_bytes(idx_bytes(array))
    else:
        path.write_bytes(gzip.compress(idx_bytes(array)))
    source = open_file(path)
    assert source.spec.row_shape == row_shape
    assert source.spec.num_rows == 6
    assert source.spec.dtype == "float32"
    assert source.spec.classes == ()
    expected = _channels_first(array)
    for start, stop in [(4, 6), (0, 6), (1, 3), (2, 2), (0, 1)]:  # backwards too: streams rewind
        block = source.read(start, stop)
        assert block.labels is None
        assert block.rows.dtype == np.float32
        assert block.rows.flags.c_contiguous
        np.testing.assert_array_equal(block.rows, expected[start:stop])


@pytest.mark.parametrize(("stored", "read"), DTYPES)
def test_npy_of_any_number_type_keeps_its_values(tmp_path, open_file, stored, read):
    array = np.array([[0, 1, 100], [7, 2, 3]]).astype(stored)
    np.save(tmp_path / "a.npy", array)
    source = open_file(tmp_path / "a.npy")
    assert source.spec.dtype == read
    rows = source.read(0, 2).rows
    assert rows.dtype == np.dtype(read)
    np.testing.assert_array_equal(rows, array.astype(np.float64))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_idx_of_any_type_keeps_its_values(tmp_path, open_file, idx_bytes, dtype):
    array = np.arange(12).reshape(4, 3).astype(dtype)
    (tmp_path / "a-idx2-ubyte").write_bytes(idx_bytes(array))
    np.testing.assert_array_equal(open_file(tmp_path / "a-idx2-ubyte").read(0, 4).rows, array)


@pytest.mark.parametrize("key", ["labels", "y", "y_train", "targets"])
def test_npz_labels_are_found(tmp_path, open_file, key):
    np.savez(tmp_path / "a.npz", rows=np.ones((4, 2)), **{key: np.array([30, 10, 30, 20])})
    source = open_file(tmp_path / "a.npz")
    assert source.spec.classes == ("10", "20", "30")
    np.testing.assert_array_equal(source.read(1, 4).labels, [0, 2, 1])


def test_npz_in_order_is_decompressed_once(tmp_path, open_file, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(2000.0).reshape(1000, 2))
    source = open_file(tmp_path / "a.npz")
    opened = []
    real_open = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args: opened.append(1) or real_open(*args))
    rows = [source.read(start, start + 100).rows for start in range(0, 1000, 100)]
    assert len(opened) == 1
    np.testing.assert_array_equal(np.concatenate(rows).ravel(), np.arange(2000.0))


@pytest.mark.parametrize(
    "array",
    [
        np.ones(5),
        np.ones((2, 2, 2, 2)),
        np.ones((2, 1, 1, 1, 1)),
        np.ones((0, 3)),
        np.ones((3, 0)),
        np.float64(3),
        np.ones((2, 2), complex),
        np.array([["a", "b"]]),
        np.zeros((2, 2), dtype=[("a", "f4")]),
        np.array([["2020-01-01"]], dtype="M8[D]"),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_array_of_unfit_shape_or_type_is_refused(tmp_path, open_file, array, form):
    path = tmp_path / f"a.{form}"
    (np.save if form == "npy" else np.savez)(path, array)
    with pytest.raises(DataError, match=r"a\.np"):
        open_file(path)


class _Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_pickled_array_is_refused_unread(tmp_path, open_file, form):
    path = tmp_path / f"a.{form}"
    (np.save if form == "npy" else np.savez)(path, np.array([[_Trap()]], dtype=object))
    with pytest.raises(DataError, match="object"):
        open_file(path)
    path.write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(DataError):
        open_file(path)


def _npy_declaring(shape, data=b"12345678"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@pytest.mark.parametrize("shape", [(10**12, 100), (2, 1), (-1, -1), (10**30, 1)])
def test_array_that_declares_more_than_it_has_is_refused(tmp_path, open_file, shape):
    (tmp_path / "a.npy").write_bytes(_npy_declaring(shape))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", _npy_declaring(shape))
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        with pytest.raises(DataError, match=path.name):
            open_file(path)


def test_npz_without_rows_is_refused(tmp_path, open_file):
    np.savez(tmp_path / "a.npz", left=np.ones((2, 2)), right=np.ones((2, 2)))
    with pytest.raises(DataError, match="left, right"):
        open_file(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.ones((2, 2)), y=np.ones(3))
    with pytest.raises(DataError, match="3 labels for 2 rows"):
        open_file(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", x=np.ones((2, 2)), y=np.ones(2), labels=np.ones(2))
    with pytest.raises(DataError, match="labels, y"):
        open_file(tmp_path / "c.npz")


def test_idx_of_wrong_magic_or_size_is_refused(tmp_path, open_file, idx_bytes):
    good = idx_bytes(np.ones((4, 3), np.uint8))
    path = tmp_path / "a.idx"
    for bad in (b"", b"\0\0", b"\1\0\x08\2" + good[4:], b"\0\0\x07\2" + good[4:], b"\0\0\x08\0", good[:6], good[:-1]):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.idx"):
            open_file(path)
    path.write_bytes(good + b"x")
    with pytest.raises(DataError, match="declares 24 bytes"):
        open_file(path)


def test_gzipped_idx_cannot_declare_more_than_it_could_hold(tmp_path, open_file):
    path = tmp_path / "a.idx.gz"
    path.write_bytes(gzip.compress(b"\0\0\x08\2" + struct.pack(">2I", 2**32 - 1, 2**32 - 1) + b"x" * 50))
    with pytest.raises(DataError, match="declares"):
        open_file(path)


def test_gzipped_idx_of_wrong_length_is_found_when_read(tmp_path, open_file, idx_bytes):
    good = idx_bytes(np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8))
    path = tmp_path / "a.idx.gz"
    path.write_bytes(gzip.compress(good[:-31]))
    with pytest.raises(DataError, match="ends before row 38 of 40"):
        open_file(path).read(0, 40)
    path.write_bytes(gzip.compress(good + b"x"))
    assert len(open_file(path).read(0, 39).rows) == 39
    with pytest.raises(DataError, match="goes on after its 40 rows"):
        open_file(path).read(39, 40)
    path.write_bytes(gzip.compress(good)[:-200])
    with pytest.raises(DataError, match=r"a\.idx\.gz"):
        open_file(path).read(0, 40)


def test_mnist_folder_is_read_as_images_and_labels(tmp_path, open_file, idx_bytes, grey):
    (tmp_path / "images-idx3-ubyte").write_bytes(idx_bytes(grey))
    assert open_file(tmp_path).spec.classes == ()
    (tmp_path / "labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.arange(7, dtype=np.uint8) % 3)))
    source = open_file(tmp_path)
    np.testing.assert_array_equal(source.read(0, 7).rows[:, 0], grey)
    np.testing.assert_array_equal(source.read(5, 7).labels, [2, 0])
    (tmp_path / "others-idx3-ubyte").write_bytes(idx_bytes(grey))
    with pytest.raises(DataError, match="others-idx3-ubyte"):
        open_file(tmp_path)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_sparse_matrices_are_refused_by_name(tmp_path, open_file, form):
    sparse.save_npz(tmp_path / "a.npz", sparse.coo_array(np.eye(3)).asformat(form))
    with pytest.raises(DataError, match=r"a\.npz: is a sparse matrix; save its \.toarray\(\)"):
        open_file(tmp_path / "a.npz")
