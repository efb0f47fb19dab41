"""The results that README prints, made from the committed tables of a reference run: no number is typed.

`make reference` writes them between two marks; a test holds README to the tables.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import labels, store
from helpers.chapters import organs
from helpers.chapters.patients import ALL, AWAY
from helpers.chapters.published_size import PARAMETERS, VIEWS
from helpers.scores.coupling import COUPLED
from helpers.scores.paired import MIN_PATIENTS
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

BEGIN, END = "<!-- results, written by make reference -->\n", "<!-- end of results -->\n"
SHOWN = (LOG, RESIDUAL, LOG_CP10K)
COUPLINGS = {
    "median_abs_rho_nuclei": "median over genes of \\|rho(target, nuclei)\\|",
    "share_coupled_nuclei": f"share of genes with \\|rho\\| > {COUPLED}",
    "median_abs_rho_nuclei_given_depth": "median over genes of \\|rho(target, nuclei given depth)\\|",
    "median_abs_rho_depth": "median over genes of \\|rho(target, depth)\\|",
}
MODELS = {
    "ridge": "ridge",
    "stem": "STEM (`PROFILE=cpu`)",
    "nuclei": labels.FLOORS["nuclei"],
    "place": labels.FLOORS["place"],
}
APART = 0.05  # of a balanced accuracy: less is said to be alike
OTHER_RUNS = ("her2st_lowres", "mob")  # beside the one that the table is of
READ = ("table1", "sections", "floors", "patients", "skills", "fraction_of_ridge", "frontier", "known_truth_ranks")
READ += ("type_one_error", "cross_space")
Tables = Mapping[str, pd.DataFrame]


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that the results are made from, by name."""
    return {name: store.read_table(folder / f"{name}.csv") for name in READ}


def block(folder: Path) -> str:
    """The part of README between the marks: a table and its sentences (Markdown)."""
    tables = read(folder)
    makers = (unseen, seen, coupled, recipe, skills, regions, known_truth, nulls)
    runs = [folder, *(folder.parent / name for name in OTHER_RUNS if (folder.parent / name).is_dir())]
    sentences = [*(make(tables) for make in makers), tissues(organs.side_by_side(runs, (LOG, LOG_CP10K)))]
    return "\n".join([table(tables), "", *(f"- {sentence}" for sentence in sentences), ""])


def write(readme: Path, folder: Path) -> None:
    """Put the results of a reference run between the marks of README."""
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(before + BEGIN + block(folder) + END + after)


def of_book(words: str, folder: Path) -> str:
    """The introduction of a book with the results of the reference run between its marks, and links to their pages."""
    before, rest = words.split(BEGIN)
    linked = re.sub(r"`(\d\d_\w+)`", r"[](\1)", block(folder))
    return before + linked + rest.split(END)[1]


# Table ----------------------------------------------------------------------------------------------------------


def table(tables: Tables) -> str:
    """Medians over sections by target: couplings beside the paper's, scores and skills."""
    head = "| median over sections | `log2(x+1)` | Pearson residual | `log1p(CP10k)` | the paper: log, residual |"
    rows = [head, "| --- | --- | --- | --- | --- |"]
    measured = tables["table1"].dropna(subset="target")
    for metric, words in COUPLINGS.items():
        part = measured[measured["metric"] == metric].set_index("target")
        cells = [_with_chance(part.loc[target]) for target in SHOWN]
        paper = part.loc[[LOG, RESIDUAL], "paper"]
        theirs = "not given" if paper.isna().any() else ", ".join(f"{value:.3f}" for value in paper)
        n = labels.counted(int(part["n_sections"].iloc[0]), "sections")
        rows.append(_row(f"{words}, {n}", *cells, theirs))
    return "\n".join([*rows, *_rows_of_scores(tables), *_rows_of_skills(tables)])


def _rows_of_scores(tables: Tables) -> list[str]:
    """PCC-50 of models and floors; its null is known with one section held out, not of place nor of unseen patients."""
    sections = tables["floors"].query("split == 'section'")["section"], without_patient(tables["patients"])["section"]
    n = [labels.counted(names.nunique(), "sections") for names in sections]
    held_out = f"one section held out, {n[0]}", seen_scores(tables), chance_of_scores(tables)
    away = f"the patient unseen, {n[1]}", unseen_scores(tables), pd.DataFrame()
    rows = []
    for what, scores, chance in (held_out, away):
        for backbone in (name for name in MODELS if name in scores.index):
            beside = chance.loc[backbone] if backbone in chance.index else None
            rows.append(_row(f"PCC-50, {MODELS[backbone]}, {what}", *_cells(scores.loc[backbone], beside), ""))
    return rows


