"""Twin of helpers/models/stem/recipes.py."""

from dataclasses import FrozenInstanceError, asdict

import pytest

from helpers.models.stem import network, recipes
from helpers.models.stem.recipes import Recipe


def test_the_defaults_are_the_published_recipe():
    published = {"hidden_size": 384, "depth": 12, "n_heads": 6, "learning_rate": 1e-4, "weight_decay": 0.0}
    published |= {"batch_size": 256, "ema": 0.9999, "n_samples": 20, "sampler": "ancestral", "scaling": "as_is"}
    published |= {"steps": 250_000, "prediction": "epsilon", "rate": "constant", "augment": True}
    assert asdict(Recipe()) | published == asdict(Recipe()) == recipes.PAPER
    assert recipes.PROFILES["paper"] == Recipe()
    size = sum(p.numel() for p in network.Stem(300, 384, 12, 6, 1536).parameters())
    assert size == pytest.approx(35.7e6, rel=0.005)


def test_a_profile_is_changed_in_what_is_asked_alone_and_stays_itself():
    changed = recipes.recipe("quick", steps=7, scaling="clipped")
    before = asdict(recipes.PROFILES["quick"])
    assert asdict(changed) == before | {"steps": 7, "scaling": "clipped"}
    assert asdict(recipes.recipe("quick")) == before
    with pytest.raises(FrozenInstanceError):
        changed.steps = 8


def test_what_is_stored_with_a_fit_is_plain_and_read_again():
    stored = asdict(recipes.recipe("cpu", patience=3))
    assert {type(value) for value in stored.values()} <= {int, float, bool, str}
    assert recipes.changed(Recipe(), stored) == recipes.recipe("cpu", patience=3)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"stepz": 3, "size": 1}, "no hyperparameter size, stepz: choose from hidden_size, depth, .*, shared"),
        ({"sampler": "euler"}, "sampler is 'euler': choose from ancestral, sde, ddim, dpm, mean"),
        ({"scaling": None}, "scaling is None: choose from as_is, standardized, clipped"),
        ({"steps": 10.0}, "steps is 10.0: give a whole number"),
        ({"steps": True}, "steps is True: give a whole number"),
        ({"learning_rate": "1e-4"}, "learning_rate is '1e-4': give a number"),
        ({"ema": False}, "ema is False: give a number"),
        ({"compile": 1}, "compile is 1: give true or false"),
        ({"sampler": "mean", "prediction": "epsilon"}, "sampler 'mean' needs prediction='v'.* choose sde"),
    ],
)
def test_a_name_a_type_or_a_choice_that_does_not_exist_is_refused(changes, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        recipes.recipe("quick", **changes)


def test_a_whole_number_is_a_number():
    assert recipes.recipe("quick", condition_noise=1).condition_noise == 1


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="no profile 'big': choose from quick, cpu, paper"):
        recipes.recipe("big")
