"""What the committed reference runs say, in six sentences and their limits: the first page and README alike.

All is made from the tables of `answer_numbers`: no number is typed. A test holds README to them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import labels
from helpers.chapters import organs, refits
from helpers.chapters.answer_numbers import (
    COUPLING,
    FLOORS,
    MODELS,
    REDUCED,
    REFITS,
    RUNS,
    SHOWN,
    Tables,
    by_unseen_section,
    chances,
    couplings_of_runs,
    n_patients_of,
    quoted_ranks,
    read,
    seen_scores,
    unseen_scores,
    without_patient,
)
from helpers.chapters.patients import ALL
from helpers.scores.paired import MIN_PATIENTS
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL

BEGIN, END = "<!-- results, written by make reference -->\n", "<!-- end of results -->\n"
IN_WORDS = {LOG: "log", RESIDUAL: "residuals", LOG_CP10K: "CP10k"}
TARGETS_IN_WORDS = "log / Pearson residual / CP10k"  # of SHOWN
N_LIMITS = 3  # that README prints
NAMED = ("ridge", "stem")  # models, in the order of MODELS
QUESTION = "How much of a score is how many molecules a spot holds, which follows how many cells lie there?"
FIGURE = (
    "![Of what scores are made, what targets follow, floors, and what scores rank models by](data/results/answer.svg)"
)
REPORTS = {LOG: "PCC-50 in log2", LOG_CP10K: "PCC-50 in CP10k", RESIDUAL: "PCC-50 of residuals"}
REPORTS |= {"composition": "composition skill"}


def block(results: Path) -> str:
    """README's results: the answer, its figure, the first of the limits (Markdown).

    `results` holds a folder for each of RUNS.
    """
    runs = [results / name for name in RUNS]
    tables, beside = read(runs[0]), couplings_of_runs(runs)
    not_shown = "".join(f"- {limit}\n" for limit in limits(tables, beside)[:N_LIMITS])
    return f"{QUESTION} {short(tables)}\n\n{FIGURE}\n\nWhat this does not show, first of all:\n\n{not_shown}"


def write(readme: Path, results: Path) -> None:
    """Put the results of the reference runs between the marks of README."""
    before, rest = readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(before + BEGIN + block(results) + END + after)


def linked(text: str) -> str:
    """Pages that are named as `19_floors`, as links of the book."""
    return re.sub(r"`(\d\d_\w+)`", r"[](\1.ipynb)", text)


# Sentences ------------------------------------------------------------------------------------------------------


def sentences(tables: Tables, beside: pd.DataFrame) -> list[str]:
    """What the runs say, the first the shortest answer; pages are named where the evidence is."""
    return [
        coupled(of_first(beside)),
        tissues(beside),
        seen(tables),
        unseen(tables),
        skills(tables),
        known_truth(tables),
    ]


def short(tables: Tables) -> str:
    """The answer: a verdict, and the numbers that it rests on in a list (Markdown)."""
    lines = [_library_alone, _only_depth, _held_fixed, _depth_alone, _unseen_in_short]
    return "\n\n".join((_verdict(tables), "What this rests on:", "\n".join(f"- {line(tables)}" for line in lines)))


def _verdict(tables: Tables) -> str:
    """How much of a score depth and nuclei are, by target, and what that stands on."""
    of, left = _of_log(tables), _left(tables)
    alone, shares = of["library"] / of[LOG], left["partial"] / left["r"]
    kept = {target: _by_model(shares.xs(target, level="target"), ".0%") for target in (LOG, RESIDUAL)}
    how = "mostly" if (alone > 0.5).all() else "in part"
    scored = tables["floors"].query("split == 'section'")["section"].unique()
    whose = tables["sections"].set_index("section")["patient"].astype(str)[list(scored)].value_counts()
    most = f", {whose.iloc[0]} of them of patient {whose.index[0]}, who decides the medians" * (len(whose) > 1)
    models = [MODELS[name] for name in NAMED if name in alone.index]
    return (
        f"**In log counts {how}: the number of molecules alone reaches {_by_model(alone, '.0%')} of a score, and "
        f"{kept[LOG]} is left with nuclei and depth held fixed. In Pearson residuals {kept[RESIDUAL]} is left.** "
        f"PCC-50 of {' / '.join(models)}, medians over {labels.counted(len(scored), 'sections')} of "
        f"{labels.counted(len(whose), 'patients')}{most}; chance is the 95 % point of predictions as smooth that lie "
        "elsewhere."
    )


def _left(tables: Tables) -> pd.DataFrame:
    """Medians of a score (r), of what is left given nuclei and depth (partial), of its chance: backbone, target."""
    part = tables["partial"].query("split == 'section' and given == 'both'")
    part = part[part["backbone"].isin(NAMED)].rename(columns={"partial_chance_95": "chance_95"})
    return part.groupby(["backbone", "target"])[["r", "partial", "chance_95"]].median()


def _by_model(values: pd.Series, form: str = "z.2f") -> str:
    """A number a model, in the order of MODELS; of all the same, once."""
    words = [f"{values[name]:{form}}" for name in NAMED if name in values.index]
    return " / ".join(words) if len(set(words)) > 1 else words[0]


def _of_log(tables: Tables, column: str = "pcc_50") -> pd.Series:
    """Medians of what each prediction scores in log, by the space that it was trained in and the backbone."""
    part = tables["cross_space"].query("split == 'section' and scored_in == @LOG")
    return part[part["backbone"].isin(NAMED)].groupby(["trained_in", "backbone"])[column].median()


def _library_alone(tables: Tables) -> str:
    """What the library that log predictions expect scores without a composition, and composition without a library."""
    of, chance, ceiling = (_of_log(tables, column) for column in ("pcc_50", "chance_95", "ceiling_50"))
    return (
        f"**Molecules alone.** In log a model scores {_by_model(of[LOG])} (chance {_by_model(chance[LOG])}, ceiling "
        f"{_by_model(ceiling[LOG])}). The number of molecules that it expects in a spot, with one mix of genes "
        f"everywhere, scores {_by_model(of['library'])} (chance {_by_model(chance['library'])}). The two overlap: "
        f"predictions of residuals, with one depth everywhere, score {_by_model(of[RESIDUAL])} in log (chance "
        f"{_by_model(chance[RESIDUAL])}; `21_cross_space`)."
    )


def _only_depth(tables: Tables) -> str:
    """What models score on twins in which nothing but depth varies."""
    part = tables["controls"].query("split == 'section' and twin == 'depth_only'")
    part = part[part["backbone"].isin(NAMED)].assign(above=part["pcc_50"] > part["chance_95"])
    of = part.groupby(["target", "backbone"])
    middle, above = of[["pcc_50", "chance_95"]].median(), of["above"].sum()
    parts = [
        f"{_by_model(middle['pcc_50'][target])} in {words} (chance {_by_model(middle['chance_95'][target])}, above it "
        f"in {_by_model(above[target], '.0f')})"
        for target, words in IN_WORDS.items()
    ]
    return (
        f"**Counts drawn anew, so that only depth varies.** The same predictions score {', '.join(parts)} of "
        f"{labels.counted(part['section'].nunique(), 'sections')}. It says what a target rewards, not what a model "
        "knows: a perfect prediction would score there too (`09_controls`)."
    )


def _held_fixed(tables: Tables) -> str:
    """What is left of a score with measured nuclei and depth held fixed."""
    parts = [
        f"{_by_model(of['partial'])} of {_by_model(of['r'])} in {words} (chance {_by_model(of['chance_95'])})"
        for target, words in IN_WORDS.items()
        for of in [_left(tables).xs(target, level="target")]
    ]
    of_ridge = tables["partial"].query("split == 'section' and given == 'both' and backbone == 'ridge'")
    of_ridge = of_ridge[of_ridge["target"] == RESIDUAL]
    shares = of_ridge["partial"] / of_ridge["r"]
    return (
        "**Measured nuclei and depth held fixed.** Of the same 50 genes, the best in each target, this is left: "
        f"{', '.join(parts)}; of ridge's in residuals {labels.span(shares.min(), shares.max(), '.0%')}, by section "
        "(`20_partial`)."
    )


def _depth_alone(tables: Tables) -> str:
    """What measured depth, and place, score where depth is divided out."""
    part = tables["cross_space"].query("split == 'section' and backbone == 'depth' and trained_in == scored_in")
    of = part[part["scored_in"] == RESIDUAL]
    place = seen_scores(tables).loc["place", RESIDUAL]
    by_chance = chances(tables["patients"].query("training == @ALL")).loc["place", RESIDUAL]
    return (
        f"**No target tried is free of depth, and what is left is not yet biology.** In residuals measured depth, an "
        f"oracle, scores {of['pcc_50'].median():.2f} (chance {of['chance_95'].median():.2f}, above it in "
        f"{(of['pcc_50'] > of['chance_95']).sum()} of {len(of)} sections), as composition changes with depth, by "
        f"tissue or by capture; the place in the section scores {place:.2f} (chance {by_chance:.2f}; `21_cross_space`, "
        "`19_floors`)."
    )


def _unseen_in_short(tables: Tables) -> str:
    """In how many sections ridge is above the floors, with the own patient in training and without."""
    away = by_unseen_section(tables["patients"])
    n = labels.counted(away.index.get_level_values("section").nunique(), "sections")
    score = unseen_scores(tables).loc["ridge", RESIDUAL]
    chance = chances(without_patient(tables["patients"])).loc["ridge", RESIDUAL]
    return (
        f"**A patient unseen.** Trained on {trained_on(tables)}, ridge is above both nuclei and place in "
        f"{_above(away)} of {n} ({TARGETS_IN_WORDS}) and scores {score:.2f} in residuals (chance {chance:.2f}); with "
        f"all other sections in training it is in {_above(_seen(tables))}. No null of these counts is drawn "
        "(`24_patients`)."
    )


def _sizes(fits: pd.DataFrame) -> tuple[str, str, str]:
    """Sections and patients of fits without the own patient, in words, and in how many ridge is above the floors."""
    part = without_patient(fits)
    n, patients = part["section"].nunique(), part["patient"].nunique()
    return labels.counted(n, "sections"), labels.counted(patients, "patients"), _above(by_unseen_section(fits))


def _above_by_patient(tables: Tables, model: str = "ridge") -> str:
    """`_above` with one section held out, patient by patient."""
    scores = _seen(tables)
    whose = tables["sections"].set_index("section")["patient"].astype(str)
    of = scores.index.get_level_values("section").map(whose)
    parts = []
    for name in dict.fromkeys(of):
        part = scores[of == name]
        n = labels.counted(part.index.get_level_values("section").nunique(), "sections")
        parts.append(f"{_above(part, model)} of {n} of {labels.patient(name)}")
    return " and ".join(parts)


def of_first(beside: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first run."""
    return beside[beside["cohort"] == beside["cohort"].iloc[0]]


