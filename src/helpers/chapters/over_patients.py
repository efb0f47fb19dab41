"""Differences between targets, tested over sections and over patients, and what printed p values say of both.

Differences are series by section, `patients` a series that gives the patient of a section. A table of tests has cohort
(`simulated` or `this`), quantity, less (the target taken from log) and what `tested` returns; of Delta_k also backbone,
split, ranking, definition and k.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers.chapters.inference import COVARIATES
from helpers.columns import spearman
from helpers.labels import label
from helpers.schema import cellularity, patients_of
from helpers.scores import coupling, paired
from helpers.targets.normalization import LOG, RESIDUAL

QUESTION = ["cohort", "quantity", "less"]
TESTED = ["n_sections", "median", "wilcoxon_p", "sign_flip_p", "smallest_p", "smallest_sign_flip_p"]
TESTED += ["wilcoxon_p_patients", "sign_flip_p_patients", "smallest_p_patients"]
TESTED += ["n_patients", "mean", "low", "high", "note"]
FITS = ["backbone", "split", "ranking", "definition", "k"]
QUANTITIES = {1.0: "nuclei, depth follows them", 0.0: "nuclei, depth does not"}  # by coupling of the simulated cohort
SIDES = {"greater": "one-sided", "two-sided": "two-sided"}
DRAWN = 9_999  # sign flips that the paper may have drawn

# Differences of sections ----------------------------------------------------------------------------------------


def coupling_of_target(section: AnnData, target: str) -> float:
    """Median over genes of |Spearman's rho| of a target with the nuclei."""
    return np.nanmedian(np.abs(spearman(section.layers[target], cellularity(section))))


def simulated_difference(cohort: Mapping[str, AnnData], other: str) -> pd.Series:
    """Median |rho| with nuclei under the log target less that under another, by section."""
    return pd.Series(
        {name: coupling_of_target(made, LOG) - coupling_of_target(made, other) for name, made in cohort.items()}
    )


def median_differences(associations: pd.DataFrame, others: Sequence[str]) -> dict[tuple[str, str], pd.Series]:
    """Median |rho| under the log target less that under another, by what it is with (nuclei, depth) and the other.

    `associations` as `coupling.associations` with a section; sections without nuclei have no difference in them.
    """
    summary, out = coupling.section_summary(associations), {}
    for what, other in product(COVARIATES, others):
        wide = summary.pivot(index="section", columns="target", values=f"median_abs_rho_{what}")
        out[what, other] = (wide[LOG] - wide[other]).dropna()
    return out


# Tests ----------------------------------------------------------------------------------------------------------


def tested(values: pd.Series, patients: pd.Series) -> dict:
    """Exact two-sided tests of the differences of sections, and of patients' means with their interval: `TESTED`.

    smallest_p and smallest_sign_flip_p are the least that the two p can be; low and high are a 95 % interval of the
    mean over patients, and note says how many there are. Differences that are NaN are left out.
    """
    values = values.dropna()
    of = patients[values.index].to_numpy()
    values = values.to_numpy()
    rank, flip = paired.wilcoxon(values), paired.sign_flip(values)
    over, interval = paired.over_patients(values, of), paired.bootstrap_patients(values, of)
    of_sections = (len(values), np.median(values), rank["p_two_sided"], flip["p"])
    least = (rank["smallest_p"], flip["smallest_p"])
    of_patients = (over[name] for name in ("wilcoxon_p_two_sided", "permutation_p", "smallest_p"))
    of_means = (interval[name] for name in ("n_patients", "mean", "low", "high", "note"))
    return dict(zip(TESTED, (*of_sections, *least, *of_patients, *of_means), strict=True))


