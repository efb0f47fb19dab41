"""Made reference runs whose numbers are known, for the tests of the answer."""

import shutil

import pandas as pd

from helpers import store
from helpers.chapters import answer_numbers, organs
from helpers.labels import TARGETS


def rows(columns, *values):
    return pd.DataFrame(list(values), columns=columns.split())


def one_run(tmp_path):
    """Two patients; ridge clears nuclei in one of them in log; STEM reaches half of ridge."""
    targets = list(TARGETS)
    without, others = {"ridge": 0.7, "nuclei": 0.6, "place": 0.1}, {"ridge": 0.2, "nuclei": 0.3, "place": 0.1}
    scores = {"ridge": 0.8, "stem": 0.4, "nuclei": 0.6, "place": 0.5}
    made = {
        "table1": rows(
            "metric target value chance_95 n_sections paper",
            *(
                (m, t, 0.45, 0.25, 2, 0.3 if t != targets[2] else None)
                for m in answer_numbers.COUPLINGS
                for t in targets
            ),
            ("rho_nuclei_depth", None, 0.6, 0.3, 2, None),
        ),
        "sections": rows("section patient rho_nuclei_depth", *(("A1", "A", 0.5), ("A2", "A", 0.4), ("B1", "B", 0.6))),
        "associations": rows(
            "section target gene rho_nuclei rho_depth rho_nuclei_given_depth p_nuclei_given_depth p_depth_given_nuclei",
            *((s, t, g, 0.4, 0.6, 0.1, 0.5, 0.01) for s in ("A1", "A2", "B1") for t in targets for g in ("x", "y")),
        ),
        "coupling_chance": rows(
            "section target metric chance chance_95",
            *((s, t, m, 0.1, 0.2) for s in ("A1", "A2", "B1") for t in targets for m in organs.PARTS),
            *((s, None, "rho_nuclei_depth", 0, 0.3) for s in ("A1", "A2", "B1")),
        ),
        "floors": rows(
            "section split backbone target pcc_50",
            *((s, "section", b, t, v) for s in ("A1", "B1") for b, v in scores.items() for t in targets),
        ),
        "patients": rows(
            "section patient training n_own target backbone pcc_50 chance_95 trained_on",
            *(("A1", "A", "all other sections", 1, t, b, 0.99, 0.2, "A2 B1") for t in targets for b in without),
            *(("A1", "A", "other patients only", 0, t, b, v, 0.3, "B1") for t in targets for b, v in without.items()),
            *(("B1", "B", "all other sections", 0, t, b, v, 0.2, "A1 A2") for t in targets for b, v in others.items()),
        ),
        "cross_space": rows(
            "section split backbone trained_in scored_in chance_95 ceiling_50 pcc_50",
            *(
                (s, "section", b, t, t, 0.3, 0.9, v)
                for s in ("A1", "B1")
                for b, v in (scores | {"depth": 0.65}).items()
                if b != "place"
                for t in targets
            ),
            *(("A1", "section", b, "library", targets[0], 0.9, 0.9, 0.7) for b in ("ridge", "stem")),
            *(("A1", "section", b, targets[1], targets[0], 0.3, 0.9, v) for b, v in scores.items() if b != "place"),
            ("A1", "section", "ridge", targets[0], targets[1], 0.9, 0.9, 0.1),
        ),
        "controls": rows(
            "section split twin target backbone pcc_50 chance_95",
            *(
                ("A1", "section", twin, t, b, v, 0.3)
                for twin, v in {"depth_only": 0.72, "equal_depth": 0.99}.items()
                for t in targets
                for b in ("ridge", "stem", "depth")
            ),
        ),
        "partial": rows(
            "section split target backbone given r partial partial_chance_95",
            *(
                ("A1", "section", t, b, given, scores.get(b, 0.65), left, 0.05)
                for t, left in zip(targets, (0.1, 0.35, 0.2), strict=True)
                for b in ("ridge", "stem", "depth")
                for given in ("depth", "both")
            ),
        ),
        "skills": rows(
            "section split backbone target library library_chance_95 library_ceiling "
            "composition composition_chance_95 composition_ceiling",
            *(("A1", "section", b, "log2", 0.8, 0.4, 1.0, 0.5, 0.1, 0.9) for b in ("ridge", "stem", "nuclei")),
        ),
        "known_truth_ranks": rows(
            "section patient shrunk coupling truth report contested",
            *(("A1", "A", True, 0.5, "composition", r, 0.75) for r in (*targets, "composition")),
        ),
        "type_one_error": rows(
            "maps null rate",
            ("random fields", "spatial", 0.05),
            *(("rising to the middle", null, rate) for null, rate in (("spatial", 0.3), ("place", 0.05))),
            ("smooth in one half, noise in the other", "place", 0.13),
            *(("this cohort, as it lies", null, rate) for null in ("spatial", "place") for rate in (0.08, 0.31)),
        ),
    }
    folder = tmp_path / "cohort"
    for name, table in made.items():
        store.write_table(table, folder / f"{name}.csv{'.gz' * (name == 'associations')}")
    store.write_json({"cohort": "Some tissue"}, folder / "provenance.json")
    return folder


def reference_runs(path):
    """The folder that holds a made run under the names of all three, and two tables: of the first, and of couplings."""
    folder = one_run(path)
    for name in answer_numbers.RUNS:
        shutil.copytree(folder, folder.parent / "runs" / name)
    for name, cohort in zip(answer_numbers.RUNS, ("Tumours", "Reduced", "Bulb"), strict=True):
        measure = "n_nuclei" if cohort == "Tumours" else "haematoxylin"
        store.write_json({"cohort": cohort, "cellularity": measure}, folder.parent / f"runs/{name}/provenance.json")
    runs = folder.parent / "runs"
    fits = rows("section target arm score first second", ("A1", "log2", "profile", "pcc_50", 0.40, 0.41))
    store.write_table(pd.concat([fits, fits.assign(score="composition", second=0.2)]), runs / "stem_refits/scores.csv")
    beside = answer_numbers.couplings_of_runs([runs / name for name in answer_numbers.RUNS])
    return runs, (answer_numbers.read(runs / "her2st"), beside)