def coupled(of_run: pd.DataFrame) -> str:
    """What each target follows of nuclei, as it is and with depth held fixed; sections of one run."""
    n, patients = of_run["section"].nunique(), of_run["patient"].nunique()
    plain, given = ([_middle(of_run, target, part) for target in SHOWN] for part in organs.PARTS)
    return (
        f"**The median gene's |ρ| with nuclei is {plain[0]} in log, {plain[2]} as CP10k and {plain[1]} as Pearson "
        f"residual**; with depth held fixed {given[0]}, {given[2]} and {given[1]}. Medians over "
        f"{labels.counted(n, 'sections')} of {labels.counted(patients, 'patients')}, in brackets the sections above "
        "chance (`07_dependence`)."
    )


def _middle(of_run: pd.DataFrame, target: str, part: str) -> str:
    """Median of a coupling over sections, and in how many it is above chance."""
    rows = of_run[of_run["target"] == target]
    above = int((rows[part] > rows[f"chance_95_{part}"]).sum())
    return f"{rows[part].median():.2f} ({above} of {len(rows)})"


def tissues(beside: pd.DataFrame) -> str:
    """A log target's coupling, what is left with depth held fixed, and the residual's: by patient, of all runs."""
    logs, parts = beside[beside["target"] == LOG], []
    residuals = beside[beside["target"] == RESIDUAL].groupby(["cohort", "patient"])[organs.PARTS[0]].median()
    plain, given = organs.PARTS
    by_patient = logs.groupby(["cohort", "patient"])[given].median()
    least, most = by_patient.min(), by_patient.max()
    for (cohort, measure), of_cohort in logs.groupby(["cohort", "measure"], sort=False):
        of_patients = [
            f"{labels.patient(patient)} {rows[plain].median():.2f}, left {_middle(rows, LOG, given)}, residual "
            f"{residuals[cohort, patient]:.2f}"
            for patient, rows in of_cohort.groupby("patient", sort=False)
        ]
        parts.append(f"{cohort}, {measure}: {', '.join(of_patients)}")
    return (
        f"**With depth held fixed the median gene's |ρ| in log is {labels.span(least, most)}**, by patient and "
        f"tissue: in log as it is, left of it with depth held fixed (in how many sections above chance), as residual. "
        f"{'; '.join(parts)} (`26_genes`)."
    )


