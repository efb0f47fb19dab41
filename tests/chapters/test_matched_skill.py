"""Ridge at STEM's skill: the penalty that gives a known skill is found, and with it every score."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from helpers.chapters import cross_space, matched_skill
from helpers.chapters.normalization import with_targets
from helpers.models import backbones
from helpers.schema import COUNTS, PATCH, SPATIAL
from helpers.scores import judge
from helpers.targets import normalization
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

GENES = [f"g{i}" for i in range(8)]
STEM = 300.0  # the penalty of a ridge that goes by the name of STEM


def section(name, seed):
    """Forty spots; features see depth and composition, each under noise, and much besides."""
    rng = np.random.default_rng(seed)
    depth, left = rng.uniform(200, 2000, 40), rng.uniform(0, 1, 40)
    share = np.column_stack([left, 1 - left, left**2, *np.ones((5, 40)) / 2]) / 6
    made = AnnData(obs=pd.DataFrame(index=[f"{name}{i}" for i in range(40)]), var=pd.DataFrame(index=GENES))
    made.layers[COUNTS] = csr_matrix(rng.poisson(depth[:, None] * share).astype(float))
    made.obs["total_counts"], made.obs["patient"] = made.layers[COUNTS].toarray().sum(axis=1), name[0]
    made.obsm[SPATIAL] = np.argwhere(np.ones((8, 5))).astype(float)
    seen = np.column_stack([np.log(depth) + rng.normal(0, 0.3, 40), left + rng.normal(0, 0.2, 40)])
    made.obsm[PATCH] = np.hstack([seen, rng.normal(size=(40, 8))])
    made.uns["section"] = name
    return made


@pytest.fixture(scope="module")
def sections():
    return {name: section(name, seed) for seed, name in enumerate(("A1", "A2", "B1"))}


@pytest.fixture(scope="module")
def fits(sections):
    prepared = {name: with_targets(one, GENES[:4], (LOG, RESIDUAL)) for name, one in sections.items()}
    made = []
    for name, target in ((name, target) for name in ("A1", "B1") for target in (LOG, RESIDUAL)):
        for backbone, settings in (("ridge", {}), ("stem", {"alpha": STEM})):
            one = backbones.predict(prepared, name, target, "ridge", prepare=normalization.clip, **settings)
            one.uns["backbone"] = backbone
            made.append(one)
    return cross_space.by_fit(made)


@pytest.fixture(scope="module")
def scores(fits, sections):
    ceilings = pd.concat(
        pd.DataFrame({"section": name, "target": target, "gene": GENES[:4], "ceiling": 0.9})
        for name in sections
        for target in (LOG, RESIDUAL, LOG_CP10K)
    )
    return cross_space.score_fits(fits, sections, ceilings, 2, n_draws=16)[0]


def test_the_penalty_of_a_known_skill_is_found_though_skill_does_not_fall_everywhere():
    found = matched_skill.nearest_penalty(lambda alpha: 0.5 - 0.1 * abs(np.log10(alpha) - 2), 0.17)
    assert found == pytest.approx(10**5.3)
    assert matched_skill.nearest_penalty(lambda alpha: -np.log10(alpha), 9) == pytest.approx(10**-0.9)


def test_a_stem_that_is_a_weaker_ridge_is_met_in_every_score(sections, fits, scores):
    found = matched_skill.match(sections, fits, scores, "section", 2)
    assert list(found.columns) == matched_skill.COLUMNS and len(found) == 2 * len(matched_skill.WAYS)
    np.testing.assert_allclose(found["matched"], found["stem"], atol=0.02)
    assert set(found["patient"]) == {"A", "B"} and (found["ridge"] != found["matched"]).all()
    known = scores.set_index(["backbone", "section", "trained_in", "scored_in"])["pcc_2"]
    assert found.loc[0, "ridge"] == known["ridge", "A1", LOG, LOG]


def test_a_penalty_that_is_given_is_the_one_that_is_fitted(sections):
    one = backbones.predict(
        {name: with_targets(part, GENES[:4], (LOG,)) for name, part in sections.items()}, "A1", LOG, "ridge", alpha=STEM
    )
    assert one.uns["info"] == {"alpha": STEM}
    assert judge.measured(sections["A1"], LOG, GENES[:4]).shape == one.shape


def test_without_stem_there_is_nothing_to_match(sections, fits, scores):
    ridge = {key: fitted for key, fitted in fits.items() if key[2] == "ridge"}
    found = matched_skill.match(sections, ridge, scores, "section", 2)
    assert found.empty and list(found.columns) == matched_skill.COLUMNS
    assert matched_skill.remark(found, 2).startswith("STEM was not trained")


def test_gap_and_order_of_the_targets_are_said_for_each_model():
    ways = dict(
        zip(matched_skill.WAYS, [(0.7, 0.8, 0.6), (0.3, 0.5, 0.4), (0.4, 0.6, 0.4), (0.5, 0.6, 0.3)], strict=True)
    )
    rows = [("A1", "A", "section", 10.0, *way, *pcc, 0.3) for way, pcc in ways.items()]
    said = matched_skill.remark(pd.DataFrame(rows, columns=matched_skill.COLUMNS), 50)
    assert "Medians over 1 section of 1 patient; STEM's composition skill is above chance (0.300) in 1" in said
    assert (
        "- ridge at STEM's skill: composition skill **0.400**; PCC-50 log2(x + 1) 0.600, log1p(CP10k) 0.400, "
        "Pearson residual 0.300; median of the sections' gaps, log less residual, **+0.300** (+0.300 to +0.300); the "
        "targets in the order of ridge in 0 of 1."
    ) in said
    assert "the gaps of the two at one skill lie up to 0.10 apart (A1;" in said
    assert "- STEM: composition skill **0.400**" in said and said.count("order of ridge in 1 of 1") == 2
