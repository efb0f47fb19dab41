"""The specification curve: one number under every way to compute it, and which of the choices moves it.

A table of specifications has a row each: `quantity` (a metric, and what it is of), one column a choice (missing where
the choice does not apply to the quantity), `n_spots`, `value`, `paper`, and `ours`, true for the book's own reading.
Source: Simonsohn, Simmons & Nelson 2020, doi 10.1038/s41562-020-0912-z.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from helpers import labels
from helpers.chapters.specified_couplings import ALL_SPOTS, DEEP, quantities
from helpers.chapters.specified_differences import MODELS
from helpers.scores.paired import MIN_PATIENTS
from helpers.targets.normalization import OF_PAPER, RESIDUAL

CHOICES = tuple(labels.CHOICES)
OVER_SECTIONS = ("median", "mean", "median of patients")
DIGITS = 9  # beyond them two values are one

# Over sections, and beside the paper ----------------------------------------------------------------------------


def over_sections(by_section: pd.DataFrame, patients: pd.Series, how: str) -> pd.DataFrame:
    """One value from those of the sections, and how far it moves without one of them.

    `by_section` is specifications x sections, `patients` the patient of each section; `how` is of OVER_SECTIONS, the
    last one the median of patients' means. Columns value, low and high: least and most without one section, NaN where
    there is one section only. A section that has no value is left out.
    """
    if how not in OVER_SECTIONS:
        raise ValueError(f"summary {how!r} is not one of {', '.join(OVER_SECTIONS)}")

    def summary(table: pd.DataFrame) -> np.ndarray:
        if how == "median of patients":
            table = table.T.groupby(patients[table.columns].to_numpy()).mean().T
        return (table.mean(axis=1) if how == "mean" else table.median(axis=1)).to_numpy()

    without = [summary(by_section.drop(columns=section)) for section in by_section if by_section.shape[1] > 1]
    ends = (np.min(without, axis=0), np.max(without, axis=0)) if without else (np.nan, np.nan)
    return pd.DataFrame({"value": summary(by_section), "low": ends[0], "high": ends[1]}, index=by_section.index)


def every_summary(table: pd.DataFrame, keys: Sequence[str], patients: pd.Series) -> pd.DataFrame:
    """Every way to summarize the sections, below each other, with the chance level beside.

    `table` has `keys`, section, value and chance. Columns `keys`, value, low, high, chance and sections (how).
    """
    indexed = table.fillna(dict.fromkeys(keys, "")).set_index([*keys, "section"])[["value", "chance"]]
    wide = indexed.unstack("section").reindex(indexed.index.droplevel("section").drop_duplicates())
    found = []
    for how in OVER_SECTIONS:
        value, chance = (over_sections(wide[column], patients, how) for column in ("value", "chance"))
        found.append(value.assign(chance=chance["value"], sections=how).reset_index())
    return pd.concat(found, ignore_index=True)


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other; a choice that does not apply is missing."""
    empty = {choice: {"": None} for choice in CHOICES}
    return pd.concat(tables, ignore_index=True).replace(empty)


def own_panel(panels: pd.DataFrame) -> str:
    """How the run chose its panel, as the choice is called; `panels` has panel and gene."""
    return "all sections" if set(panels["panel"]) == {"all"} else "without the section"


def own_choices(table: pd.DataFrame, panel: str, theta: float) -> dict[str, str]:
    """The book's own option of every choice but clipping; model and split are the first of MODELS in the table."""
    own = {
        "nuclei": "disc",
        "spots": ALL_SPOTS,
        "panel": panel,
        "library": "all genes",
        "p_j": "section",
        "theta": f"{theta:g}",
    }
    own |= {"genes": "median", "sections": "median", "definition": "own_top_k", "ranking": "same"}
    own |= {"test": "one-sided", "unit": "sections"}
    return own | {choice: next(one for one in known if one in set(table[choice])) for choice, known in MODELS.items()}