def _rows_of_skills(tables: Tables) -> list[str]:
    """Library and composition skill of the models, with their chance."""
    rows = []
    for backbone in ("ridge", "stem"):
        part = tables["skills"].query("backbone == @backbone and split == 'section'")
        middle = part.groupby("target").median(numeric_only=True).reindex(SHOWN)
        n = labels.counted(part["section"].nunique(), "sections")
        for skill in ("library", "composition") if len(part) else ():
            cells = _cells(middle[skill], middle[f"{skill}_chance_95"])
            rows.append(_row(f"{skill} skill, {MODELS[backbone]}, {n}", *cells, ""))
    return rows


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(values: pd.Series, chance: pd.Series | None = None) -> list[str]:
    beside = pd.Series(np.nan, SHOWN) if chance is None else chance.reindex(SHOWN)
    both = zip(values.reindex(SHOWN), beside, strict=True)
    return ["" if np.isnan(value) else _number(value, null) for value, null in both]


def _with_chance(row: pd.Series) -> str:
    return _number(row["value"], row.get("chance_95", np.nan))


def _number(value: float, chance: float) -> str:
    return f"{value:.3f}" + (f" (chance {chance:.3f})" if np.isfinite(chance) else "")


def seen_scores(tables: Tables) -> pd.DataFrame:
    """PCC-50 with one section held out, backbone x target: medians over sections."""
    part = tables["floors"].query("split == 'section'")
    return part.groupby(["backbone", "target"])["pcc_50"].median().unstack("target").reindex(columns=SHOWN)


def chance_of_scores(tables: Tables) -> pd.DataFrame:
    """The 95 % point of the null of PCC-50 with one section held out, as `seen_scores`; NaN where none is known."""
    part = tables["cross_space"].query("split == 'section' and trained_in == scored_in")
    return part.groupby(["backbone", "scored_in"])["chance_95"].median().unstack().reindex(columns=SHOWN)


def by_unseen_section(tables: Tables) -> pd.Series:
    """PCC-50 of every section without its patient in training, by target, backbone and section.

    Of a patient with one section that is training on all others; means over the sets that were drawn.
    """
    fits = without_patient(tables["patients"])
    return fits.groupby(["target", "backbone", "section"], sort=False)["pcc_50"].mean()


def without_patient(fits: pd.DataFrame) -> pd.DataFrame:
    """Fits that no section of the patient trained: on other patients only, or on all others of a patient with one."""
    alone = ~fits["section"].isin(fits.loc[fits["training"] == AWAY, "section"])
    return fits[(fits["n_own"] == 0) & ((fits["training"] == AWAY) | (alone & (fits["training"] == ALL)))]


def unseen_scores(tables: Tables) -> pd.DataFrame:
    """The same as `seen_scores` without the patient in training."""
    return by_unseen_section(tables).groupby(["backbone", "target"]).median().unstack("target").reindex(columns=SHOWN)


# Sentences ------------------------------------------------------------------------------------------------------


def unseen(tables: Tables) -> str:
    """Whether ridge clears the nuclei without the patient in training, patient by patient."""
    patient_of = tables["sections"].set_index("section")["patient"].astype(str)
    scores, parts, above, single = by_unseen_section(tables), [], {}, {}
    for target in (LOG, RESIDUAL):
        both = scores[target].loc[["ridge", "nuclei"]].unstack("backbone")
        middle = both.groupby(patient_of).median()
        parts.append(
            f"{labels.label(target)} "
            + ", ".join(f"patient {name} {row.ridge:.2f} for {row.nuclei:.2f}" for name, row in middle.iterrows())
        )
        above[target] = int((middle["ridge"] > middle["nuclei"]).sum())
        single[target] = int((both["ridge"] > both["nuclei"]).sum())
    n = len(middle)
    alone = f"With {labels.counted(n, 'patients')} nothing about patients can be tested"
    return (
        f"**Where no section of the patient is in training, ridge clears nuclei alone in {above[LOG]} of {n} patients "
        f"in log and {above[RESIDUAL]} as residuals** (PCC-50 of ridge for that of nuclei, medians over a patient's "
        f"sections): {'; '.join(parts)}; of {labels.counted(len(both), 'sections')} it clears them in {single[LOG]} "
        f"and {single[RESIDUAL]}. Training is smaller than with one section held out, {trained_on(tables)}. "
        f"{alone if n < MIN_PATIENTS else f'n = {n}'} (`31_patients` compares at equal size)."
    )


