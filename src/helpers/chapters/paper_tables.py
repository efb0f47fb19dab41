"""Tables 1 and 2 beside what the paper prints, the test over patients, and every median without one section in turn."""

from collections.abc import Mapping

import pandas as pd

from helpers.labels import counted, label, of_patients
from helpers.models import backbones
from helpers.scores import coupling, paired
from helpers.targets.normalization import OF_PAPER

MODELS = backbones.MODELS  # whose numbers the sentences give

# Beside the paper -----------------------------------------------------------------------------------------------


def beside_table1(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our Table 1 with a column `paper`, NaN where the paper prints no such number.

    `ours` is of `coupling.table1`, `published` has table, metric, target and value. The target of a metric that has
    none is "" on both sides.
    """
    ours = ours.assign(target=ours["target"].fillna(""))
    theirs = published[published["table"] == 1].rename(columns={"value": "paper"})
    theirs = theirs.assign(target=theirs["target"].fillna(""))
    return ours.merge(theirs[["metric", "target", "paper"]], how="left", on=["metric", "target"])


def beside_table2(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our Table 2 with the paper's numbers of the same k as its last columns, NaN for a k that it does not print.

    `ours` is of `paired.test_deltas`, `published` has table, metric, k and value.
    """
    theirs = published[published["table"] == 2].pivot(index="k", columns="metric", values="value")
    theirs = theirs.rename(columns={"median_delta": "delta"}).add_prefix("paper_").rename_axis("k").reset_index()
    last = ["paper_delta", "paper_wilcoxon_p", "paper_permutation_p"]
    return ours.merge(theirs, how="left", on="k")[[*ours, *last]]


def as_published(table: pd.DataFrame, ranking: str = "same") -> pd.DataFrame:
    """Rows that read Delta_k as the paper's text does: each target ranks its own genes.

    `table` has definition and ranking: the very section ranks, as published, or with "nested" the others do.
    """
    return table[(table["definition"] == "own_top_k") & (table["ranking"] == ranking)]


def _of_models(table: pd.DataFrame, k: int) -> pd.DataFrame:
    return table[(table["k"] == k) & table["backbone"].isin(MODELS)]


def selection_remark(table2: pd.DataFrame, delta: pd.DataFrame, patients: Mapping[str, str], k: int) -> str:
    """What choosing the best k genes adds to the difference over the whole panel: a line (Markdown) a model.

    `table2` has backbone, split, definition, ranking, k, median_delta and delta_panel; "" where it holds no such k.
    `delta` is of `top_genes.differences`, which the table sums up.
    """
    lines, sections = [], _of_models(as_published(delta), k).dropna(subset="delta")
    for row in _of_models(as_published(table2), k).itertuples():
        own = sections[(sections["backbone"] == row.backbone) & (sections["split"] == row.split)]
        adds = (own["delta"] > own["delta_panel"]).sum()
        lines.append(
            f"- `{row.backbone}`, one {row.split} held out, k = {k}: {row.median_delta:.3f}, against "
            f"{row.delta_panel:.3f} over the whole panel: choosing the best genes adds "
            f"{row.median_delta - row.delta_panel:+.3f}, and adds in {adds} of {of_patients(own['section'], patients)}."
        )
    return "\n".join(lines)


def answer(table1: pd.DataFrame, table2: pd.DataFrame, tests: pd.DataFrame, sizes: str, k: int) -> str:
    """How large the coupling is in each target of the paper, Delta_k beside the panel's, and what a test says of it.

    `table1` and `table2` are those of the page, `tests` is of `delta_over_patients`, `sizes` says over which sections.
    """
    first = table1[table1["metric"] == coupling.METRICS[0]].set_index("target")
    log, residual = (first.loc[target] for target in OF_PAPER)
    both = " and ".join(
        f"**{row['value']:.2f}** in {label(row.name)} (95 % point of its null {row['chance_95']:.2f})"
        for row in (log, residual)
    )
    own = _of_models(as_published(table2), k)
    models = " and ".join(
        f"{row.median_delta:+.2f} with `{row.backbone}`, one {row.split} held out (all genes {row.delta_panel:+.2f})"
        for row in own.itertuples()
    )
    tested = [
        f"p = {row.wilcoxon_p_two_sided:.2g} with `{row.backbone}`, one {row.split} held out"
        for row in tests.itertuples()
        if pd.notna(row.wilcoxon_p_two_sided)
    ]
    p = f"over patients, two-sided, {', '.join(tested)}" if tested else "too few patients for a test over them"
    among = f" Over the {k} most predictable genes of each target, means of log less residual are {models}; {p}."
    return (
        f"The median gene's absolute correlation with nuclei is {both}, medians over {sizes}; maps as smooth as the "
        f"nuclei give a difference of {log['chance'] - residual['chance']:.2f} in the mean.{among if len(own) else ''}"
    )


# Over patients --------------------------------------------------------------------------------------------------


def delta_over_patients(delta: pd.DataFrame, patients: pd.Series, k: int) -> pd.DataFrame:
    """Delta_k, nested, tested over patients and over sections: a row a model and split.

    `delta` is of `top_genes.differences`; `patients` is indexed by section. Columns backbone, split, those of
    `paired.over_patients`, n_sections, and of the same sections one by one sections_p (two-sided) and
    sections_smallest_p. Sections without a difference are left out.
    """
    part = _of_models(as_published(delta, "nested"), k).dropna(subset="delta")
    rows = []
    for (backbone, split), own in part.groupby(["backbone", "split"], sort=False):
        values = own["delta"].to_numpy()
        test = paired.wilcoxon(values)
        row = {"backbone": backbone, "split": split, **paired.over_patients(values, patients[own["section"]])}
        row |= {"n_sections": len(own), "sections_p": test["p_two_sided"], "sections_smallest_p": test["smallest_p"]}
        rows.append(row)
    return pd.DataFrame(rows)


def patients_remark(tests: pd.DataFrame, k: int) -> str:
    """The test over patients beside that over sections, of `delta_over_patients`: a line (Markdown) a model and split.

    Where there are too few patients for a p, the note of the test stands instead of p and estimate.
    """
    lines = []
    for row in tests.itertuples():
        p = (
            f"median of {counted(row.n_patients, 'patient means')} {row.median:.3f}; p = "
            f"{row.wilcoxon_p_two_sided:.2g} over patients, smallest reachable {row.smallest_p:.2g}"
        )
        lines.append(
            f"- `{row.backbone}`, one {row.split} held out, nested, k = {k}: "
            f"{row.note if pd.isna(row.wilcoxon_p_two_sided) else p}; two-sided p = {row.sections_p:.2g} over "
            f"{counted(row.n_sections, 'sections')}, smallest reachable {row.sections_smallest_p:.2g}."
        )
    return "\n".join(lines) or f"No k of {k} in a panel this small."


# Without one section --------------------------------------------------------------------------------------------


def without_each_section(summary: pd.DataFrame, delta: pd.DataFrame) -> pd.DataFrame:
    """Every median over sections again without each of them: quantity, dropped ("none" for all sections), median.

    `summary` is of `coupling.section_summary`, whose coupling to nuclei is taken for each target; `delta` is of
    `top_genes.differences`, whose Delta_k as published is taken for each backbone, split and k.
    """
    values = {}
    for target, part in summary.groupby("target", sort=False):
        quantity = f"{label('median_abs_rho_nuclei')}, {label(target)}"
        values[quantity] = part.set_index("section")["median_abs_rho_nuclei"]
    for (backbone, split, k), part in as_published(delta).groupby(["backbone", "split", "k"], sort=False):
        quantity = f"{label('median_delta')}, k = {k}, {backbone}, one {split} held out"
        values[quantity] = part.set_index("section")["delta"]
    tables = [coupling.drop_one(value.dropna()).assign(quantity=quantity) for quantity, value in values.items()]
    return pd.concat(tables, ignore_index=True)[["quantity", "dropped", "median"]]


def least_and_most(dropped: pd.DataFrame) -> pd.DataFrame:
    """How far one section moves each median of `without_each_section`: quantities x all sections, least and most."""
    medians = dropped.groupby("quantity", sort=False)["median"]
    ends = medians.agg(["min", "max"]).set_axis(["least without one", "most without one"], axis=1)
    ends.insert(0, "all sections", dropped[dropped["dropped"] == "none"].set_index("quantity")["median"])
    return ends


def left_out_remark(sections: pd.DataFrame, qc: Mapping) -> str:
    """Which sections the rule for keeping one leaves out, and why (Markdown).

    `sections` has section, kept and reason; `qc` has min_spots, min_median_counts and min_spot_counts.
    """
    out = sections[~sections["kept"].astype(bool)]
    named = ", ".join(f"{row.section} ({row.reason})" for row in out.itertuples())
    rule = (
        f"at least {qc['min_spots']} spots of {qc['min_spot_counts']} counts, and a median of {qc['min_median_counts']}"
    )
    return f"The rule ({rule}) leaves out {named or 'no section'}."
