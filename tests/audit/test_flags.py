"""Each flag by hand: two sections of numbers in, raised or not and a sentence out; models stand in test_matrix."""

import numpy as np
import pandas as pd
import pytest

from helpers.audit import flags
from helpers.audit.flags import FLAGS, Evidence

ROW = {"pcc": 0.6, "score": 0.6, "chance_95": 0.2, "own_library": 0.4, "composition": 0.5, "composition_chance_95": 0.2}
ROW |= {"own_library_chance_95": 0.1}
ROW |= {"nuclei_pcc": 0.3, "nuclei_chance_95": 0.2, "place_pcc": 0.1, "place_chance_95": 0.2}
ROW |= {"shift": 1, "shift_pcc": 0.5, "shift_gain": -0.1, "shift_error": 0.02, "above_ceiling": -0.02, "same_as": ""}
ROW |= {"kept_by_conversion": 0.99, "doubts": "", "not_umi": ""}
IDS = "no_composition own_library beaten_by_nuclei beaten_by_place chance misplaced impossible space not_umi few_genes"

SUMMARY = {"space": "log2", "k": 50, "n_genes": 300, "n_sections": 2, "n_patients": 2, "n_spots": 1400, "pcc": 0.6}
SUMMARY |= {"chance": 0.2, "ceiling": 0.9, "unit": "patients", "n_units": 2}
SUMMARY |= {f"{s}_skill{e}": v for s in ("library", "composition") for e, v in (("", 0.5), ("_chance_95", 0.3))}
SUMMARY |= {"library_skill_ceiling": 1.0, "composition_skill_ceiling": 0.7}
SUMMARY |= {
    f"excess_{floor}{end}": value
    for floor, values in (("nuclei", (0.3, 0.2, 0.4)), ("place", (0.5, 0.4, 0.6)))
    for end, value in zip(("", "_least", "_most"), values, strict=True)
}


def case(*changes, space="log2"):
    """Evidence of two sections without fault, each with its changes."""
    by = pd.DataFrame([ROW | change for change in (changes * 2)[:2]], index=["S1", "S2"])
    return Evidence(SUMMARY | {"space": space}, by, (None, "not given"), "unknown")


def judged(name, *changes, **more):
    return next(flag for flag in FLAGS if flag.id == name).judge(case(*changes, **more))


def test_the_ids_are_those_that_others_read():
    assert [flag.id for flag in FLAGS] == [*IDS.split(), "panel_leak", "smoothed_target", "panel_library"]


def test_a_reviewer_asks_one_question_a_flag():
    questions = [flag.question for flag in FLAGS]
    assert len(set(questions)) == len(FLAGS) and all(question.endswith("?") for question in questions)


@pytest.mark.parametrize("name", IDS.split())
def test_nothing_is_raised_without_a_reason(name):
    raised, says = judged(name, {})
    assert raised is False and "nan" not in says


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no_composition", {"composition": 0.2}),
        ("no_composition", {"composition": np.nan, "composition_chance_95": np.nan}),
        ("own_library", {"own_library": 0.6}),
        ("own_library", {"pcc": 0.1, "score": 0.1, "own_library": 0.0}),
        ("beaten_by_nuclei", {"nuclei_pcc": 0.6}),
        ("beaten_by_nuclei", {"haematoxylin_pcc": 0.6, "haematoxylin_chance_95": 0.2}),
        ("beaten_by_place", {"place_pcc": 0.6}),
        ("chance", {"pcc": 0.2}),
        ("chance", {"pcc": np.nan, "score": 0.0, "chance_95": np.nan}),
        ("misplaced", {"shift_gain": 0.1}),
        ("impossible", {"above_ceiling": 0.05}),
        ("impossible", {"same_as": "log2"}),
        ("space", {"doubts": "are they counts?"}),
        ("not_umi", {"not_umi": "all are multiples of 7"}),
        ("few_genes", {"kept_by_conversion": 0.8}),
    ],
)
def test_each_is_raised_by_its_own_reason(name, change):
    raised, says = judged(name, change)
    assert raised is True and "nan" not in says


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("misplaced", {"shift_gain": 0.05}),  # 2.5 standard errors
        ("misplaced", {"shift_gain": 0.1, "shift_pcc": 0.15}),  # within chance there as well
        ("beaten_by_place", {"pcc": 0.1, "score": 0.1}),  # both within their chance
        ("impossible", {"above_ceiling": 0.02}),  # as far as a ceiling may be off
    ],
)
def test_what_noise_does_raises_nothing(name, change):
    assert judged(name, change)[0] is False


