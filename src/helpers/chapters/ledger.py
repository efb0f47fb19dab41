"""The ledger: every number of the paper beside ours, with what to know of the difference.

A row of it: quantity (a metric, and what it is of, parted by commas), paper, value, cohort, n (sections), note.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from helpers.chapters import specifications
from helpers.chapters.paper_tables import MODELS, as_published
from helpers.labels import counted, label, quantity_label, span
from helpers.scores import paired
from helpers.targets.normalization import LOG, RESIDUAL

PAPER_SECTIONS, PAPER_PATIENTS = 35, 8
FAR = 1 / 3  # of the paper's number: a difference beyond needs the cohort's own reason
TESTS = ((35, 1), (35, 2), (36, 1), (36, 2))  # sections and sides of the signed-rank test that the paper may have run
VERDICTS = ("within a third", "another reading", "off")  # of our number: as the paper's, reaches it, neither
OF_MODEL = rf", ({'|'.join(MODELS)})$"
P = "_p(?:_|,)"  # in the name of a quantity that is a p value
COLUMNS = ["quantity", "paper", "value", "cohort", "n", "note"]

# Rows -----------------------------------------------------------------------------------------------------------


def table1_rows(table1: pd.DataFrame) -> pd.DataFrame:
    """Rows of Table 1 (cohort, metric, target, value, paper, n_sections) that the paper prints too, without notes."""
    of = np.where(table1["target"].isna(), "", ", " + table1["target"].astype(str))
    rows = table1.assign(quantity=table1["metric"] + of, n=table1["n_sections"])
    return rows[["quantity", "paper", "value", "cohort", "n"]].dropna()


def panel_difference(rows: pd.DataFrame) -> pd.DataFrame:
    """The difference over the whole panel, that of two medians among `table1_rows`; the paper does not print it."""
    log, residual = (rows.set_index("quantity").loc[f"median_abs_rho_nuclei, {target}"] for target in (LOG, RESIDUAL))
    change = {side: log[side] - residual[side] for side in ("paper", "value")}
    of = {"quantity": "median_abs_rho_nuclei, difference", "cohort": log["cohort"], "n": log["n"]}
    return pd.DataFrame([of | change])


def table2_rows(table2: pd.DataFrame, cohort: str) -> pd.DataFrame:
    """Rows of Table 2, read as published, one section held out, for the models; a p comes with the `smallest_p`."""
    part = as_published(table2)
    part = part[(part["split"] == "section") & part["backbone"].isin(MODELS)]
    of = ", k = " + part["k"].astype(str) + ", " + part["backbone"]
    kinds = {  # our column: the paper's, the least that it can be
        "median_delta": ("delta", np.nan),
        "wilcoxon_p_one_sided": ("wilcoxon_p", 0.5 ** part["n_sections"]),
        "permutation_p": ("permutation_p", part["smallest_p"]),
    }
    tables = [
        pd.DataFrame(
            {"quantity": ours + of, "paper": part[f"paper_{theirs}"], "value": part[ours], "smallest_p": least}
        )
        for ours, (theirs, least) in kinds.items()
    ]
    return pd.concat([table.assign(cohort=cohort, n=part["n_sections"]) for table in tables])


def note(row: pd.Series, n_patients: int, differs: str) -> str:
    """What to know of the difference in a row: the sizes of both cohorts, or the least p at this number of sections.

    `n_patients` have nuclei; a number that is off by more than a third carries `differs`, the cohort's own reason.
    """
    if pd.notna(row["smallest_p"]):
        sections = counted(int(row["n"]), "sections")
        return f"p depends on n: over {sections} none below {row['smallest_p']:.2g} can be reached"
    data = (
        f"{counted(int(row['n']), 'sections')} of {counted(n_patients, 'patients')}, "
        f"{PAPER_SECTIONS} of {PAPER_PATIENTS} in the paper"
    )
    if row["quantity"].startswith("median_delta"):
        data = f"each target ranks its own genes, on the same section; {data}"
    return data if abs(row["value"] - row["paper"]) <= FAR * abs(row["paper"]) else f"{data}; {differs}"


def ledger_rows(table1: pd.DataFrame, table2: pd.DataFrame, sections: pd.DataFrame, differs: str) -> pd.DataFrame:
    """The ledger of one cohort: every number of the paper that it has, with its note.

    `table1` and `table2` are those of the tables' chapter; `sections` has patient and rho_nuclei_depth, missing
    where there are no nuclei; `differs` as in `note`.
    """
    first = table1_rows(table1)
    parts = [first, panel_difference(first), table2_rows(table2, first["cohort"].iloc[0])]
    rows = pd.concat(parts, ignore_index=True)
    n_patients = sections.dropna(subset="rho_nuclei_depth")["patient"].nunique()
    return rows.assign(note=[note(row, n_patients, differs) for _, row in rows.iterrows()])[COLUMNS]


# What is shown --------------------------------------------------------------------------------------------------


def drawn(rows: pd.DataFrame, cohort: str, ranges: pd.DataFrame) -> pd.DataFrame:
    """The numbers of one cohort's ledger as the picture shows them, without p; takes `ledger_rows` and `paper_ranges`.

    Columns: metric and what it is `of`, by their labels, paper, value, least and most of all readings and their chance,
    verdict (one of VERDICTS), and the marks of its notes. Readings are of all models together.
    """
    own = rows[rows["cohort"] == cohort]
    part, marks = own[~own["quantity"].str.contains(P)].reset_index(drop=True), footnotes(own)
    readings = ranges[["least", "most", "chance"]].reindex(part["quantity"].str.replace(OF_MODEL, "", regex=True))
    part = part.join(readings.reset_index(drop=True))
    part["verdict"] = [verdict(*row) for row in part[["paper", "value", "least", "most"]].itertuples(index=False)]
    part["marks"] = ["".join(mark for mark, note in marks.items() if note in of.split("; ")) for of in part["note"]]
    part[["metric", "of"]] = part["quantity"].str.partition(", ")[[0, 2]].map(quantity_label)
    part = part.sort_values("metric", key=lambda metrics: pd.factorize(metrics)[0], kind="stable", ignore_index=True)
    return part[["metric", "of", "paper", "value", "least", "most", "chance", "verdict", "marks"]]


def verdict(paper: float, value: float, least: float, most: float) -> str:
    """Whether our number is the paper's, to a third of it; if not, whether it is under another reading."""
    if abs(value - paper) <= FAR * abs(paper):
        return VERDICTS[0]
    return VERDICTS[1] if least <= paper <= most else VERDICTS[2]


