import io
from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.image import imread
from sklearn.datasets import load_digits

from raymix.errors import DataError
from raymix.report.image_grid import draw_grid
from raymix.report.pictures import save_samples
from raymix.report.scatter import draw_scatter


def digits(num_components: int, scale: float = 1.0) -> list[np.ndarray]:
    images, classes = load_digits(return_X_y=True)
    return [scale * images[classes == k][:5].reshape(-1, 1, 8, 8) for k in range(num_components)]


def clouds(num_components: int, D: int = 2, num_rows: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(num_rows, D)) + 5 * rng.normal(size=D) for _ in range(num_components)]


def titles(figure) -> list[str]:
    return [axes.get_title() + axes.get_title(loc="left") for axes in figure.axes]


def grid_cell(figure, block: int, line: int, column: int, height: int = 8) -> np.ndarray:
    """The pixels of one image of a figure, one per pixel of the image."""
    scale = -(-56 // height)
    step = scale * height + 3
    mosaic = np.asarray(figure.axes[block].images[0].get_array())
    top, left = line * step, column * step
    return mosaic[top : top + scale * height : scale, left : left + scale * height : scale]


def test_a_grid_shows_each_components_images_in_its_line():
    samples, real = digits(3, scale=0.5), digits(3)
    figure = draw_grid(samples, real, ["a", "b", "c"])
    assert titles(figure) == ["samples", "real rows it owns"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    for k in range(3):
        np.testing.assert_allclose(grid_cell(figure, 1, k, 4)[..., 0], real[k][4, 0] / 16, atol=1e-6)
        # samples are drawn in the range of the real rows, not in their own
        np.testing.assert_allclose(grid_cell(figure, 0, k, 4)[..., 1], real[k][4, 0] / 32, atol=1e-6)


def test_black_is_zero_for_bytes_and_three_channels_are_colours():
    image = np.random.default_rng(0).integers(100, 120, (2, 3, 8, 8)).astype(np.uint8)
    figure = draw_grid([image.astype(np.float32)], [image], ["a"])
    for block in (0, 1):
        cell = grid_cell(figure, block, 0, 1)
        np.testing.assert_allclose(cell, image[1].transpose(1, 2, 0) / image.max(), atol=1e-6)


def test_images_of_two_channels_show_the_first_and_say_so():
    image = np.stack([np.eye(8), np.zeros((8, 8))])[None]
    figure = draw_grid([image], [image], ["a"])
    assert titles(figure)[0] == "samples (channel 0 of 2)"
    np.testing.assert_array_equal(grid_cell(figure, 0, 0, 0)[..., 2], np.eye(8))


def test_a_component_that_owns_nothing_has_an_empty_line():
    real = digits(3)
    real[1] = real[1][:0]
    figure = draw_grid(digits(3), real, ["a", "b", "c"])
    assert (grid_cell(figure, 1, 1, 0) == 1).all()
    assert not (grid_cell(figure, 1, 2, 0) == 1).all()


def test_a_picture_of_15_components_has_one_pixel_per_pixel_of_its_mosaic():
    images = [np.zeros((10, 1, 28, 28), np.uint8)] * 15
    buffer = io.BytesIO()
    save_samples(buffer, images, images, [1 / 15] * 15, "image")
    buffer.seek(0)
    picture = imread(buffer)
    black = (picture[..., :3] == 0).all(axis=2)
    # 28 x 28 drawn twice as large: nothing resampled, nothing covered
    assert black[36:, 165 : 165 + 10 * 59].sum() == 15 * 10 * 56 * 56
    assert picture.shape[:2] == (36 + 15 * 59 + 12, 165 + 2 * 590 + 32 + 12)


def test_a_file_is_written_and_its_bytes_repeat(tmp_path):
    for name in ("one.png", "two.png"):
        save_samples(tmp_path / name, digits(4), digits(4), [0.25] * 4, "image", components=[0, 2, 5, 11])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def scatter(samples: Sequence[np.ndarray], real: Sequence[np.ndarray]):
    return draw_scatter(samples, real, [f"{k}   weight 1.0 %" for k in range(len(samples))])


def test_two_columns_are_drawn_as_they_are_with_equal_axes():
    samples, real = clouds(4), clouds(4)
    figure = scatter(samples, real)
    for axes, rows in zip(figure.axes, (samples, real), strict=True):
        assert axes.get_aspect() == 1
        for collection, points in zip(axes.collections, rows, strict=True):
            np.testing.assert_array_equal(collection.get_offsets(), points)
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "1", "2", "3"]


def test_twenty_components_differ_in_colour():
    figure = scatter(clouds(20), clouds(20))
    colours = {tuple(collection.get_facecolor()[0]) for collection in figure.axes[1].collections}
    assert len(colours) == 20


def test_samples_outside_the_frame_are_counted_in_the_title():
    samples, real = clouds(2), clouds(2)
    samples[1][:3] += 1000
    assert titles(scatter(samples, real))[0] == "samples (3 outside the frame)"


def test_more_columns_are_projected_on_the_principal_components_of_the_real_rows():
    real = clouds(3, D=6)
    figure = scatter(clouds(3, D=6), real)
    assert figure.get_suptitle() == "6 columns, projected on the first two principal components of the real rows"
    points = np.concatenate([np.asarray(collection.get_offsets()) for collection in figure.axes[1].collections])
    variances = np.linalg.eigvalsh(np.cov(np.concatenate(real).T))[::-1]
    np.testing.assert_allclose(np.cov(points.T), np.diag(variances[:2]), atol=1e-9 * variances[0])


@pytest.mark.parametrize(
    ("samples", "real"),
    [
        (clouds(2, D=1), clouds(2, D=1)),
        (clouds(2, D=3), [np.zeros((1, 3)), np.zeros((0, 3))]),
        (clouds(2, D=2), [np.zeros((0, 2))] * 2),
        ([np.zeros((0, 2))] * 2, clouds(2, D=2)),
        (clouds(1, D=64, num_rows=1), clouds(1, D=64, num_rows=1)),
    ],
)
def test_few_rows_and_columns_give_a_picture(samples, real, tmp_path):
    save_samples(tmp_path / "picture.png", samples, real, [1 / len(real)] * len(real), "vector")
    assert imread(tmp_path / "picture.png").size


def test_bad_input_is_refused():
    buffer = io.BytesIO()
    with pytest.raises(DataError, match="given for 2, 3, 2, 2 components"):
        save_samples(buffer, digits(2), digits(3), [0.5, 0.5], "image")
    with pytest.raises(DataError, match="give image rows of one shape"):
        save_samples(buffer, clouds(2), clouds(2), [0.5, 0.5], "image")
    with pytest.raises(DataError, match="give vector rows of one shape"):
        save_samples(buffer, clouds(1), clouds(1, D=3), [1.0], "vector")
    with pytest.raises(DataError, match=r"rows have shapes \[\]"):
        save_samples(buffer, [np.zeros((0, 2))], [np.zeros((0, 2))], [1.0], "vector")
