"""Twin of helpers/models/stem/recipes.py."""

import numpy as np
import pytest
import torch

from helpers.models.stem import network, recipes, training


@pytest.fixture(scope="module")
def published(stem_parity):
    """Inputs and outputs of the published code at a toy size, and our network with its weights."""
    stored = np.load(stem_parity)
    weights = {k.removeprefix("param/"): torch.tensor(stored[k]) for k in stored.files if k.startswith("param/")}
    values = {k: torch.tensor(stored[k]) for k in stored.files if not k.startswith("param/")}
    model = network.Stem(n_genes=24, hidden_size=32, depth=2, n_heads=4, condition_size=20)
    model.load_state_dict(weights, strict=True)
    return model.eval(), values


def draws(n_steps, n_spots=10, n_views=1, seed=0, **changes):
    hyper = recipes.recipe("quick", **changes)
    generator = torch.Generator()
    return [training.draw(step, n_spots, n_views, 2, 3, hyper, seed, generator) for step in range(n_steps)]


def test_every_view_of_every_spot_comes_once_in_an_epoch():
    for epoch in (draws(10, n_views=8, batch_size=8), draws(20, n_views=8, batch_size=8)[10:]):
        pairs = [pair for rows, views, *_ in epoch for pair in zip(rows.tolist(), views.tolist(), strict=True)]
        assert sorted(pairs) == [(spot, view) for spot in range(10) for view in range(8)]
    incomplete = torch.cat([rows for rows, *_ in draws(2, batch_size=4)])
    assert len(torch.unique(incomplete)) == 8  # the last two of ten are dropped, and come in another epoch


def test_draws_of_a_step_depend_on_seed_and_step_alone():
    again, other = draws(4, batch_size=4), draws(4, batch_size=4, seed=1)
    for a, b, c in zip(draws(4, batch_size=4), again, other, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert not torch.equal(a[3], c[3])
    assert not torch.equal(again[0][3], again[1][3])


def test_stratified_times_fall_one_in_each_part_of_the_schedule():
    [(_, _, t, *_)] = draws(1, batch_size=10, stratified=True)
    assert (t // 100).tolist() == list(range(10))


def test_profiles_state_every_hyperparameter_and_the_paper_is_as_published():
    assert all(profile.keys() == recipes.PAPER.keys() for profile in recipes.PROFILES.values())
    paper = recipes.PROFILES["paper"]
    published = {"hidden_size": 384, "depth": 12, "n_heads": 6, "learning_rate": 1e-4, "weight_decay": 0.0}
    published |= {"batch_size": 256, "ema": 0.9999, "n_samples": 20, "sampler": "ancestral", "arm": "as_is"}
    published |= {"steps": 250_000, "prediction": "epsilon", "rate": "constant", "augment": True}
    assert {name: paper[name] for name in published} == published
    size = sum(p.numel() for p in network.Stem(300, 384, 12, 6, 1536).parameters())
    assert size == pytest.approx(35.7e6, rel=0.005)


def test_departures_are_those_of_the_profile_and_each_has_its_reason():
    assert recipes.departures("paper").empty
    for profile in ("quick", "cpu"):
        table = recipes.departures(profile).set_index("setting")
        assert (table["published"] != table["here"]).all() and (table["why"] != "").all()
        assert table.loc["prediction", ["published", "here"]].tolist() == ["epsilon", "v"]
    assert recipes.departures(recipes.recipe("paper", steps=10))["setting"].tolist() == ["steps"]
