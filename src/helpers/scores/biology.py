"""How much biology a target keeps: whether its genes tell regions apart, recover them unasked, follow composition.

All of it works on ranks of each gene within a section, as the rank correlations of coupling do: targets that order the
spots alike are alike here too. What is told (labels, proportions) is spots, or spots x draws: many of them at once, the
real one and those moved by a null, at the cost of one.
"""

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from helpers.columns import pearson, unit

N_COMPONENTS = 20
N_ALIKE = 15  # spots that a spot is told by
AWAY = 3.0  # lattice steps: nearer spots share tissue, and molecules that diffused


def components(values: np.ndarray, n: int = N_COMPONENTS) -> np.ndarray:
    """Principal components of the ranks of each gene, every gene of the same variance; spots x at most n.

    A gene that is constant in the section has no ranks and is left out.
    """
    ranks = unit_ranks(values)
    left, size, _ = np.linalg.svd(ranks, full_matrices=False)
    return (left * size)[:, :n]


def unit_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each column, centred and of length one; columns that are constant are left out. Spots x columns."""
    ranks = unit(values, rank=True)
    return ranks[:, np.isfinite(ranks).all(axis=0)]


def far_apart(xy: np.ndarray, away: float = AWAY) -> np.ndarray:
    """Which spots may tell of each other: those at least `away` lattice steps apart; spots x spots, bool."""
    return cdist(xy, xy) >= away


def look_alikes(components: np.ndarray, far: np.ndarray, n: int = N_ALIKE) -> np.ndarray:
    """The n spots most like each one among those `far_apart` from it; spots x spots, 1. where alike.

    What a near spot tells of its neighbour is place, not expression: leave-one-out with a buffer (Le Rest et al. 2014,
    doi 10.1111/geb.12161). ValueError where a spot has fewer than n others out there.
    """
    if (few := far.sum(axis=1).min()) < n:
        raise ValueError(f"a spot has {few} others far enough away, {n} are wanted: too small a section")
    distance = np.where(far, cdist(components, components), np.inf)
    alike = np.zeros(far.shape)
    np.put_along_axis(alike, np.argsort(distance, axis=1, kind="stable")[:, :n], 1, axis=1)
    return alike


def separation(labels: np.ndarray, alike: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Balanced accuracy with which each spot's region is told from the spots that look alike; one for each draw.

    `labels` are spots x draws, codes 0, 1, ...; each region has one vote to share among its spots that are far enough
    away. 1 / number of regions where nothing is told, more where labels are smooth maps as expression is.
    """
    member = _member(labels)
    votes, could = (np.einsum("ij,cjd->cid", who.astype(float), member, optimize=True) for who in (alike, far))
    told = (votes / np.maximum(could, 1)).argmax(axis=0)
    right = (member * (told == _codes(labels))).sum(axis=1) / np.maximum(member.sum(axis=1), 1)
    return right.sum(axis=0) / member.any(axis=1).sum(axis=0)  # a draw may lose a small region


def variance_by_region(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of the variance of each gene's ranks that lies between regions; genes x draws, constant genes left out.

    It is the Kruskal-Wallis effect size epsilon squared, H / (n - 1), ties corrected.
    """
    member = _member(labels)
    sums = np.einsum("sg,csd->cgd", unit_ranks(values), member, optimize=True)
    return (sums**2 / np.maximum(member.sum(axis=1), 1)[:, None]).sum(axis=0)


def domain_recovery(components: np.ndarray, labels: np.ndarray, n_seeds: int = 10) -> np.ndarray:
    """Adjusted Rand index of k-means clusters with the regions, as many as there are, mean over seeds; one a draw.

    `components` is spots x components, `labels` spots, or spots x draws.
    Hubert & Arabie 1985, doi 10.1007/BF01908075.
    """
    from sklearn.cluster import KMeans

    member = _member(labels)
    found = [KMeans(len(member), n_init=1, random_state=seed).fit_predict(components) for seed in range(n_seeds)]
    return np.mean([_adjusted_rand(_member(clusters)[..., 0], member) for clusters in found], axis=0)


def composition_agreement(proportions: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """Correlation of each proportion with its mean over the spots that look alike; types x draws.

    `proportions` are spots x types x draws; give ranks of skewed ones. NaN for a type that does not vary.
    """
    told = np.einsum("ij,jtd->itd", alike, proportions, optimize=True)
    columns = (each.reshape(len(alike), -1) for each in (told, proportions))
    return pearson(*columns).reshape(told.shape[1:])


def turned_on_tissue(xy: np.ndarray, n_draws: int = 199, seed: int = 0) -> np.ndarray:
    """For each spot the one whose label or proportions it takes when these are turned on the tissue; spots x draws.

    Turned about the middle by 30 to 330 degrees, every other draw mirrored; each spot takes what comes to lie nearest.
    Regions stay as coherent as they were. A nominal 5 % test of unrelated smooth maps then rejects 5-10 %, and 20-100 %
    where spots are shuffled instead. What runs from the middle to the border stays in part where it was, and then the
    test is strict. `xy` in any unit.
    """
    centred = xy - xy.mean(axis=0)
    tree, rng = cKDTree(centred), np.random.default_rng(seed)
    taken = []
    for draw in range(n_draws):
        angle = rng.uniform(np.pi / 6, 11 * np.pi / 6)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        taken.append(tree.query(centred @ turn * [1, 1 - 2 * (draw % 2)])[1])
    return np.stack(taken, axis=1)


def _codes(labels: np.ndarray) -> np.ndarray:
    return labels if labels.ndim == 2 else labels[:, None]


def _member(labels: np.ndarray) -> np.ndarray:
    """Regions x spots x draws, 1. where a spot belongs to a region."""
    codes = _codes(labels)
    return (np.arange(codes.max() + 1)[:, None, None] == codes).astype(float)


def _adjusted_rand(clusters: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Of one clustering (clusters x spots) with labels (regions x spots x draws); one a draw."""

    def pairs(n):
        return n * (n - 1) / 2

    both = pairs(np.einsum("ks,csd->kcd", clusters, member, optimize=True)).sum(axis=(0, 1))
    a, b = pairs(clusters.sum(axis=1)).sum(), pairs(member.sum(axis=1)).sum(axis=0)
    expected = a * b / pairs(clusters.shape[1])
    return (both - expected) / ((a + b) / 2 - expected)