def seen(tables: Tables) -> str:
    """Models and floors with all other sections in training, and in how many sections ridge is above both floors."""
    scores, middle = _seen(tables), seen_scores(tables)
    parts = [f"{words} {_three(middle.loc[name])}" for name, words in MODELS.items() if name in middle.index]
    n = labels.counted(scores.index.get_level_values("section").nunique(), "sections")
    usual = tables["patients"]
    usual = usual[(usual["training"] == ALL) & (usual["n_own"] > 0)]
    own = usual["section"].nunique()
    stem = ""
    if "stem" in middle.index:
        stem = (
            f", STEM in {_above_by_patient(tables, 'stem')} (the targets that it was fitted to, one training of each)"
        )
    return (
        f"**With all other sections in training, ridge scores above nuclei and place in {_above_by_patient(tables)}** "
        f"in {TARGETS_IN_WORDS}{stem}; {labels.counted(own, 'sections')} had others of their patient in training. "
        f"PCC-50: {'; '.join(parts)} (medians over {n}; `19_floors`)."
    )


def _seen(tables: Tables) -> pd.Series:
    """PCC-50 with one section held out, by target, section and backbone."""
    return tables["floors"].query("split == 'section'").set_index(["target", "section", "backbone"])["pcc_50"]


def unseen(tables: Tables) -> str:
    """The same without the patient in training, here and where there are more patients."""
    scores, middle = by_unseen_section(tables["patients"]), unseen_scores(tables)
    parts = [f"{MODELS[name]} {_three(middle.loc[name])}" for name in ("ridge", *FLOORS)]
    chance = _three(chances(without_patient(tables["patients"])).loc["ridge"])
    sections = scores.index.get_level_values("section").unique()
    n, patients = len(sections), n_patients_of(tables, sections)
    few = f"; with {labels.counted(patients, 'patients')} nothing about patients can be tested"
    more, of_more, above = _sizes(tables[REDUCED])
    return (
        "**Without the patient's own sections in training, ridge is above nuclei and place in "
        f"{_above(scores)} of {labels.counted(n, 'sections')}**, by {_excess(scores)} over the higher of the two "
        f"(medians, least and most). PCC-50: {'; '.join(parts)}; chance of ridge {chance}. Training is smaller, "
        f"{trained_on(tables)}{few if patients < MIN_PATIENTS else ''}. In {more} of {of_more} in "
        "reduced pictures, with the stain as the floor in place of nuclei and trained on "
        f"{trained_on(tables, REDUCED)}, it is above in {above}, by {_excess(by_unseen_section(tables[REDUCED]))} "
        "(`24_patients` compares at equal size)."
    )


