"""The sampling ladder: which ways are compared, what they cost, and scores that are those of the samples themselves."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import sampling
from helpers.models.stem import recipes

SAMPLERS = {"prediction": "v", "sampler": "sde", "calls": 25, "antithetic": True, "shared": False}


def drawn(fitted, conditions, n_samples, seed=0, progress=False, **way):
    """In place of a network's samples: the conditions, with noise of half their spread; pairs have opposite noise."""
    noise = 0.5 * np.random.default_rng(seed).normal(size=(n_samples, *conditions.shape))
    if way["antithetic"]:
        noise = np.concatenate([noise[: n_samples // 2], -noise[: n_samples // 2]])
    return (conditions + noise).astype("float32")


@pytest.fixture
def truth(monkeypatch):
    """500 spots; the expression is the conditions, and the last gene does not vary."""
    monkeypatch.setattr(sampling, "sample", drawn)
    values = np.random.default_rng(1).normal(size=(500, 4))
    values[:, 3] = 2
    return values


def test_the_published_way_comes_first_and_the_own_one_last():
    compared = sampling.ways(4, SAMPLERS)
    assert compared[0] == {"sampler": "ancestral", "n_samples": 4}
    assert compared[-1] == {"sampler": "sde", "calls": 25, "antithetic": True, "shared": False, "n_samples": 4}
    assert all(recipes.recipe("quick", **way) for way in compared)  # each is one that the sampler knows
    names = {way["sampler"] for way in compared}
    assert names == {"ancestral", "sde", "ddim", "dpm", "mean"}
    published = sampling.ways(4, SAMPLERS | {"prediction": "epsilon", "sampler": "ancestral"})
    assert len(published) == len(compared) - 2  # neither the mean, which needs the velocity, nor a way of its own


def test_the_ladder_counts_calls_of_all_samples(truth):
    ways = [{"sampler": "ancestral"}, {"sampler": "ddim", "calls": 20, "shared": True}, {"sampler": "mean"}]
    table = sampling.sampler_ladder({"hyper": SAMPLERS}, truth, truth, [way | {"n_samples": 2} for way in ways])
    assert table["network_calls"].tolist() == [2000, 40, 2]
    assert table["starts"].tolist() == ["independent", "shared", "independent"]


def test_genes_that_do_not_vary_are_left_out_of_every_score(truth):
    way = [{"sampler": "sde", "calls": 5, "n_samples": 2}]
    every, varying = (sampling.sampler_ladder({"hyper": SAMPLERS}, x, x, way) for x in (truth, truth[:, :3]))
    assert every["pcc"].item() == pytest.approx(varying["pcc"].item(), abs=0.01)
    assert every["rvd_samples"].item() < 0.2


def test_scores_tell_the_mean_from_what_samples_scatter_around():
    """Signal and noise of variance 1, 4 samples: their mean has 1.25, samples have 2, the expectation has 1."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(20_000, 2))
    found = sampling.scores(signal, signal + rng.normal(size=(4, 20_000, 2)))
    assert found["rvd"] == pytest.approx(0.25**2, abs=0.01)
    assert found["rvd_samples"] == pytest.approx(1, abs=0.05)
    assert found["rvd_expectation"] == pytest.approx(0, abs=0.01)
    assert found["pcc"] == pytest.approx(1 / np.sqrt(1.25), abs=0.01)
    assert found["spread"] == pytest.approx(0.80, abs=0.01)  # n in the denominator: c4(4) sqrt(3/4)


def test_noise_that_cancels_leaves_the_mean_and_one_pair_says_nothing_of_what_is_left():
    signal, noise = np.random.default_rng(0).normal(size=(2, 50, 2))
    pair = np.stack([signal + noise, signal - noise])
    found = sampling.scores(signal, pair, antithetic=True)
    assert found["pcc"] == pytest.approx(1) and found["rvd"] == pytest.approx(0)
    assert np.isnan(found["rvd_expectation"])
    constant = np.zeros((2, 50, 2))
    assert sampling.scores(signal, constant)["pcc"] == 0 and sampling.scores(signal, constant)["rvd"] == 1


def made(truth, **uns):
    one = AnnData(obs=pd.DataFrame(index=[f"s{i}" for i in range(len(truth))]), uns=uns)
    one.obsm[schema.PATCH] = truth
    return one


def test_a_fit_has_its_own_way_marked_once(truth):
    section = made(truth)
    uns = {"target": "log2", "seed": 3}
    prediction = AnnData(obs=section.obs, var=pd.DataFrame(index=list("abcd")), uns=uns)
    prediction.layers[schema.MEASURED] = truth
    table = sampling.sampler_ladders([({"hyper": SAMPLERS}, prediction)], section, n_spots=30, n_samples=4)
    assert list(table) == sampling.COLUMNS
    assert table["n_spots"].eq(30).all() and table["seed"].eq(3).all()
    own = table[table["profile"]]
    # The sde of 25 calls in pairs is among those compared anyway: it stands once.
    assert own[["sampler", "calls", "starts"]].to_numpy().tolist() == [["sde", 25, "antithetic"]]
    assert not table.duplicated(["sampler", "calls", "starts"]).any()
    published = sampling.ladder_of_fit({"hyper": SAMPLERS | {"sampler": "ancestral"}}, prediction, section, 30, 4)
    assert not published["profile"].any()


def test_without_a_fit_the_ladder_is_empty_and_nothing_is_remarked():
    table = sampling.sampler_ladders([], None, 10, 4)
    assert table.empty and list(table) == sampling.COLUMNS and sampling.remark(table) == ""


def test_the_own_way_is_compared_at_its_own_kind_of_noise_where_the_published_one_has_it():
    table = pd.DataFrame(
        {
            "target": "pearson_residual",
            "sampler": ["ancestral", "ancestral", "sde"],
            "starts": ["independent", "antithetic", "antithetic"],
            "calls": [1000, 1000, 25],
            "network_calls": [4000, 4000, 100],
            "profile": [False, False, True],
            "pcc": [0.1, 0.2, 0.3],
        }
    ).assign(rvd=0.4, rvd_expectation=np.nan, rvd_samples=0.5)
    table = table.assign(n_spots=10, n_samples=4)
    assert sampling.remark(table).startswith(
        "- Pearson residual, the profile's own way (`sde`, 25 calls a sample, antithetic noise) and the published"
    )
    assert sampling.answer(table) == (
        "With 40 times fewer calls of the network than the published sampler, the profile's own way has a PCC (in "
        "brackets that of all steps with the same kind of noise) of **0.30** (0.20) in Pearson residual. "
        "That is on 10 spots of one section with 4 samples each, too few to test a difference."
    )
    assert sampling.answer(table, "Mine").startswith("STEM was not trained in this run: this is the committed run of M")
    assert "**0.30** (0.10)" in sampling.answer(table.assign(starts=["independent", "antithetic", "shared"]))
    as_published = sampling.answer(table.assign(profile=False))
    assert "samples as published, with a PCC of 0.10 to 0.20; ways of at most 25 calls have 0.30. That" in as_published