def footnotes(rows: pd.DataFrame) -> dict[str, str]:
    """Mark -> note, each note once, of the numbers of one cohort's ledger but p; what all of them share has no mark."""
    notes = rows.loc[~rows["quantity"].str.contains(P), "note"].str.split("; ")
    found = notes.explode().value_counts(sort=False)
    return dict(zip("¹²³⁴⁵⁶⁷⁸⁹", found.index[found < len(notes)], strict=False))


def notes_shown(rows: pd.DataFrame, cohort: str) -> str:
    """What stands under the picture of one cohort (Markdown): what every number shares, footnotes, and p values."""
    own = rows[rows["cohort"] == cohort]
    marked = footnotes(own)
    shared = [note for note in own["note"].iloc[0].split("; ") if note not in marked.values()]
    lines = [f"{mark} {note[0].upper()}{note[1:]}." for mark, note in marked.items()]
    return "\n\n".join([f"**{cohort}**: {'; '.join(shared)}.", *lines, p_remark(own)])


def p_remark(rows: pd.DataFrame) -> str:
    """The p values of one cohort's ledger beside the paper's, in a sentence a test."""
    tests = rows[rows["quantity"].str.contains(P)]
    said = []
    for metric, part in tests.groupby(tests["quantity"].str.partition(", ")[0], sort=False):
        paper, ours = (span(part[of].min(), part[of].max(), ".2g") for of in ("paper", "value"))
        said.append(f"{label(metric)}: {paper} in the paper, {ours} here; {part['note'].iloc[0]}.")
    return " ".join(said)


def reference_remark(provenance: dict) -> str:
    """From where the numbers of the committed reference run are (Markdown)."""
    versions = provenance["versions"]
    return (
        f"{provenance['cohort']}: the committed reference run of {provenance['date']}, "
        f"commit `{provenance['commit'][:12]}`, with torch {versions['torch']} and scanpy {versions['scanpy']}."
    )


def paper_ranges(curve: pd.DataFrame) -> pd.DataFrame:
    """What `specifications.describe` says of each quantity but the p values, and whether the paper's number is within.

    `curve` has quantity, value, chance, paper and ours; of the chance of all readings the median is taken.
    """
    ranges = specifications.describe(curve)
    ranges = ranges[~ranges.index.str.contains(P)]
    chance = curve.groupby("quantity")["chance"].median()
    return ranges.assign(chance=chance, within=ranges["paper"].between(ranges["least"], ranges["most"]))