def is_own(table: pd.DataFrame, own: Mapping[str, str]) -> np.ndarray:
    """Which rows are the book's own reading: `own` in every choice that applies to them. bool

    Couplings are taken of residuals as they are; models are scored on what they were trained on, clipped residuals.
    """
    of_models = table["quantity"].str.contains("k =")
    options = {**own, "clip": np.where(of_models, "clipped", "none")}
    # A sign flip has no side: its own reading is that of the mean.
    options["test"] = table["test"].where(table["test"] == "of the mean", own["test"])
    return np.logical_and.reduce([table[one].isna() | (table[one] == option) for one, option in options.items()])


def specification_table(
    table: pd.DataFrame, paper: pd.DataFrame, own: Mapping[str, str], spots: Mapping[str, Mapping[str, pd.Index]]
) -> pd.DataFrame:
    """Every reading beside the paper's number and marked where it is the book's own; columns as the module says.

    `paper` has metric, target, k and value, `own` is that of `own_choices`; of `spots_by_reading` it says how many.
    """
    printed = paper.set_index(quantities(paper))["value"]
    n_spots = {reading: sum(map(len, of_section.values())) for reading, of_section in spots.items()}
    table = table.assign(paper=table["quantity"].map(printed), ours=is_own(table, own))
    table = table.assign(n_spots=table["spots"].map(n_spots))
    return table[["quantity", *CHOICES, "n_spots", "value", "low", "high", "chance", "paper", "ours"]]


def book_values(table1: pd.DataFrame, table2: pd.DataFrame, own: Mapping[str, str]) -> pd.DataFrame:
    """Quantity and value of the book's Table 1, and of Delta_k in its Table 2 under the `own` choices."""
    chosen = [table2[choice] == own[choice] for choice in ("backbone", "split", "ranking", "definition")]
    second = table2[np.logical_and.reduce(chosen)]
    second = second.assign(metric="median_delta", value=second["median_delta"])
    return pd.concat([part.assign(quantity=quantities(part))[["quantity", "value"]] for part in (table1, second)])


# What the readings say ------------------------------------------------------------------------------------------


def describe(table: pd.DataFrame) -> pd.DataFrame:
    """Each quantity over its specifications: n, ours, least, median, most, paper, and the share at least as large."""
    rows = {}
    for quantity, part in table.dropna(subset="value").groupby("quantity", sort=False):
        value, paper = part["value"], part["paper"].iloc[0]
        row = {"n": len(part), "ours": value[part["ours"].astype(bool)].median(), "least": value.min()}
        row |= {"median": value.median(), "most": value.max(), "paper": paper}
        rows[quantity] = row | {"at_least_paper": (value >= paper).mean() if np.isfinite(paper) else np.nan}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("quantity")


def influence(table: pd.DataFrame, choices: Sequence[str]) -> pd.DataFrame:
    """How much each choice moves each quantity: the largest difference between medians of its options.

    Quantities x choices; NaN where a quantity knows fewer than two options. The other choices are balanced where the
    table crosses all of them.
    """

    def moved(part: pd.DataFrame, choice: str) -> float:
        medians = part.groupby(choice)["value"].median().dropna()
        return medians.max() - medians.min() if len(medians) > 1 else np.nan

    groups = table.groupby("quantity", sort=False)
    return pd.DataFrame({choice: {q: moved(part, choice) for q, part in groups} for choice in choices})


def pairs(table: pd.DataFrame, first: str, second: str, choices: Sequence[str]) -> pd.DataFrame:
    """Values of two quantities side by side wherever they agree in every choice that applies to both.

    Columns: the choices of `second`, `first` and `second`. A quantity with fewer choices is paired more than once.
    """
    one, other = (table[table["quantity"] == quantity].dropna(axis=1, how="all") for quantity in (first, second))
    shared = [choice for choice in choices if choice in one and choice in other]
    kept = [choice for choice in choices if choice in other]
    one = one[[*shared, "value"]].rename(columns={"value": first})
    return other[[*kept, "value"]].rename(columns={"value": second}).merge(one, on=shared)


