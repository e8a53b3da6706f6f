import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from sklearn import metrics

from raymix.errors import DataError
from raymix.metrics.clustering import ari, contingency, matched_accuracy, nmi, purity


def won_rows(seed: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    rng = np.random.default_rng(seed)
    K, C = rng.integers(1, 7, 2)
    classes_N = rng.integers(0, C, rng.integers(1, 60))
    winners_N = np.where(rng.random(classes_N.size) < rng.random(), classes_N % K, rng.integers(0, K, classes_N.size))
    return winners_N, classes_N, int(K), int(C)


@pytest.mark.parametrize("seed", range(40))
def test_nmi_and_ari_equal_scikit_learn(seed):
    winners_N, classes_N, K, C = won_rows(seed)
    counts_KC = contingency(winners_N, classes_N, K, C)
    assert nmi(counts_KC) == pytest.approx(metrics.normalized_mutual_info_score(classes_N, winners_N), abs=1e-12)
    assert ari(counts_KC) == pytest.approx(metrics.adjusted_rand_score(classes_N, winners_N), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_accuracies_equal_brute_force(seed):
    winners_N, classes_N, K, C = won_rows(seed)
    counts_KC = contingency(winners_N, classes_N, K, C)
    votes = [np.bincount(classes_N[winners_N == k], minlength=C).argmax() for k in range(K)]
    accuracy = np.mean(np.array(votes)[winners_N] == classes_N)
    assert purity(counts_KC) == pytest.approx(accuracy)
    # a match gives every component its own class; component k > C gets a class that no row has
    matches = itertools.permutations(range(max(K, C)), K)
    best = max(np.mean(np.array(match)[winners_N] == classes_N) for match in matches)
    assert matched_accuracy(counts_KC) == pytest.approx(best)


def test_contingency_adds_up_over_blocks():
    rng = np.random.default_rng(0)
    winners_N, classes_N = rng.integers(0, 4, 500), rng.integers(0, 3, 500).astype(np.uint8)
    whole = contingency(winners_N, classes_N, 4, 3)
    parts = sum(
        contingency(winners, classes, 4, 3)
        for winners, classes in zip(np.array_split(winners_N, 3), np.array_split(classes_N, 3), strict=True)
    )
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(whole, metrics.cluster.contingency_matrix(winners_N, classes_N))


def test_a_table_of_a_billion_rows_gives_the_measures_of_its_proportions():
    counts_KC = np.array([[3, 1, 0], [0, 2, 2], [1, 0, 1], [0, 0, 0]])
    billion_KC = counts_KC * 10**8
    assert nmi(billion_KC) == pytest.approx(nmi(counts_KC), abs=1e-12)
    assert purity(billion_KC) == pytest.approx(0.6)
    # Hubert and Arabie's own form, in fractions
    pairs, in_components, in_classes, together = (
        sum(Fraction(comb(int(count), 2)) for count in np.ravel(counts))
        for counts in (billion_KC.sum(), billion_KC.sum(axis=1), billion_KC.sum(axis=0), billion_KC)
    )
    expected = in_components * in_classes / pairs
    index = (together - expected) / ((in_components + in_classes) / 2 - expected)
    assert ari(billion_KC) == pytest.approx(float(index), abs=1e-15)


def test_one_component_and_one_class_is_a_perfect_match():
    counts_KC = np.array([[7]])
    assert nmi(counts_KC) == ari(counts_KC) == purity(counts_KC) == matched_accuracy(counts_KC) == 1.0


@pytest.mark.parametrize("measure", [nmi, ari, purity, matched_accuracy])
def test_a_table_without_rows_is_refused(measure):
    with pytest.raises(DataError, match="holds no rows"):
        measure(np.zeros((3, 2), np.int64))


@pytest.mark.parametrize(
    ("winners", "classes", "message"),
    [
        ([0, 1], [0], "winners against"),
        ([0, 2, 0], [0, 1, 0], "row 1: winner 2; give numbers from 0 to 1"),
        ([0, 1, 0], [0, 1, -1], "row 2: class -1; give numbers from 0 to 2"),
    ],
)
def test_contingency_refuses_numbers_out_of_range(winners, classes, message):
    with pytest.raises(DataError, match=message):
        contingency(np.array(winners), np.array(classes), 2, 3)