def trained_on(tables: Tables) -> str:
    """How many sections of how many patients an unseen patient's fits are trained on."""
    patient_of = tables["sections"].set_index("section")["patient"].astype(str)
    sets = [names.split() for names in without_patient(tables["patients"])["trained_on"].unique()]
    least, most = (f([len(names) for names in sets]) for f in (min, max))
    patients = {len(set(patient_of[names])) for names in sets}
    span = labels.counted(most, "sections") if least == most else f"{least} to {labels.counted(most, 'sections')}"
    return f"{span} of {labels.counted(max(patients), 'patients')}"


def seen(tables: Tables) -> str:
    """What is above the floors with sections of the patient in training."""
    scores = seen_scores(tables)
    n = labels.counted(tables["floors"].query("split == 'section'")["section"].nunique(), "sections")
    ridge, place, nuclei = ([f"{scores.loc[b, t]:.2f}" for t in (LOG, RESIDUAL)] for b in ("ridge", "place", "nuclei"))
    return (
        f"With one section held out, as in the paper, ridge scores {ridge[0]} in log and {ridge[1]} as residuals; "
        f"place alone, a smooth function of x and y without an image, {place[0]} and {place[1]}; nuclei alone "
        f"{nuclei[0]} and {nuclei[1]} (medians over {n}, `26_floors`)."
    )


def coupled(tables: Tables) -> str:
    """In how many sections the log target follows nuclei beyond chance, and the residual."""
    known = tables["table1"].query("metric == 'median_abs_rho_nuclei'").dropna(subset="target").set_index("target")
    n = int(known["n_sections"].iloc[0])
    given = tables["table1"].query("metric == 'median_abs_rho_nuclei_given_depth'").set_index("target")
    log, residual, *left = (
        f"{rows.loc[target, 'value']:.3f} (95 % point of chance {rows.loc[target, 'chance_95']:.3f})"
        for rows in (known, given)
        for target in (LOG, RESIDUAL)
    )
    return (
        f"Over {labels.counted(n, 'sections')} the median coupling to nuclei is {log} in log and {residual} as "
        f"residuals; given depth {left[0]} and {left[1]}. How large it is belongs to the patient and the tissue "
        "(`24_ledger`)."
    )


def recipe(tables: Tables) -> str:
    """STEM's size, how its recipe was chosen, and its scores as shares of ridge's."""
    fits = tables["fraction_of_ridge"].query("split == 'section'").set_index("target")
    if fits.empty:
        return "STEM was not trained in this run."
    first = fits.iloc[0]
    return (
        f"STEM stands here with {first['parameters']:,.0f} parameters and {first['spot_views']:,.0f} spot views "
        f"(published: {PARAMETERS} million and {VIEWS} million); the number of steps was chosen on inner splits, the "
        "rest of its recipe on held-out scores (`11_training_check`). Its PCC-50 is "
        f"{fits.loc[LOG, 'fraction']:.0%} of ridge's in log and {fits.loc[RESIDUAL, 'fraction']:.0%} as residuals."
    )


def skills(tables: Tables) -> str:
    """Library and composition skill of log predictions, with chance."""
    part = tables["skills"].query("split == 'section' and target == 'log2'")
    middle, parts = part.groupby("backbone").median(numeric_only=True), []
    for backbone in ("ridge", "stem", "nuclei", "depth"):
        if backbone in middle.index:
            both = (middle.loc[backbone, ["library" + end, "composition" + end]] for end in ("", "_chance_95"))
            value, chance = (f"{library:.2f} and {composition:.2f}" for library, composition in both)
            called = "measured depth, an oracle" if backbone == "depth" else f"`{backbone}`"
            parts.append(f"{called}, {value} (chance {chance})")
    n = labels.counted(part["section"].nunique(), "sections")
    return (
        f"Two numbers of a log prediction, library and composition skill, medians over {n}: {'; '.join(parts)} "
        "(`28_cross_space`)."
    )