def log_above(of_sections: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Under how many readings the log target lies above the residual: a row a section, columns above and readings.

    `of_sections` is what `every_coupling` returns; readings agree in what both targets share.
    """
    both, rows = [f"{metric}, {target}" for target in OF_PAPER], {}
    for section, part in of_sections.groupby("section", sort=False):
        agree = pairs(part, *both, CHOICES)
        rows[section] = {"above": (agree[both[0]] > agree[both[1]]).sum(), "readings": len(agree)}
    return pd.DataFrame.from_dict(rows, orient="index")


def at_most(table: pd.DataFrame, quantities: Sequence[str], level: float = 0.05) -> pd.Series:
    """Share of the readings of each quantity, a p, that lie at or below `level`."""
    shown = table[table["quantity"].isin(quantities)]
    return (shown["value"] <= level).groupby(shown["quantity"], sort=False).mean()


# In words -------------------------------------------------------------------------------------------------------


def p_label(quantity: str) -> str:
    """How a test's quantity is called."""
    return quantity.replace("_p, ", " p, ")


def agreement_sentence(table: pd.DataFrame, printed: pd.DataFrame) -> str:
    """How many readings there are, and how far the book's own lie from its tables, `book_values` (Markdown)."""
    found = table[table["ours"]].merge(printed, on="quantity", suffixes=("", "_printed"))
    apart = (found["value"] - found["value_printed"]).abs().max()
    return (
        f"{len(table):,} rows. This page computes everything anew: its {len(found)} numbers of this book's reading "
        f"differ from the tables by at most {apart:.0e}."
    )


def signs_in_sections(of_sections: pd.DataFrame, metric: str) -> str:
    """In which sections log lies above the residual under every reading; takes `every_coupling`."""
    found = log_above(of_sections, metric)
    others = found[found["above"] < found["readings"]]
    n = f"{len(found) - len(others)} of {labels.counted(len(found), 'sections')}"
    but = ", ".join(f"{row.Index} under {row.above:,} of {row.readings:,}" for row in others.itertuples())
    return f"log lies above the residual under every reading in {n}" + (f" ({but})" if but else "")


def sign_sentences(table: pd.DataFrame, of_sections: pd.DataFrame, metrics: Sequence[str]) -> str:
    """In how many readings log lies above residual, over sections and in each of them (Markdown list).

    Readings agree in what both targets share; `of_sections` is what `every_coupling` returns.
    """
    lines = []
    for metric in metrics:
        both = [f"{metric}, {target}" for target in OF_PAPER]
        agree = pairs(table, *both, CHOICES)
        paired = agree[~agree[both].round(DIGITS).duplicated()]  # a choice that changes nothing counts once
        log, residual = (paired[f"{metric}, {target}"] for target in OF_PAPER)
        lowest, highest = (log - residual).agg(["min", "max"])
        lines.append(
            f"- {labels.label(metric)}, over sections: log above residual in **{(log > residual).sum():,} of "
            f"{len(log):,}** different pairs of values, among {len(agree):,} pairs of readings that agree in what both "
            f"share; the difference lies between {lowest:.3f} and {highest:.3f}. Section by section "
            f"{signs_in_sections(of_sections, metric)}."
        )
    return "\n".join(lines)


def answer(table: pd.DataFrame, of_sections: pd.DataFrame, sizes: str, k: int) -> str:
    """How far the median gene's coupling and Delta_k depend on choices, which moves each most, and where log leads.

    `table` is a table of specifications, `of_sections` what `every_coupling` returns, `sizes` says over which sections.
    """
    metric, parts = "median_abs_rho_nuclei", []
    for quantity in [*(f"{metric}, {target}" for target in OF_PAPER), f"median_delta, k = {k}"]:
        own = table[table["quantity"] == quantity]
        if own.empty:
            continue
        value, chance, moved = own["value"], own["chance"].dropna(), influence(own, CHOICES).iloc[0]
        beside = [f"paper {paper:.3f}" for paper in own["paper"].dropna()[:1]]
        beside += [f"mean of the null, median over readings, {chance.median():.2f}"] * bool(len(chance))
        parts.append(
            f"{labels.quantity_label(quantity)} **{value.min():.2f} to {value.max():.2f}** ({', '.join(beside)}), "
            f'moved most, by {moved.max():.2f}, by the choice "{labels.CHOICES[moved.idxmax()]}"'
        )
    return (
        f"Over all readings of {sizes}: {'; '.join(parts)}. Section by section "
        f"{signs_in_sections(of_sections, metric)}."
    )


def strongest_choices(table: pd.DataFrame, moved: pd.DataFrame, ks: Sequence[int]) -> str:
    """The choice that moves each quantity most, and from which option to which; of models at these k (Markdown list).

    `moved` is that of `influence`.
    """
    at = tuple(f"k = {k}" for k in ks)
    lines = []
    for quantity in [quantity for quantity in moved.index if "k =" not in quantity or quantity.endswith(at)]:
        choice = moved.loc[quantity].idxmax()
        medians = table[table["quantity"] == quantity].groupby(choice)["value"].median()
        low, high = (f"{labels.label(end)} ({medians[end]:.3f})" for end in (medians.idxmin(), medians.idxmax()))
        lines.append(f"- {labels.quantity_label(quantity)}: **{labels.CHOICES[choice]}**, from {low} to {high}.")
    return "\n".join(lines)


def share_sentence(table: pd.DataFrame) -> str:
    """Coupling of the residual to nuclei by whose share p_j is, and the reading that comes nearest to the paper."""
    table = table[table["quantity"] == f"median_abs_rho_nuclei, {RESIDUAL}"]
    by_share = table.groupby("p_j", sort=False)["value"].agg(["min", "median", "max"])
    paper = table["paper"].iloc[0]
    best = table.loc[(table["value"] - paper).abs().idxmin()]
    chosen = [(labels.CHOICES[c], labels.label(best[c])) for c in CHOICES if isinstance(best[c], str)]
    spans = [f"$p_j$ of the {at.Index} {at.median:.3f} ({at.min:.3f} to {at.max:.3f})" for at in by_share.itertuples()]
    return (
        f"Coupling of the residual to nuclei over all other choices: {'; '.join(spans)}. The paper prints {paper:.3f}; "
        f"nearest to it comes {best['value']:.3f} ({', '.join(f'{choice}: {option}' for choice, option in chosen)})."
    )


def spots_sentence(spots: Mapping[str, Mapping[str, pd.Index]]) -> str:
    """How many spots each reading of them leaves in which section (Markdown); takes `spots_by_reading`."""
    kept, deep = spots[ALL_SPOTS], spots.get(f"{DEEP} counts")
    total = labels.counted(sum(map(len, kept.values())), "spots")
    if deep is None:
        return f"Spots are not read apart: of {total} none is under {DEEP} counts, or a section would be left too few."
    lost = [f"{name} {len(deep[name])} of {len(kept[name])}" for name in kept if len(deep[name]) < len(kept[name])]
    return (
        f"Read on the spots of {DEEP} counts or more, {sum(map(len, deep.values())):,} of {total} are left: all in "
        f"{len(kept) - len(lost)} of {labels.counted(len(kept), 'sections')}, and {', '.join(lost)}. Panel, "
        "gene shares and models stay as they are."
    )


def delta_sentences(table: pd.DataFrame, ks: Sequence[int]) -> str:
    """How many different values of Delta_k are above zero, and its median under each definition (Markdown list)."""
    lines = []
    for k in ks:
        part = table[table["quantity"] == f"median_delta, k = {k}"]
        medians = part.groupby("definition", sort=False)["value"].median()
        by = ", ".join(f"{labels.label(definition)} {value:.3f}" for definition, value in medians.items())
        values = part["value"].round(DIGITS).unique()  # a choice that changes nothing counts once
        lines.append(
            f"- k = {k}: above zero in **{(values > 0).sum()} of {len(values)}** different values of {len(part)} "
            f"readings; medians, by the genes that are compared: {by}."
        )
    return "\n".join(lines)


def tests_sentence(n_sections: int, over_patients: bool) -> str:
    """The least p that exact tests over so many sections can reach, and whether patients are tested (Markdown)."""
    patients = "patients are tested as well"
    without = f"under {MIN_PATIENTS} patients there is no test over patients"
    least = 0.5**n_sections
    return (
        f"Over {labels.counted(n_sections, 'sections')} the exact tests reach no p below {least:.2g} one-sided and "
        f"{2 * least:.2g} two-sided, and {patients if over_patients else without}. "
        "The paper names 35 sections; the [ledger](17_ledger.ipynb) says which test prints them. "
        "Sections of one patient are not independent, so a test over sections is replicated here, not trusted. "
        "{download}`All readings of all numbers <results/specifications.csv.gz>`."
    )