def ranges_remark(ranges: pd.DataFrame) -> str:
    """How many of the paper's numbers lie within our range; takes `paper_ranges`."""
    return (
        "Over every reading of this cohort ([page 16](16_specifications.ipynb)) the paper's number lies within our "
        f"range for {ranges['within'].sum()} of {counted(len(ranges), 'numbers')}; it is of {PAPER_SECTIONS} sections "
        f"of {PAPER_PATIENTS} patients."
    )


# Why the coupling of the log target is what it is ---------------------------------------------------------------


def coupling_factors(associations: pd.DataFrame, sections: pd.DataFrame) -> pd.DataFrame:
    """By section, the factors of the log target's coupling: medians over genes of |rho|, and rho of nuclei and depth.

    `associations` has section, target, rho_depth and rho_nuclei, `sections` section and rho_nuclei_depth; the columns
    are those three, NaN where a section has no nuclei.
    """
    log = associations[associations["target"] == LOG].set_index("section")
    medians = log[["rho_depth", "rho_nuclei"]].abs().groupby("section").median()
    return medians.join(sections.set_index("section")["rho_nuclei_depth"], how="outer")


def _printed(published: pd.DataFrame, metric: str, target: str = "") -> float:
    of = (published["metric"] == metric) & (published["target"].fillna("") == target)
    return published.loc[of, "value"].item()


def product_remark(factors: pd.DataFrame, patients: Mapping[str, str], published: pd.DataFrame) -> str:
    """Whether the log target's coupling is the product of two others, by section, and for the paper (Markdown).

    Takes `coupling_factors` and the patient of each section; `published` has metric, target and value. The paper's
    number has no section, so the product is taken for each patient, with the paper's rho of nuclei and depth.
    """
    imaged = factors.dropna(subset=["rho_depth", "rho_nuclei"])
    product = imaged["rho_depth"] * imaged["rho_nuclei_depth"]
    each = "; ".join(
        f"{name} {product[name]:.2f} for {observed:.2f}" for name, observed in imaged["rho_nuclei"].items()
    )
    off = (product - imaged["rho_nuclei"]).abs()
    everywhere = factors["rho_depth"].dropna()
    of_patients = everywhere.groupby(everywhere.index.map(patients)).median()
    paper_rho, paper_log = _printed(published, "rho_nuclei_depth"), _printed(published, "median_abs_rho_nuclei", LOG)
    over = of_patients * paper_rho
    return (
        "A gene follows depth and depth follows nuclei: if that were all, the coupling of the log target would be the "
        f"product of the two. Section by section, product for observed: {each}; off by {off.min():.2f} to "
        f"{off.max():.2f}, most in {off.idxmax()}. The paper prints {paper_log}. With its {paper_rho} for nuclei and "
        f"depth the product is {over.median():.3f} in the median of {counted(len(over), 'patients')}, {over.min():.3f} "
        f"({over.idxmin()}) to {over.max():.3f} ({over.idxmax()}): patients differ too much for one product to speak "
        "for them. The direct test, the coupling to nuclei once depth is held fixed, stands in "
        "[Table 1](14_figure1.ipynb)."
    )


# What test the paper ran, and how far STEM was trained ----------------------------------------------------------


def nearest_attainable(p: float, n: int, sides: int) -> float:
    """The value nearest to p, by its logarithm, that the exact signed-rank test over n sections can take.

    `sides` is 1 or 2; differences without ties and zeros.
    """
    attainable = sides * np.cumsum(paired.signed_rank_distribution(np.arange(1, n + 1)))
    return attainable[np.argmin(np.abs(np.log(attainable / p)))]


def attainable_p(published: pd.DataFrame, tests: Iterable[tuple[int, int]] = TESTS) -> pd.DataFrame:
    """The paper's signed-rank p of each k, beside the nearest value of each test (sections, sides).

    `published` has metric, k and value.
    """
    printed = published[published["metric"] == "wilcoxon_p"].astype({"k": int}).set_index("k")["value"]
    columns = {
        f"n = {n}, {('one', 'two')[sides - 1]}-sided": [nearest_attainable(p, n, sides) for p in printed]
        for n, sides in tests
    }
    return pd.DataFrame({"paper": printed} | columns, index=printed.index)


def training_remark(fractions: pd.DataFrame, k: int) -> str:
    """What of ridge's PCC-k STEM reached: a line (Markdown) a target and split.

    `fractions` has split, target, stem, ridge and fraction, and no rows where STEM was not trained.
    """
    lines = [
        f"- {label(row.target)}, leave one {row.split} out: STEM reached {row.fraction:.0%} of ridge's median PCC-{k} "
        f"({row.stem:.2f} of {row.ridge:.2f})."
        for row in fractions.itertuples()
    ]
    return "On this run:\n\n" + "\n".join(lines) if lines else "This run trained ridge only."
