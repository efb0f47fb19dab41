"""Leakage: which sections can be compared, differences by hand, and sentences that hold for none, one and many."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters import leakage
from helpers.chapters.patients import ALL, AWAY, BACKBONES, EQUAL, OWN, TRAININGS

TARGETS = ["log2", "pearson_residual"]
OTHERS = {"A1": "B1", "A2": "B1", "B1": "A1 A2"}


def fit(section, training, backbone="ridge", target="log2", score=0.5, draw=0):
    own = {"A1": "A2", "A2": "A1"}.get(section, "")
    on = {ALL: f"{own} {OTHERS[section]}".strip(), OWN: own}.get(training, OTHERS[section])
    row = {"section": section, "patient": section[0], "training": training, "draw": draw, "trained_on": on}
    row |= {"n_own": on.count(section[0]), "n_spots": 30, "target": target, "backbone": backbone}
    return row | {"pcc_10": score + 0.1, "pcc_50": score, "pcc_all": score - 0.1}


@pytest.fixture
def fits():
    """A1 and A2 gain 0.2 and 0.1 from their patient in log and nothing in residuals; B1 is alone."""
    with_it = {("A1", "log2"): 0.7, ("A2", "log2"): 0.6}
    rows = [fit(name, ALL, backbone, target, 0.55) for name in OTHERS for target in TARGETS for backbone in BACKBONES]
    for name in ("A1", "A2"):
        for target in TARGETS:
            own = with_it.get((name, target), 0.5)
            rows += [fit(name, OWN, "ridge", target, own + shift, draw) for draw, shift in enumerate((-0.1, 0.1))]
            rows += [fit(name, AWAY, "ridge", target, 0.5), fit(name, OWN, "nuclei", target, 0.3)]
            rows += [fit(name, AWAY, "nuclei", target, 0.4)]
            rows += [fit(name, EQUAL[OWN], "ridge", target, 0.45), fit(name, EQUAL[AWAY], "ridge", target, 0.4)]
    return pd.DataFrame(rows)


@pytest.fixture
def alone(fits):
    return fits[fits["training"] == ALL]


def test_a_section_without_another_of_its_patient_is_left_out(fits, alone):
    assert (leakage.comparable(fits), leakage.left_out(fits)) == (["A1", "A2"], ["B1"])
    assert leakage.patients_compared(fits) == ["A"]
    assert leakage.comparable(alone) == leakage.patients_compared(alone) == []


def test_who_can_be_compared_is_said_of_none_and_of_many(fits, alone):
    text = leakage.comparable_sentence(fits)
    assert text.startswith("**2 of 3** sections can be compared: A1, A2, of 1 patient. Not B1: for it training holds ")
    text = leakage.comparable_sentence(alone)
    assert text.startswith("**0 of 3** sections can be compared. Not A1, A2, B1: for them training holds ")


def section(patient, depth, image=True):
    obs = pd.DataFrame({"patient": patient, "total_counts": depth}, index=[f"s{i}" for i in range(len(depth))])
    return AnnData(obs=obs.assign(n_nuclei=1) if image else obs)


def test_the_opening_counts_images_and_patients():
    sections = {"A1": section("A", [1.0]), "A2": section("A", [1.0]), "B1": section("B", [1.0], image=False)}
    text = leakage.opening("Toy", sections)
    assert text.endswith("**Toy**, 3 sections, 2 of them with an image; patients: 2, 1 of them with an image.")


def test_the_size_of_a_training_is_that_of_its_first_draw(fits):
    sections = {"A1": section("A", [1e3, 3e3]), "A2": section("A", [2e3, 5e3]), "B1": section("B", [10.0])}
    table = leakage.training_sizes(fits, sections).set_index(["held out", "training"])
    assert len(table) == 3 + 2 * 2  # each once, and none at equal depth
    assert table.loc[("A1", ALL)].tolist() == [2, 1, 30, "2,000"]
    assert table.loc[("B1", ALL)].tolist() == [2, 0, 30, "2,500"]


def test_a_panel_below_k_is_scored_by_its_mean(fits):
    assert leakage.metric(fits, 50) == ("pcc_50", "PCC-50")
    assert leakage.metric(fits.assign(pcc_50=np.nan), 50) == ("pcc_all", "mean PCC of the panel")


def test_differences_are_of_means_over_draws(fits):
    gap = leakage.difference(leakage.of_comparable(fits, 50)).set_index(leakage.KEYS)["pcc_50"]
    assert gap["A1", "ridge", "log2"] == pytest.approx(0.2) and gap["A2", "ridge", "log2"] == pytest.approx(0.1)
    assert gap["A1", "nuclei", "log2"] == pytest.approx(-0.1) and len(gap) == 8
    equal = leakage.difference(leakage.of_comparable(fits, 50), *EQUAL.values())
    assert set(equal["backbone"]) == {"ridge"} and equal["pcc_50"].tolist() == pytest.approx([0.05] * 4)


def test_trainings_of_ridge_stand_in_their_order(fits, alone):
    ridge = leakage.of_ridge(leakage.of_comparable(fits, 50))
    assert list(ridge["training"].unique()) == [kind.replace(", at", ",\nat") for kind in TRAININGS]
    assert leakage.of_ridge(leakage.of_comparable(alone, 50)).empty


def test_a_line_of_ridge_adds_up(fits):
    text = leakage.ridge_sentences(fits, TARGETS, 50)
    assert "- log2(x + 1): 0.50 from other patients only, 0.65 with the own one, 0.55 from all other sections" in text
    assert "gap **+0.15** (median; +0.10 to +0.20), above zero in 2 of 2 sections; at equal depth **+0.05**" in text
    assert "over patients: n = 1 patient: not estimable." in text
    assert text.endswith(
        " For B1 every training is one on other patients: ridge 0.55 (nuclei alone 0.55) in log2(x + 1), "
        "0.55 (nuclei alone 0.55) in Pearson residual."
    )


def test_enough_patients_have_a_p(fits):
    """Five patients as alike as copies: their signs agree, so p is the least."""
    first = fits[fits["section"] == "A1"]
    copies = pd.concat([first.assign(section=f"{p}1", patient=p) for p in "CDEFG"])
    text = leakage.ridge_sentences(copies, ["log2"], 50)
    assert text.endswith("over patients: p = 0.062, n = 5 patients.\n\n")


def test_where_nothing_can_be_compared_it_is_said(alone):
    text = leakage.ridge_sentences(alone[alone["section"] == "A1"], TARGETS, 50)
    assert text == "`ridge`, PCC-50:\n\n- No section can be compared.\n\n"
    none = leakage.comparison_sentence(leakage.of_comparable(alone, 50), TARGETS, "pcc_50", "PCC-50")
    assert none.startswith("Nothing can be compared")


def test_the_comparison_is_of_medians_over_sections(fits):
    compared = leakage.of_comparable(fits, 50)
    text = leakage.comparison_sentence(compared, TARGETS, "pcc_50", "PCC-50")
    assert "PCC-50 of ridge: +0.15 with the own patient in training, +0.00 without." in text
    assert text.endswith("log2(x + 1) +0.35 with and +0.10 without, Pearson residual +0.20 with and +0.10 without.")
    assert leakage.comparison_sentence(compared, TARGETS[:1], "pcc_50", "PCC-50").startswith("Nothing")


# One section each -----------------------------------------------------------------------------------------------


@pytest.fixture
def one():
    rows = [
        {"section": f"{p}{i}", "patient": p, "training": kind, "target": "log2", "backbone": backbone, "pcc_50": score}
        for p in "ABCDE"
        for i in (1, 2)
        for backbone in ("place", "depth")
        for kind, score in ((OWN, 0.5 + 0.1 * i), (OWN, 0.7 + 0.1 * i), (AWAY, 0.6))
    ]
    return pd.DataFrame(rows)


def test_gaps_are_of_means_over_draws(one):
    gaps = leakage.one_section_gaps(one, "pcc_50")
    assert len(gaps) == 20
    first = gaps[(gaps["section"] == "A2") & (gaps["backbone"] == "depth")].iloc[0]
    assert (first[OWN], first[AWAY], first["gap"]) == pytest.approx((0.8, 0.6, 0.2))


def test_place_is_shown_by_patient(one):
    place = leakage.of_place(leakage.one_section_gaps(one, "pcc_50"))
    assert set(place["backbone"]) == {"place"} and place["patient"].iloc[0] == "patient A"


def test_enough_patients_have_an_interval_and_few_a_note(one):
    gaps = leakage.one_section_gaps(one, "pcc_50")
    text = leakage.one_section_sentence(gaps, "place", "log2")
    assert "place alone, log2(x + 1): 0.75 from the own patient, 0.60 from another, gap **+0.150**" in text
    assert "p = 0.062, where the smallest possible is 0.062; n = 5 patients." in text
    text = leakage.one_section_sentence(gaps[gaps["patient"] < "C"], "place", "log2")
    assert text.endswith("(median of 4 sections); n = 2 patients: not estimable.")


def test_no_fit_has_no_line(one):
    assert leakage.one_section_sentences(leakage.one_section_gaps(one, "pcc_50").iloc[:0], ["log2"]).startswith(
        "No patient"
    )
    assert leakage.one_section_sentences(leakage.one_section_gaps(one, "pcc_50"), ["log2"]).count("- ") == 2


# Limits ---------------------------------------------------------------------------------------------------------


def test_the_answer_has_both_gaps_or_says_that_there_is_none(fits, alone, one):
    gaps = leakage.one_section_gaps(one, "pcc_50")
    text = leakage.answer(fits, gaps, TARGETS, 50)
    assert text.startswith("PCC-50 of `ridge` with the own patient in training less that with other patients only")
    assert "medians over 2 sections of 1 patient: **+0.15** in log2(x + 1) (above zero in 2 of 2), **+0.00**" in text
    assert "of another, medians over 10 sections of 5 patients: **+0.15** in log2(x + 1) (above zero in 10 of" in text
    nothing = leakage.answer(alone, gaps[:0], TARGETS, 50)
    assert nothing.startswith("No section of this cohort can be compared") and "Place" not in nothing


def test_limits_name_the_single_other_section(fits):
    few, single, left = leakage.limits(fits).splitlines()
    assert few.startswith("- 1 patient with an image can be compared")
    assert single.startswith("- For A1, A2 all training on other patients is one section, B1: a gap there is that")
    assert left.startswith("- B1: leakage")


def test_limits_end_where_there_are_patients_enough(fits):
    kept = fits[fits["section"] == "A1"]
    many = pd.concat([kept.assign(section=f"{p}1", patient=p, trained_on="X Y") for p in "CDEFG"])
    assert leakage.limits(many) == ""
