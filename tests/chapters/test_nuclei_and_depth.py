"""The sentence on nuclei and depth: least and most are named, sections without an image left out."""

import numpy as np
import pandas as pd

from helpers.chapters.nuclei_and_depth import answer
from helpers.scores import coupling

CHANCES = pd.DataFrame({"section": [coupling.MEDIAN], "metric": [coupling.OF_NUCLEI_AND_DEPTH], "chance_95": [0.21]})


def sections(*rho):
    names = ["A1", "A2", "B1"][: len(rho)]
    return pd.DataFrame({"section": names, "patient": [name[0] for name in names], "rho_nuclei_depth": rho})


def test_the_median_stands_between_the_sections_at_both_ends():
    sentence = answer(sections(0.5, -0.1, 0.3), CHANCES)
    assert (
        "median of **0.30** (95 % point of chance 0.21) over 3 sections of 2 patients, from -0.10 (A2) to 0.50 (A1)"
        in sentence
    )


def test_a_section_without_an_image_counts_neither_as_section_nor_as_patient():
    assert answer(sections(0.5, np.nan, np.nan), CHANCES[:0]).endswith("**0.50** over 1 section of 1 patient.")


def test_without_any_image_there_is_no_rho():
    sentence = answer(sections(np.nan), CHANCES)
    assert sentence.startswith("No section") and "nan" not in sentence