def simulated_tests(cohorts: Mapping[float, Mapping[str, AnnData]], others: Sequence[str]) -> pd.DataFrame:
    """Tests where the answer is known; `cohorts` as `simulated.cohorts` returns them."""
    rows = []
    for depth_follows, other in product(QUANTITIES, others):
        difference = simulated_difference(cohorts[depth_follows], other)
        keys = {"cohort": "simulated", "quantity": QUANTITIES[depth_follows], "less": other}
        rows.append(keys | tested(difference, pd.Series(patients_of(cohorts[depth_follows]))))
    return pd.DataFrame(rows)


def difference_tests(found: Mapping[tuple[str, str], pd.Series], patients: pd.Series) -> pd.DataFrame:
    """Tests of what `median_differences` returns; what no section has is left out."""
    rows = [
        {"cohort": "this", "quantity": what, "less": other} | tested(values, patients)
        for (what, other), values in found.items()
        if len(values)
    ]
    return pd.DataFrame(rows)


def delta_tests(delta: pd.DataFrame, patients: pd.Series) -> pd.DataFrame:
    """Tests of Delta_k in each of its readings; `delta` as `top_genes.differences` returns it."""
    rows = []
    for key, part in delta.groupby(FITS, sort=False):
        values = part.set_index("section")["delta"].dropna()
        if len(values):
            keys = {"cohort": "this", "quantity": "delta_k", "less": RESIDUAL}
            rows.append(keys | tested(values, patients) | dict(zip(FITS, key, strict=True)))
    return pd.DataFrame(rows, columns=None if rows else [*QUESTION, *TESTED, *FITS])


def p_text(p: float, least: float) -> str:
    """A p to two digits, marked where it stands at the least that it can be; empty where there is none."""
    return "" if pd.isna(p) else f"{p:.2g}" + (" (least)" if p <= least else "")


def _p_column(tests: pd.DataFrame, p: str, least: str) -> list[str]:
    return [p_text(*pair) for pair in zip(tests[p], tests[least], strict=True)]


def shown(tests: pd.DataFrame) -> pd.DataFrame:
    """Tests as text, a row each: differences of log less another target, over sections and over patients."""
    over = _p_column(tests, "wilcoxon_p_patients", "smallest_p_patients")
    return pd.DataFrame(
        {
            "median |ρ| with": tests["quantity"],
            "log less": tests["less"].map(label),
            "median": tests["median"].map("{:+.3f}".format),
            "sections": tests["n_sections"],
            "Wilcoxon p": _p_column(tests, "wilcoxon_p", "smallest_p"),
            "sign-flip p": _p_column(tests, "sign_flip_p", "smallest_sign_flip_p"),
            "patients": tests["n_patients"],
            "p over patients": [text or "not estimable" for text in over],
        }
    )


def shown_deltas(tests: pd.DataFrame, k: int = 50) -> pd.DataFrame:
    """Tests of Delta_k as text, own top k, at the largest k that is tested and no larger than `k`."""
    k = max(tested_k for tested_k in (0, *tests["k"].dropna().unique()) if tested_k <= k)
    part = tests[(tests["k"] == k) & (tests["definition"] == "own_top_k")]
    names = {"median |ρ| with": "backbone", "log less": "held out, one", "median": f"Δ, k = {k:.0f}"}
    table = shown(part.assign(quantity=part["backbone"], less=part["split"])).rename(columns=names)
    table.insert(2, "ranking", part["ranking"])
    return table


def patients_sentences(tests: pd.DataFrame) -> str:
    """What patients say of each difference between couplings of this cohort: a line each, in Markdown."""
    lines = [f"- {row.quantity}, log less {label(row.less)}: {_over_patients(row)}." for row in tests.itertuples()]
    return (
        "\n".join(lines)
        + "\n\nA p that stands at its least says that all patients agree in sign, and no more. "
        + "{download}`Every test <results/inference.csv>`."
    )


def answer(tests: pd.DataFrame, less: str = RESIDUAL) -> str:
    """What patients say of log less another target, in each coupling of this cohort."""
    own = tests[tests["less"] == less].itertuples()
    parts = "; ".join(f"coupling to {row.quantity}, {_over_patients(row)}" for row in own)
    return f"Log less {label(less)}: {parts}."


