"""Measures of biology: known answers, references, and what a null may and may not call a finding."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import kruskal, spearmanr
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score

from helpers.scores import biology
from helpers.targets.arms import ARMS


def lattice(n):
    return np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2).astype(float)


def smooth(rng, n, k, sigma=3):
    return np.stack([gaussian_filter(rng.standard_normal((n, n)), sigma).ravel() for _ in range(k)], axis=1)


@pytest.fixture(scope="module")
def tissue():
    """Three regions as columns of spots, and genes of which half are higher in one of them."""
    rng, xy = np.random.default_rng(0), lattice(15)
    labels = (xy[:, 0] // 5).astype(int)
    values = rng.standard_normal((225, 30))
    values[:, :15] += 2 * (labels[:, None] == np.arange(15) % 3)
    return xy, labels, values


def test_regions_with_genes_of_their_own_are_told_apart_and_recovered(tissue):
    xy, labels, values = tissue
    found, far = biology.components(values), biology.far_apart(xy)
    assert biology.separation(labels, biology.look_alikes(found, far), far)[0] > 0.95
    assert biology.domain_recovery(found, labels)[0] > 0.8


def test_where_genes_know_nothing_separation_is_one_over_the_number_of_regions(tissue):
    xy, labels, _ = tissue
    rng, far = np.random.default_rng(1), biology.far_apart(xy)
    alike = biology.look_alikes(biology.components(rng.standard_normal((225, 30))), far)
    shuffled = np.stack([rng.permutation(labels) for _ in range(100)], axis=1)
    assert biology.separation(shuffled, alike, far).mean() == pytest.approx(1 / 3, abs=0.02)
    unknowing = [biology.look_alikes(rng.standard_normal((225, 5)), far) for _ in range(50)]
    compact = np.mean([biology.separation(labels, alike, far) for alike in unknowing])
    assert compact == pytest.approx(1 / 3, abs=0.02)  # although most of a spot's own region is too near to be asked


def test_a_rare_region_weighs_as_much_as_a_large_one_and_a_lost_one_is_not_counted(tissue):
    xy, _, values = tissue
    labels = (xy[:, 0] >= 13).astype(int)
    far = biology.far_apart(xy)
    alike = biology.look_alikes(biology.components(values), far)
    of = [labels == region for region in (0, 1)]
    told = np.argmax([alike[:, own].sum(axis=1) / far[:, own].sum(axis=1) for own in of], axis=0)
    assert biology.separation(labels, alike, far)[0] == pytest.approx(balanced_accuracy_score(labels, told))
    one_left = np.column_stack([labels, np.zeros_like(labels)])
    assert biology.separation(one_left, alike, far)[1] == 1


def test_look_alikes_lie_elsewhere(tissue):
    xy, _, values = tissue
    alike = biology.look_alikes(biology.components(values), biology.far_apart(xy, 3), n=7)
    assert (alike.sum(axis=1) == 7).all()
    rows, columns = np.nonzero(alike)
    assert np.linalg.norm(xy[rows] - xy[columns], axis=1).min() >= 3
    with pytest.raises(ValueError, match="others far enough away, 15 are wanted"):
        biology.look_alikes(values[:9], biology.far_apart(xy[:9]))


def test_variance_by_region_is_the_effect_size_of_kruskal_and_wallis(tissue):
    _, labels, values = tissue
    counts = np.random.default_rng(0).poisson(np.exp(values / 3))  # with ties
    ours = biology.variance_by_region(counts, labels)[:, 0]
    plain = [kruskal(*(gene[labels == k] for k in range(3))).statistic / (len(labels) - 1) for gene in counts.T]
    np.testing.assert_allclose(ours, plain)


def test_adjusted_rand_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    clusters, labels = rng.integers(4, size=80), rng.integers(3, size=(80, 5))
    clusters[:40] = labels[:40, 0]
    ours = biology._adjusted_rand(biology._member(clusters)[..., 0], biology._member(labels))
    np.testing.assert_allclose(ours, [adjusted_rand_score(draw, clusters) for draw in labels.T], atol=1e-12)


def test_composition_is_found_where_genes_follow_it_and_a_constant_type_is_undefined():
    rng, xy = np.random.default_rng(0), lattice(15)
    shares = np.column_stack([smooth(rng, 15, 2), np.zeros(225)])
    values = shares @ rng.standard_normal((3, 40)) / shares.std() + 0.3 * rng.standard_normal((225, 40))
    alike = biology.look_alikes(biology.components(values), biology.far_apart(xy))
    agreement = biology.composition_agreement(shares[..., None], alike)
    assert agreement[:2].min() > 0.8
    assert np.isnan(agreement[2, 0])


def test_targets_that_order_spots_alike_are_one(tissue):
    _, labels, values = tissue
    counts = np.round(np.exp(values))
    np.testing.assert_allclose(biology.components(counts), biology.components(np.log1p(counts)))
    rho = spearmanr(counts[:, 0], counts[:, 1]).statistic
    assert biology.unit_ranks(counts)[:, :2].prod(axis=1).sum() == pytest.approx(rho)


def test_a_gene_that_is_constant_is_left_out(tissue):
    _, labels, values = tissue
    dead = np.column_stack([values, np.zeros(len(values))])
    np.testing.assert_allclose(biology.components(dead), biology.components(values))
    assert len(biology.variance_by_region(dead, labels)) == values.shape[1]


def test_turned_regions_stay_coherent_and_leave_their_place(tissue):
    xy, labels, _ = tissue
    taken = biology.turned_on_tissue(xy, 20)
    assert taken.shape == (225, 20)
    moved = labels[taken].reshape(15, 15, 20)
    same_below = (moved[1:] == moved[:-1]).mean()
    assert same_below > 0.85 > np.mean([(draw == labels).mean() for draw in labels[taken].T])


def test_turning_is_a_fair_null_for_smooth_maps_and_shuffling_is_not():
    xy, p = lattice(15), {"turned": [], "shuffled": []}
    far = biology.far_apart(xy)
    for repeat in range(40):
        rng = np.random.default_rng(repeat)
        values = smooth(rng, 15, 8) @ rng.standard_normal((8, 30)) / 0.05 + rng.standard_normal((225, 30))
        labels = smooth(rng, 15, 3).argmax(axis=1)
        alike = biology.look_alikes(biology.components(values), far)
        shuffled = np.stack([rng.permutation(225) for _ in range(39)], axis=1)
        for null, taken in (("turned", biology.turned_on_tissue(xy, 39, repeat)), ("shuffled", shuffled)):
            real, *draws = biology.separation(np.column_stack([labels, labels[taken]]), alike, far)
            p[null].append((1 + sum(draw >= real for draw in draws)) / 40)
    rejected = {null: (np.array(values) <= 0.05).mean() for null, values in p.items()}
    assert rejected["turned"] < 0.2 < 0.4 < rejected["shuffled"]


def test_each_published_target_says_where_it_was_read_and_names_an_arm_that_exists():
    peers = pd.read_csv(Path(__file__).parents[2] / "data/peers.csv", keep_default_na=False)
    assert set(peers["status"]) <= {"verified", "copy", "not re-read"}
    for row in peers[peers["status"] != "not re-read"].itertuples():
        assert re.fullmatch("[0-9a-f]{40}", row.commit) and row.line > 0 and "/" in row.repository, row.method
    arms = set(zip(peers["size_factor"], peers["transform"], strict=True)) - {("", "")}
    assert arms <= set(ARMS)
