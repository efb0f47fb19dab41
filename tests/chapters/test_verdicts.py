"""Verdicts on the panels: what must hold for each, on tables made so that it does, does in part, or does not."""

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import verdicts
from helpers.scores import coupling
from helpers.targets.normalization import LOG, RESIDUAL

SECTIONS = ["A1", "A2", "B1"]
PATIENTS = {"A1": "A", "A2": "A", "B1": "B"}


def by_section(value, log, residual, **more):
    """A table of a value: log and residual of each section."""
    rows = [
        (s, t, v) for t, values in ((LOG, log), (RESIDUAL, residual)) for s, v in zip(SECTIONS, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["section", "target", value]).assign(**more)


def null(metric, log=0.2, residual=0.2):
    return by_section("chance_95", [log] * 3, [residual] * 3, metric=metric)


@pytest.mark.parametrize(
    ("rho", "verdict"),
    [((0.5, 0.6, 0.4), "holds here"), ((0.5, 0.1, 0.1), "holds in part"), ((0.1, 0.0, -0.5), "does not hold here")],
)
def test_depth_follows_nuclei_beyond_its_null(rho, verdict):
    sections = pd.DataFrame({"section": SECTIONS, "rho_nuclei_depth": rho})
    chances = pd.DataFrame({"section": SECTIONS, "metric": coupling.OF_NUCLEI_AND_DEPTH, "chance_95": 0.3})
    found, words = verdicts.panel_a(sections, chances, PATIENTS)
    assert found == verdict and "of 3 sections of 2 patients, too few for a test over patients, above" in words


@pytest.mark.parametrize(
    ("log", "residual", "verdict"),
    [
        ((0.5, 0.6, 0.4), (0.1, 0.1, 0.1), "holds here"),
        ((0.15, 0.6, 0.4), (0.1, 0.1, 0.1), "holds in part"),  # one is within its null
        ((0.5, 0.6, 0.1), (0.1, 0.1, 0.3), "holds in part"),
        ((0.1, 0.1, 0.4), (0.3, 0.3, 0.3), "does not hold here"),
    ],
)
def test_log_follows_nuclei_more_than_the_residual_and_beyond_its_null(log, residual, verdict):
    metric = coupling.METRICS[0]
    found, words = verdicts.panels_b_and_c(by_section(metric, log, residual), null(metric), metric, PATIENTS)
    assert found == verdict and words.startswith(f"log {np.median(log):.2f}")


def test_a_higher_score_that_only_its_ceiling_explains_holds_in_part():
    top = by_section("pcc", [0.8] * 3, [0.5] * 3, k=50, ranking="same", ceiling=1.0)
    assert verdicts.panel_d(top, 50, PATIENTS)[0] == "holds here"
    top.loc[top["target"] == RESIDUAL, "ceiling"] = 0.5
    found, words = verdicts.panel_d(top, 50, PATIENTS)
    assert found == "holds in part" and "of the Poisson ceiling of their genes 80% and 100%, log higher in 0" in words


def differences(delta, panel=0.3, ks=(10, 50)):
    rows = [(s, k, d) for k in ks for s, d in zip(SECTIONS, delta, strict=True)]
    table = pd.DataFrame(rows, columns=["section", "k", "delta"])
    return table.assign(definition="own_top_k", ranking="same", delta_panel=panel)


def test_selection_that_adds_nothing_is_said_so():
    found, words = verdicts.panel_e(differences([0.2, 0.25, 0.28]), PATIENTS)
    assert found == "does not hold here" and "Delta_10 0.250 against 0.300 over the whole panel" in words
    assert verdicts.panel_e(differences([0.4, 0.5, 0.6]), PATIENTS)[0] == "holds here"


def test_panel_f_needs_log_beyond_random_maps_and_no_residual():
    table = by_section("coupling", [0.9] * 3, [0.1] * 3, chance_95=0.5)
    assert verdicts.panel_f(table, PATIENTS)[0] == "holds here"
    table.loc[table["target"] == RESIDUAL, "coupling"] = 0.6
    found, words = verdicts.panel_f(table, PATIENTS)
    assert found == "holds in part" and "log in 3, residual in 3 of 3 sections" in words


def test_the_direct_test_asks_for_nuclei_beyond_depth():
    table = by_section(coupling.GIVEN_DEPTH, [0.06, 0.05, 0.12], [0.05] * 3)
    found, words = verdicts.table_1(table, null(coupling.GIVEN_DEPTH, 0.056, 0.056), PATIENTS)
    assert found == "holds in part" and "log in 2, residual in 0 of 3 sections of 2 patients" in words


def test_two_patients_give_no_test_and_five_do():
    found, words = verdicts.table_2(differences([0.2, 0.3, 0.1]), PATIENTS)
    assert found == "holds in part" and words.endswith("; no test")
    names = [f"{patient}1" for patient in "ABCDEFGH"]
    table = pd.concat(
        [differences([0.3] * 3, ks=(10,))[:1].assign(section=name, delta=0.1 + i / 10) for i, name in enumerate(names)]
    )
    found, words = verdicts.table_2(table, {name: name[0] for name in names})
    assert found == "holds here" and "p = 0.0078, the least there is 0.0078" in words


def test_sections_are_read_off_their_spots():
    spots = pd.DataFrame({"section": list("ttuuv"), "patient": list("ppqqq"), "n": [1, 2, 3, 4, np.nan]})
    found = verdicts.sections_of(spots.assign(total_counts=[5, 6, 8, 7, 9]), "n")
    assert found.round(9).to_numpy().tolist() == [["t", "p", 1.0], ["u", "q", -1.0]]


def test_every_panel_of_every_backbone_has_its_line():
    summary = by_section(coupling.METRICS[0], [0.5] * 3, [0.1] * 3)
    for metric in (coupling.METRICS[1], coupling.GIVEN_DEPTH):
        summary[metric] = summary[coupling.METRICS[0]]
    chances = pd.concat([null(metric) for metric in (*coupling.METRICS, coupling.GIVEN_DEPTH)])
    of_depth = pd.DataFrame(
        {"section": SECTIONS, "metric": coupling.OF_NUCLEI_AND_DEPTH, "chance_95": 0.3, "target": ""}
    )
    sections = pd.DataFrame({"section": SECTIONS, "patient": list("AAB"), "rho_nuclei_depth": 0.5})
    both = ["ridge", "stem"]
    top = pd.concat(
        [by_section("pcc", [0.8] * 3, [0.5] * 3, k=20, ranking="same", ceiling=1, backbone=b) for b in both]
    )
    delta = pd.concat([differences([0.2] * 3).assign(backbone=b) for b in both])
    coupled = pd.concat([by_section("coupling", [0.9] * 3, [0.1] * 3, chance_95=0.5, backbone=b) for b in both])
    found = verdicts.verdicts(summary, pd.concat([chances, of_depth]), sections, top, delta, coupled, 50)
    assert found["panel"].tolist() == ["A", "B", "C", *"DD", *"EE", *"FF", "Table 1", "Table 2", "Table 2"]
    lines = verdicts.sentences(found).splitlines()
    assert lines[0].startswith("- **Panel A**: **holds here**. Rho of nuclei and depth is 0.50")
    assert lines[3].startswith("- **Panel D**, `stem`: **holds here**. PCC-20 log 0.80")


def test_the_answer_names_models_where_they_differ_and_no_empty_verdict():
    rows = [("A", "", 0), ("D", "stem", 0), ("D", "ridge", 0), ("E", "stem", 1), ("E", "ridge", 0), ("Table 1", "", 1)]
    found = pd.DataFrame(rows, columns=["panel", "backbone", "verdict"])
    found["verdict"] = found["verdict"].map(dict(enumerate(verdicts.VERDICTS)))
    assert verdicts.answer(found) == "**holds here**: A, D, E with `ridge`; **holds in part**: E with `stem`, Table 1"
    assert verdicts.answer(found[:1]) == "**holds here**: A"