def _over_patients(row) -> str:
    """A row of `difference_tests` in words: mean, interval and p over patients, or why there are none."""
    if not np.isfinite(row.low):
        return row.note
    return (
        f"{row.mean:+.2f} over patients, 95 % interval {row.low:+.2f} to {row.high:+.2f}; "
        f"p = {row.wilcoxon_p_patients:.2g}, where {row.smallest_p_patients:.2g} is the least that "
        f"{row.n_patients} patients can give"
    )


# What printed p values say --------------------------------------------------------------------------------------


def sections_against(w: int, n: int) -> tuple[int, int]:
    """How few and how many of n sections, ranked by size, can have a rank sum of w against the others."""
    ranks = np.arange(1, n + 1)
    return int((np.cumsum(ranks[::-1]) < w).sum()) + (w > 0), int((np.cumsum(ranks) <= w).sum())


def tests_that_print(printed: pd.Series, sizes: Sequence[int] = (35, 36)) -> tuple[list[str], list[str]]:
    """Exact signed-rank tests that print all of some p values, a line each, and how many of them each other prints.

    `printed` gives the k of each p, which is its index; tests are one- and two-sided over each of `sizes` sections.
    """
    attained = paired.printed_p(printed.index, sizes)
    attained["k"] = attained["printed"].map(printed)
    all_of_them, some = [], []
    for n, side in product(sizes, SIDES):
        part = attained[(attained["n"] == n) & (attained["alternative"] == side)].sort_values("k")
        n_printed = part["printed"].nunique()
        if n_printed < len(printed):
            some.append(f"{SIDES[side]} over {n} sections it prints {n_printed} of them")
            continue
        ranges = [(row.k, row.statistic, *sections_against(row.statistic, n)) for row in part.itertuples()]
        texts = [f"k = {k}: W = {w}, {few} to {many} sections" for k, w, few, many in ranges]
        all_of_them.append(f"- {SIDES[side]} over {n} sections ({'; '.join(texts)})")
    return all_of_them, some


def printed_sentences(published: pd.DataFrame) -> str:
    """What the paper's p values reveal of its tests, in Markdown.

    `published` has metric, k and value, with the metrics wilcoxon_p and permutation_p.
    """
    of_metric = {
        metric: part.set_index("value")["k"].astype(int)
        for metric, part in published.dropna(subset="k").groupby("metric")
    }
    printed, flipped = of_metric["wilcoxon_p"], of_metric["permutation_p"]
    lines, partly = tests_that_print(printed)
    largest = flipped.index.max()
    k = flipped[flipped.index == largest].iloc[0]
    hits = round(largest * (DRAWN + 1)) - 1  # p is (1 + hits) / (draws + 1)
    odds = 1 - (1 - 2 * printed.index[printed == k].item()) ** DRAWN
    eight = paired.wilcoxon(np.arange(1, 9))["smallest_p"]
    return (
        ":::{admonition} What the printed p values reveal\n\n"
        f"An exact signed-rank test can only take certain values. All {len(printed)} Wilcoxon p of the paper's Table 2 "
        "are values of the test\n\n"
        + "\n".join(lines)
        + f"\n\nand of no other: {'; '.join(partly)}. The sections counted are those whose $\\Delta_k$ points the "
        "other way: the rank sum W is theirs, so a printed p also says how many there can be, and that there are some. "
        "The [ledger](17_ledger.ipynb) has the values nearest by in each test.\n\n"
        f"If {DRAWN:,} flips were drawn, the largest permutation p, {largest:.1e} at k = {k:.0f}, says that {hits} of "
        "them reached what was seen. Were that as rare as the Wilcoxon p says, any hit would come in at most "
        f"{odds:.1%} of such runs: the statistic flipped was perhaps another than a mean or a rank sum, as a "
        "median.\n\nNone of these p can be had from the paper's eight patients, whose least is "
        f"{eight:.4f} two-sided.\n:::"
    )
