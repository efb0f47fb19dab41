"""Arms beside the profile, by hand: both scores, the spread over seeds, and what features of nuclei add to them."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers import schema
from helpers.chapters import stem_arms
from helpers.scores import judge
from helpers.targets.normalization import LOG, RESIDUAL

GENES = ["a", "b", "c"]
MEASURED = np.array([[0.0, 1, 0], [1, 0, 0], [2, 2, 0], [3, 1, 0]])


def prediction(predicted, **uns):
    made = AnnData(obs=pd.DataFrame(index=list("stuv")), var=pd.DataFrame(index=GENES))
    made.layers[schema.MEASURED], made.layers[schema.PREDICTED] = MEASURED, predicted
    made.uns = {"section": "A1", "split": "section", "backbone": "stem", "seed": 0, "target": "log2"} | uns
    return made


def section():
    """Four spots of which the panel holds one count in six: its sum tells the library."""
    counts = np.array([[3.0, 8, 2, 65], [1, 4, 5, 50], [9, 2, 2, 65], [4, 4, 9, 85]])
    made = AnnData(obs=pd.DataFrame(index=list("stuv")), var=pd.DataFrame(index=[*GENES, "d"]))
    made.layers[schema.COUNTS], made.uns["section"] = counts, "A1"
    return made


def fitted(target, arm, seed=0, noise=0.0):
    """A prediction that knows its target but for noise."""
    measured = judge.measured(section(), target, GENES)
    scatter = noise * np.random.default_rng(seed).normal(size=measured.shape)
    made = prediction(measured + scatter, target=target, arm=arm, seed=seed)
    made.layers[schema.MEASURED] = measured
    return made


def test_an_arm_stands_beside_the_profile_on_the_sections_that_have_one():
    own = [fitted(LOG, "profile", noise=1), fitted(RESIDUAL, "profile", noise=1)]
    elsewhere = prediction(MEASURED, section="B1", arm="profile")
    ridge = prediction(MEASURED, backbone="ridge", arm="profile")
    found = stem_arms.score([*own, elsewhere, ridge], [fitted(LOG, "clipped")], {"A1": section()}, k=2)
    assert list(found) == ["split", "target", "arm", "section", "pcc_2", "composition"]
    by_arm = found.set_index(["arm", "target"])
    assert by_arm.loc[("clipped", LOG), ["pcc_2", "composition"]].tolist() == pytest.approx([1, 1])
    assert by_arm.loc[("profile", LOG), "pcc_2"] < 0.99 and set(found["section"]) == {"A1"}
    residual = by_arm.loc[("profile", RESIDUAL)]
    assert residual["composition"] == pytest.approx(residual["pcc_2"])  # one number, asked twice
    assert set(stem_arms.score(own, [], {"A1": section()}, k=2)["arm"]) == {"profile"}


def test_of_a_run_without_stem_no_arm_is_scored():
    found = stem_arms.score([prediction(MEASURED, backbone="ridge")], [], {"A1": section()}, k=2)
    assert found.empty and "composition" in found


def arms(**pcc):
    """Scores of arms on one section; composition skill is half of PCC-50."""
    table = pd.DataFrame({"split": "section", "target": LOG, "arm": list(pcc), "section": "C3", "pcc_50": pcc.values()})
    return table.assign(composition=table["pcc_50"] / 2)


def test_seeds_are_said_with_their_spread_and_features_of_nuclei_beside_it():
    text = stem_arms.remark(arms(profile=0.7, seed_1=0.8, seed_2=0.6, without_nuclei=0.5, as_is=0.1), 50)
    assert text == (
        "- log2(x + 1), section C3, one section held out: 3 seeds, PCC-50 mean 0.700, standard deviation 0.100 "
        "(0.600 to 0.800), composition skill mean 0.350, standard deviation 0.050 (0.300 to 0.400); without the "
        "features of nuclei PCC-50 0.500 (-0.200, 2.0 of these standard deviations), composition skill 0.250 (-0.100, "
        "2.0 of these standard deviations).\n\n"
        "Over 1 fold: what seeds and features do in others is not known."
    )
    residual = arms(profile=0.7, seed_1=0.8).assign(target=RESIDUAL)
    assert "composition" not in stem_arms.remark(residual, 50)  # the same number as PCC-k


def test_one_seed_has_no_spread_and_other_arms_are_not_said():
    text = stem_arms.remark(arms(profile=0.7, without_nuclei=0.6), 50)
    assert "seeds" not in text.splitlines()[0] and "PCC-50 0.600 (-0.100, one seed)" in text
    assert stem_arms.remark(arms(profile=0.7, clipped=0.8), 50) == ""