def test_one_section_of_two_raises_a_fault_but_no_defeat():
    assert judged("misplaced", {"shift_gain": 0.1}, {})[0] and judged("not_umi", {"not_umi": "no"}, {})[0]
    assert not judged("beaten_by_nuclei", {"nuclei_pcc": 0.6}, {})[0]


@pytest.mark.parametrize("change", [{"doubts": "are they z-scores?"}, {"kept_by_conversion": 0.8}])
@pytest.mark.parametrize("name", ["no_composition", "own_library"])
def test_what_rests_on_a_conversion_is_open_where_there_is_none(name, change):
    assert judged(name, change)[0] is None


def test_a_space_without_a_library_has_none_to_be_compared_with():
    assert judged("own_library", {}, space="pearson_residual")[0] is None
    assert judged("few_genes", {"kept_by_conversion": 0.1}, space="pearson_residual")[0] is False


def test_a_constant_prediction_is_said_to_be_one_and_lies_nowhere():
    nothing = dict.fromkeys(("pcc", "chance_95", "shift_gain", "above_ceiling"), np.nan) | {"score": 0.0}
    assert "undefined (constant)" in judged("chance", nothing)[1]
    assert judged("misplaced", nothing)[0] is None and judged("impossible", nothing)[0] is False


def test_a_flag_says_how_near_it_is_to_being_raised():
    says = judged("own_library", {"own_library": 0.57})[1]
    assert (
        "with one composition in all spots, 0.570, 95% of it (95 % of chance 0.100); no more than that in 0 of" in says
    )
    raised, says = judged("beaten_by_place", {"place_pcc": 0.3, "place_chance_95": 0.35})
    assert not raised and "place alone 0.300, 50% of it (95 % of chance 0.350, place above it in 0 of 2 sect" in says
    assert "% of it" not in judged("own_library", {"pcc": np.nan, "score": 0.0})[1]


def test_without_nuclei_and_image_nothing_is_said_of_them():
    blind = case({})._replace(by=case({}).by.drop(columns=["nuclei_pcc", "nuclei_chance_95"]))
    assert flags.beaten_by_nuclei(blind) == (None, "neither the nuclei nor an image was given")


def test_the_sentence_holds_every_number_with_its_null_and_ceiling():
    said = flags.sentence(SUMMARY)
    assert "2 held-out sections of 2 patients (1,400 spots, 300 genes)" in said
    assert "0.60 (95 % of chance 0.20, noise ceiling 0.90) in the space of log2" in said
    assert "+0.30 over nuclei alone (+0.20 to +0.40) and +0.50 over place alone" in said
    assert (
        "floors fitted on other patients, which flatters a model trained on others of the same one, the median and "
        "range of 2 patients, too few for a test over patients" in said
    )
    assert "Composition skill (which genes these are) is 0.50 (95 % of chance 0.30, noise ceiling 0.70)" in said


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"n_units": 1, "n_patients": 1, "n_sections": 1}, "the rest of the section"),
        ({"n_units": 1, "n_patients": 1}, "the other sections"),
        ({"unit": "sections", "n_patients": None}, "the other sections"),
    ],
)
def test_the_sentence_says_what_floors_are_fitted_on(change, where):
    assert f"floors fitted on {where}, the median" in flags.sentence(SUMMARY | change)


def test_what_is_not_known_is_said_in_words():
    blank = {name: None if isinstance(value, float) else value for name, value in SUMMARY.items()}
    said = flags.sentence(blank | {"unit": "sections", "n_patients": None})
    assert "is undefined in the space of log2" in said and "No floor has a score in 2 sections" in said
    assert "patients are not known" in said and "None" not in said and "nan" not in said


def test_a_target_that_never_varies_is_none_that_we_know():
    table = pd.DataFrame({"section": ["S1"], "correlation": [np.nan], "method": ["log2"]})
    assert flags.target_in_words(table) == (None, "the target that was given is the same in every spot")
