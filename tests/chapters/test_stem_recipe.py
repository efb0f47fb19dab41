"""How training departs from the published recipe: each departure has its reason, and parts of the network add up."""

import re
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from helpers.chapters import stem_recipe
from helpers.models.stem import recipes

DRAWING = Path(__file__).parents[2] / "book/_static/stem_network.svg"


def departures(profile, **changes):
    return stem_recipe.departures(asdict(recipes.recipe(profile, **changes)))


def test_departures_are_those_of_the_profile_and_each_has_its_reason():
    assert departures("paper").empty
    for profile in ("quick", "cpu"):
        table = departures(profile).set_index("setting")
        assert (table["published"] != table["here"]).all() and (table["why"] != "").all()
        assert table.loc["prediction", ["published", "here"]].tolist() == ["epsilon", "v"]
    assert departures("paper", steps=10)["setting"].tolist() == ["steps"]


def test_departures_are_counted():
    for changes, counted in (({}, "no departures"), ({"steps": 1}, "1 departure"), ({"steps": 1, "depth": 2}, "2 dep")):
        assert counted in stem_recipe.remark("paper", departures("paper", **changes))


def test_sizes_add_up_part_by_part():
    weights = {"blocks.0.weight": np.ones((3, 4)), "blocks.1.bias": np.ones(3), "time_embed.weight": np.ones((2, 2))}
    assert stem_recipe.sizes(weights).to_dict() == {"blocks": 15, "time_embed": 4, "in total": 19}


def test_the_network_is_drawn_at_its_published_size():
    svg = ElementTree.parse(DRAWING).getroot()
    words = " ".join("".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text"))
    paper = recipes.PAPER
    for size in (f"{paper['n_heads']} heads", f"{paper['depth']} blocks", f"{paper['hidden_size']} → 2", "300 genes"):
        assert size in words
    assert set(re.findall(r"1,?536", words)) == {"1,536"}  # features of the patch, and four times the width


def test_a_fraction_of_ridge_stands_with_the_size_of_the_network():
    fitted = {"weights": {"a.w": np.zeros((3, 4)), "b.w": np.zeros(5)}, "hyper": {"steps": 100, "batch_size": 32}}
    table = stem_recipe.with_size(pd.DataFrame({"fraction": [0.9]}), fitted)
    assert table.iloc[0].to_dict() == {"fraction": 0.9, "parameters": 17, "spot_views": 3200}
    assert stem_recipe.with_size(pd.DataFrame({"fraction": []}), {}).empty
