import numpy as np
import pytest

from raymix.errors import DataError
from raymix.metrics.health import effective_components


def test_effective_components_lie_between_one_and_all():
    assert effective_components(np.full(5, 0.2)) == pytest.approx(5)
    assert effective_components(np.array([0.0, 1.0, 0.0])) == pytest.approx(1)
    weights_K = np.array([0.5, 0.25, 0.25])
    assert effective_components(weights_K.astype(np.float32)) == pytest.approx(2**1.5)


@pytest.mark.parametrize("weights", [[], [0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
def test_numbers_that_are_no_weights_are_refused(weights):
    with pytest.raises(DataError, match="mixing weights"):
        effective_components(np.array(weights))