def _above(scores: pd.Series, model: str = "ridge") -> str:
    """In how many sections a model is above each of the FLOORS, by target: those of SHOWN that it was fitted to.

    `scores` is indexed by target, section and backbone.
    """
    wide = scores.unstack("backbone").dropna(subset=model)
    above = (wide[model] > wide[list(FLOORS)].max(axis=1)).groupby(level="target").sum()
    return " / ".join(str(above[target]) for target in SHOWN if target in above.index)


def _excess(scores: pd.Series, model: str = "ridge") -> str:
    """How far a model is above the nearer of the FLOORS, by target: median over sections, least and most."""
    wide = scores.unstack("backbone").dropna(subset=model)
    over = (wide[model] - wide[list(FLOORS)].max(axis=1)).groupby(level="target").agg(["median", "min", "max"])
    return " / ".join(
        f"{row['median']:+.2f} ({labels.span(row['min'], row['max'], '+.2f')})"
        for row in over.reindex(SHOWN).to_dict("records")
    )


def _three(values: pd.Series) -> str:
    """A number a target, in the order of SHOWN, those that there are."""
    return " / ".join(f"{value:.2f}" for value in values.reindex(SHOWN) if np.isfinite(value))


def skills(tables: Tables) -> str:
    """Library and composition skill of log predictions, with chance."""
    part = tables["skills"].query("split == 'section' and target == @LOG")
    middle, parts = part.groupby("backbone").median(numeric_only=True), []
    for backbone in (name for name in MODELS if name in middle.index):
        numbers = (
            f"{middle.loc[backbone, name]:.2f} (chance {middle.loc[backbone, f'{name}_chance_95']:.2f})"
            for name in ("library", "composition")
        )
        parts.append(f"{MODELS[backbone]} {' and '.join(numbers)}")
    n = labels.counted(part["section"].nunique(), "sections")
    return (
        "**Two numbers say what one hides**: how well a log prediction knows how many molecules a spot has (library "
        f"skill), and which genes they are (composition skill). {'; '.join(parts)} (medians over {n}; "
        "`21_cross_space`)."
    )