def regions(tables: Tables) -> str:
    """What dividing by depth does to the regions that a pathologist drew."""
    part = tables["frontier"].query("measure == 'separation' and transform == 'log'")
    wide = part.pivot(index="section", columns="size_factor", values="value")[["none", "total"]].dropna()
    change = (wide["total"] - wide["none"]).sort_values()
    least, most = (
        f"{name} {wide.loc[name, 'none']:.2f} to {wide.loc[name, 'total']:.2f}" for name in change.index[[0, -1]]
    )
    return (
        "Dividing by depth raises the balanced accuracy with which regions that a pathologist drew are told apart by "
        f"more than {APART} in {(change > APART).sum()} of {labels.counted(len(change), 'sections')}, one a patient "
        f"(most {most}), and lowers it by more in {(change < -APART).sum()} ({least}); chance differs between sections "
        "(`32_frontier`)."
    )


def known_truth(tables: Tables) -> str:
    """Which model scores put first where the truth is known."""
    part = tables["known_truth_ranks"].query("shrunk and coupling == 0.5 and truth == 'composition'")
    middle = part.groupby("report")["contested"].median()
    n, patients = part["section"].nunique(), part["patient"].nunique()
    return (
        "Of two models of known skill, one of which knows more of the composition and the other more of the library, "
        f"PCC-50 in log puts the one that knows less of the composition first in {middle[LOG]:.0%} of pairs, CP10k in "
        f"{middle[LOG_CP10K]:.0%}, the residual in {middle[RESIDUAL]:.0%}, composition skill in "
        f"{middle['composition']:.0%} (a coin in 50%; medians over {labels.counted(n, 'sections')} of "
        f"{labels.counted(patients, 'patients')}, simulated composition, `34_known_truth`)."
    )


def nulls(tables: Tables) -> str:
    """What the spatial nulls hold and where they fail."""
    rates = tables["type_one_error"]
    rate = rates.groupby(["maps", "null"])["rate"].agg(["min", "max"])
    still = rate.loc["random fields", "spatial"]
    rising = [rate.loc[("rising to the middle", null), "max"] for null in ("spatial", "place")]
    rough = rate.loc[("smooth in one half, noise in the other", "place"), "max"]
    lying = [rate.loc[("this cohort, as it lies", null)] for null in ("spatial", "place")]
    return (
        f"A test at 5 % against maps as smooth rejects {still['min']:.0%} to {still['max']:.0%} of unrelated "
        f"stationary maps and {rising[0]:.0%} of maps that merely rise towards the middle of the tissue; with place "
        f"held fixed {rising[1]:.0%} of those, and {rough:.0%} of maps smooth in one half only. Of maps of different "
        f"patients, laid over each other as they lie, it rejects {lying[0]['min']:.0%} to {lying[0]['max']:.0%} by "
        f"target, with place held fixed {lying[1]['min']:.0%} to {lying[1]['max']:.0%} (`30_inference`)."
    )


def tissues(beside: pd.DataFrame) -> str:
    """What is left of cellularity once depth is divided out and held fixed, patient by patient, of all runs."""
    of_cells, given = organs.PARTS
    parts = []
    for (cohort, measure), of_cohort in beside.groupby(["cohort", "measure"], sort=False):
        of_patients = []
        for patient, rows in of_cohort.groupby("patient", sort=False):
            log, scaled = (rows[rows["target"] == target] for target in (LOG, LOG_CP10K))
            above = int((scaled[given] > scaled[f"chance_95_{given}"]).sum())
            medians = ", ".join(f"{values.median():.2f}" for values in (log[of_cells], scaled[of_cells], scaled[given]))
            of_patients.append(f"{labels.patient(patient)} {medians} ({above} of {len(log)})")
        parts.append(f"*{cohort}*, {measure}: {'; '.join(of_patients)}")
    return (
        "How much of the coupling is left without depth belongs to the patient and the tissue. Median over genes of "
        "\\|rho(target, cellularity)\\| in log, as CP10k, and as CP10k with depth held fixed, in brackets the sections "
        f"in which the last is above chance: {'. '.join(parts)} (`33_genes`)."
    )
