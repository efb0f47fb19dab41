"""Power: whose spread it is, what patients and sections add, and how many are needed."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import power

PATIENTS = pd.Series({f"{patient}{i}": patient for patient in "ABCDE" for i in (1, 2)})
SPREAD = power.Spread(0.1, 0.05, 10, 5, 2, "this cohort")


def differences(between=1.0, within=0.1):
    """Patients 0, 1, 2, ... apart, their two sections within of their mean."""
    return pd.Series(np.repeat(between * np.arange(5), 2) + np.tile([-within, within], 5), PATIENTS.index)


def test_few_patients_or_single_sections_cannot_tell_their_spread():
    assert power.estimable(differences(), PATIENTS)
    assert not power.estimable(differences().iloc[:8], PATIENTS)  # four patients
    assert not power.estimable(differences().iloc[::2], PATIENTS)  # one section each


def test_the_spread_tells_patients_from_sections():
    spread = power.spread_of(differences(), PATIENTS, "toy")
    assert spread.sd_sections == pytest.approx(0.1 * np.sqrt(2))  # +-0.1 around a mean
    assert spread.sd_patients == pytest.approx(np.sqrt(2.5 - 0.02 / 2))  # of 0 to 4, less what sections add
    assert (spread.n_total, spread.n_patients, spread.n_sections, spread.source) == (10, 5, 2, "toy")


def test_simulated_patients_stand_in_where_the_own_are_too_few():
    own = differences(between=2.0).iloc[:8]
    spread = power.observed_spread(own, PATIENTS, differences(), PATIENTS)
    assert spread[:3] == power.spread_of(differences(), PATIENTS, "")[:3] and "simulated" in spread.source
    assert power.observed_spread(differences(), PATIENTS, own, PATIENTS).source.startswith(
        "the patients of this cohort"
    )


def test_more_patients_find_more_and_five_find_nothing():
    table = power.powers(SPREAD, [0.1], [5, 8, 20], [2])
    assert table["rate"].is_monotonic_increasing and table["rate"].iloc[0] == 0
    assert list(table) == ["effect", "n_patients", "n_sections", "unit", "rate"]


def test_sections_taken_for_patients_find_what_is_not_there():
    table = power.powers(SPREAD, [0.0], [8], [4], ["patient", "section"])
    by_patient, by_section = table["rate"]
    assert by_patient < 0.06 < 0.2 < by_section


@pytest.fixture
def settled():
    rows = [(0.1, 8, 1, 0.7), (0.1, 9, 1, 0.8), (0.1, 10, 1, 0.9), (0.05, 10, 1, 0.3), (0.1, 9, 4, 0.79)]
    return pd.DataFrame(rows, columns=["effect", "n_patients", "n_sections", "rate"])


def test_the_least_number_with_enough_power_is_needed(settled):
    needed = power.patients_needed(settled)
    assert list(needed.index) == [0.1, 0.05] and list(needed.columns) == [1, 4]
    assert needed.loc[0.1, 1] == 9 and needed.isna().to_numpy().tolist() == [[False, True], [True, True]]


def test_needed_patients_are_shown_in_words(settled):
    table = power.shown(power.patients_needed(settled), most=10)
    assert table.columns.tolist() == ["1 section each", "4 sections each"]
    assert table.loc["0.1"].tolist() == ["9", "more than 10"]


def test_the_spread_is_said_with_what_sections_would_err():
    mistaken = pd.DataFrame({"unit": ["patient", "section"], "rate": [0.04, 0.31]})
    text = power.spread_sentences(SPREAD, mistaken)
    assert "that of this cohort (10 sections of 5 patients): standard deviation 0.100 between patients" in text
    assert "0.0625 with five and 0.031 with six" in text
    assert text.endswith("find one in **31%** of cohorts, and a test over patients in 4%.")


def test_the_papers_difference_is_settled_or_not():
    seen = pd.DataFrame({"n_patients": [1], "n_sections": [3], "mean": [0.25], "median": [0.2]})
    text = power.settled_sentence(0.252, 9.0, seen, "this cohort")
    assert (
        "0.252, with a power of 80% takes 9 patients, if their spread is that of this cohort. In this cohort " in text
    )
    assert "the mean over 1 patient is 0.250 (median of 3 sections 0.200). The test is over patients, one" in text
    assert text.endswith("under 6 of them it cannot reject at 5%.")
    text = power.settled_sentence(0.252, np.nan, seen.iloc[:0], "this cohort")
    assert "takes more than 30 patients, if their spread is that of this cohort. The test is over patients" in text