def known_truth(tables: Tables) -> str:
    """Which model scores put first where the truth is known."""
    ranks = quoted_ranks(tables)
    n, patients = ranks["section"].nunique(), ranks["patient"].nunique()
    first, *others = ((words, f"{_by_library(ranks, report):.0%}") for report, words in REPORTS.items())
    least, most = ranks.loc[ranks["report"] == LOG, "contested"].agg(["min", "max"])
    of_cp10k = ranks.loc[ranks["report"] == LOG_CP10K, "contested"]
    least_of_cp10k, most_of_cp10k = of_cp10k.min(), of_cp10k.max()
    return (
        f"**Of two models of known skill, one better in composition and one in the library, {first[0]} puts the second "
        f"first in {first[1]} of pairs** ({least:.0%} to {most:.0%} by section); "
        f"{', '.join(f'{words} in {share}' for words, share in others)}, the last by construction (CP10k "
        f"{least_of_cp10k:.0%} to {most_of_cp10k:.0%} by section; chance 50 %; log library and log nuclei correlated "
        f"with r = {COUPLING}; "
        f"medians over lattices of {labels.counted(n, 'sections')} of "
        f"{labels.counted(patients, 'patients')}, counts simulated; `27_known_truth`)."
    )


def _by_library(ranks: pd.DataFrame, report: str) -> float:
    return ranks.loc[ranks["report"] == report, "contested"].median()


def limits(tables: Tables, beside: pd.DataFrame) -> list[str]:
    """What the answer does not show."""
    scored = tables["floors"].query("split == 'section'")["section"].unique()
    patients = n_patients_of(tables, scored)
    rates = (
        tables["type_one_error"].query("maps == 'this cohort, as it lies'").groupby("null")["rate"].agg(["min", "max"])
    )
    as_is, place = (f"{rates.loc[null, 'min']:.0%} to {rates.loc[null, 'max']:.0%}" for null in ("spatial", "place"))
    of_others = _deeper(tables, scored)
    return [
        f"Anything about patients in general: scores stand on {labels.counted(len(scored), 'sections')} of "
        f"{labels.counted(patients, 'patients')}, couplings on {beside['patient'].nunique()} patients or animals.",
        "That what depth and nuclei say is no biology, or that one target is right: a tumour nest with many active "
        "cells is deep for a reason, and holding depth fixed takes that too (`20_partial`).",
        f"What one fit of STEM scores to the second digit: {refits.answer(tables[REFITS])} (`10_training_check`).",
        *([of_others] if of_others else []),
        "A ceiling that is sure: it supposes Poisson counts and is too high where genes vary more, of CP10k in shallow "
        "sections even with such counts (`27_known_truth`).",
        "How often real models form pairs that a score ranks wrongly: composition and skills of the two models are "
        "simulated (`27_known_truth`).",
        f"A clean p: a test at 5 % calls maps of different patients, laid over each other as they lie, related in "
        f"{as_is} of cases, with place held fixed in {place} (`23_inference`).",
        "STEM as published: it was trained at the size that two processor cores allow, and at about its published size "
        "on a small part of the published spot views (`10_training_check`).",
        "A pretrained encoder: what models see of a patch is computed morphology (`05_patches`).",
    ]


def _deeper(tables: Tables, scored: Sequence[str]) -> str:
    """How closely log targets follow depth in the patients that are scored, and in the others of the cohort."""
    logs = tables["associations"].query("target == @LOG")
    by = logs["rho_depth"].abs().groupby(logs["section"]).median()
    patients = tables["sections"].set_index("section")["patient"].astype(str).reindex(by.index)
    of_patients = by.groupby(patients).median()
    own = of_patients.index.isin(patients[list(scored)])
    if own.all():
        return ""
    return (
        f"The cohort at large: the median gene's |ρ| with depth in log is {of_patients[own].median():.2f} in the "
        f"patients that are scored and {of_patients[~own].median():.2f} in the {(~own).sum()} others (medians; "
        f"{labels.span(of_patients[~own].min(), of_patients[~own].max())}), whose sections have no full image at hand."
    )


def trained_on(tables: Tables, run: str = "patients") -> str:
    """How many sections of how many patients an unseen patient's fits are trained on."""
    sets = [names.split() for names in without_patient(tables[run])["trained_on"].unique()]
    least, most = (f([len(names) for names in sets]) for f in (min, max))
    patients = {n_patients_of(tables, names) for names in sets}
    span = labels.counted(most, "sections") if least == most else f"{least} to {labels.counted(most, 'sections')}"
    return f"{span} of {labels.counted(max(patients), 'patients')}"
