"""What to trust of each gene: is it predicted beyond nuclei and depth, in which patients, and how sure is that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.stats import combine_pvalues

from helpers.chapters.controls import twin_of
from helpers.columns import spearman
from helpers.labels import counted, label, p_value
from helpers.models import backbones
from helpers.schema import COUNTS, MEASURED, PREDICTED, cellularity, patients_of
from helpers.scores import judge, paired, partial, spatial
from helpers.targets import normalization
from helpers.targets.normalization import LOG, OF_PAPER, RESIDUAL

VERDICTS = ("beyond nuclei and depth", "beyond nuclei, not depth", "predicted, not beyond nuclei", "not predicted")
UNDEFINED = "undefined"
GIVEN = {"plain": "plain", "nuclei": "given nuclei", "both": "given both"}  # the tests, in order
BACKBONES = backbones.MODELS
LEVEL = 0.05
NAMED, FEW = "named_patients", 3  # column of those counted in patients_both, shown where they are few; not in files
SHOWN = {  # columns of the table that is searched
    "verdict": "verdict",
    "ceiling": "ceiling",
    "pcc": "PCC",
    "pcc_nuclei_alone": "nuclei alone",
    "rho_nuclei": "ρ nuclei",
    "rho_given_nuclei": "ρ given nuclei",
    "rho_given_both": "ρ given both",
    "patients": "patients",
    "q_both": "q",
}

Sections = Mapping[str, AnnData]
Bases = Mapping[str, np.ndarray]  # the `moran_basis` of each section
Fitted = Mapping[tuple[str, str], Sections]  # backbone and target -> section -> its prediction
Pair = tuple[np.ndarray, np.ndarray]  # observed, genes; null, genes x draws

# Predictions ----------------------------------------------------------------------------------------------------


def fits_of(predictions: Iterable[AnnData], split: str) -> dict[tuple[str, str], dict[str, AnnData]]:
    """Predictions of BACKBONES and OF_PAPER in one split: (backbone, target) -> section; of several seeds the mean.

    Backbones and targets come in that order, sections as given; a pair without a prediction is left out.
    """
    found: dict[tuple[str, str], dict[str, list[AnnData]]] = {(b, t): {} for b in BACKBONES for t in OF_PAPER}
    for held in predictions:
        key = held.uns["backbone"], held.uns["target"]
        if key in found and held.uns["split"] == split:
            found[key].setdefault(held.uns["section"], []).append(held)
    return {
        key: {name: mean_of_seeds(several) for name, several in by_section.items()}
        for key, by_section in found.items()
        if by_section
    }


def mean_of_seeds(several: Sequence[AnnData]) -> AnnData:
    """The first of predictions of the same spots and genes, with the mean of all as what is predicted."""
    mean = several[0].copy()
    mean.layers[PREDICTED] = np.mean([held.layers[PREDICTED] for held in several], axis=0)
    return mean


def genes_predicted(fitted: Fitted) -> list[str]:
    """Every gene that is predicted anywhere, in the order met."""
    genes = (gene for held_out in fitted.values() for held in held_out.values() for gene in held.var_names)
    return list(dict.fromkeys(genes))


def bases_of(sections: Sections) -> dict[str, np.ndarray]:
    """The `moran_basis` of each section."""
    return {name: judge.basis(section) for name, section in sections.items()}


# Evidence -------------------------------------------------------------------------------------------------------


def correlations_and_draws(
    measured: np.ndarray,
    held: AnnData,
    section: AnnData,
    basis: np.ndarray,
    n_draws: int = judge.N_DRAWS,
    seed: int = 0,
) -> dict[str, Pair]:
    """Of each test of GIVEN: the rank correlation of every gene, and its random draws.

    `held` is a prediction with the nuclei of its spots, `measured` what it is compared with (spots x genes), `section`
    holds the counts of these spots, all genes.
    """
    total, share = normalization.library_size(section), judge.levels(section, held.var_names)[0]
    fixed = {"plain": []} | judge.held_fixed(held.uns["target"], total, share, cellularity(held))
    found = {}
    for given, covariates in ((given, fixed[given]) for given in GIVEN):
        left = (partial.left_over(side, covariates, rank=True) for side in (measured, held.layers[PREDICTED]))
        found[given] = spatial.null_correlations(*left, basis, n_draws=n_draws, seed=seed)
    return found


def of_patient(observed: Sequence[np.ndarray], null: Sequence[np.ndarray]) -> Pair:
    """Mean over the sections of one patient and its null: genes, genes x draws.

    Serial sections repeat each other, so the null is that of sections that all go the same way: sorted draws are
    averaged, and the mean of n sections is no surer than one. Takes what `spatial.null_correlations` returns of each
    section; one where a gene is constant (NaN) does not count for it.
    """
    stacked, drawn = np.stack(observed), np.stack([np.sort(draws, axis=1) for draws in null])
    known = np.isfinite(stacked)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, stacked, 0).sum(axis=0) / n
        return mean, np.where(known[:, :, None], drawn, 0).sum(axis=0) / n[:, None]


def aligned(values: np.ndarray, genes: pd.Index, wanted: Sequence[str]) -> np.ndarray:
    """Values of `genes` (first axis) in the order of the `wanted` ones; NaN for one that is not among them."""
    at = genes.get_indexer(wanted)
    return np.where((at < 0).reshape(-1, *[1] * (values.ndim - 1)), np.nan, values[at])


def combined_p(p: np.ndarray) -> np.ndarray:
    """One p for each gene from those of independent patients, genes x patients, by Fisher's method; NaN is no test."""
    p = np.asarray(p, float)
    combined, known = np.full(len(p), np.nan), np.isfinite(p).any(axis=1)
    combined[known] = combine_pvalues(p[known], method="fisher", axis=1, nan_policy="omit").pvalue
    return combined


def verdicts_of_genes(q: Mapping[str, np.ndarray], level: float = LEVEL) -> np.ndarray:
    """In words, from q-values of each gene under the keys plain, nuclei and both.

    The tests go in this order and end with the first that fails: only what is predicted can be predicted beyond nuclei,
    and only that beyond depth as well.
    """
    plain, nuclei, both = (np.asarray(q[given], float) <= level for given in GIVEN)
    steps = [plain & nuclei & both, plain & nuclei, plain, np.isfinite(q["plain"])]
    return np.select(steps, VERDICTS, UNDEFINED)


def tests_over_patients(pairs: Mapping[str, Pair], patients: Mapping[str, str]) -> dict[str, np.ndarray]:
    """One test of every gene from those of all sections.

    `pairs` maps a section to what `correlations_and_draws` holds of it, genes in one order. Returns
    rho (mean over patients), sections and patients (in how many p is at most LEVEL) and their names, p (patients
    combined), q (over the genes), n_sections and n_patients (in how many the gene varies).
    """
    of_sections = np.array([spatial.p_values(*pair, "greater") for pair in pairs.values()])
    names = list(dict.fromkeys(patients[name] for name in pairs))
    of_each = [[pairs[name] for name in pairs if patients[name] == patient] for patient in names]
    means = [of_patient(*zip(*some, strict=True)) for some in of_each]
    p = np.column_stack([spatial.p_values(*pair, "greater") for pair in means])
    combined = combined_p(p)
    return {
        "rho": pd.DataFrame([mean for mean, _ in means]).mean().to_numpy(),
        "sections": (of_sections <= LEVEL).sum(axis=0),
        "patients": (p <= LEVEL).sum(axis=1),
        "names": [", ".join(name for name, one in zip(names, row, strict=True) if one <= LEVEL) for row in p],
        "p": combined,
        "q": paired.fdr(combined),
        "n_sections": np.isfinite(of_sections).sum(axis=0),
        "n_patients": np.isfinite(p).sum(axis=1),
    }


def tests_and_verdict(
    held_out: Sections, sections: Sections, bases: Bases, genes: Sequence[str], n_draws: int = judge.N_DRAWS
) -> pd.DataFrame:
    """Every test of every gene of one model and target, and the verdict. Rows are genes.

    Columns, for each of GIVEN: rho_plain or rho_given_<...>, and sections, patients, p and q of `tests_over_patients`
    with _<given> after them; then those patients given both by name (NAMED), n_sections, n_patients, verdict.
    """
    found = {
        name: correlations_and_draws(held.layers[MEASURED], held, sections[name], bases[name], n_draws, seed)
        for seed, (name, held) in enumerate(held_out.items())
    }
    patients, rows = patients_of(sections), pd.DataFrame(index=pd.Index(genes, name="gene"))
    for given in GIVEN:
        pairs = {n: tuple(aligned(part, held_out[n].var_names, genes) for part in found[n][given]) for n in found}
        test = tests_over_patients(pairs, patients)
        rows["rho_plain" if given == "plain" else f"rho_given_{given}"] = test["rho"]
        for column in ("sections", "patients", "p", "q"):
            rows[f"{column}_{given}"] = test[column]
    rows[NAMED] = test["names"]
    rows["n_sections"], rows["n_patients"] = test["n_sections"], test["n_patients"]
    return rows.assign(verdict=verdicts_of_genes({given: rows[f"q_{given}"].to_numpy() for given in GIVEN}))


def tests_of_fits(
    fitted: Fitted, sections: Sections, bases: Bases, genes: Sequence[str], n_draws: int = judge.N_DRAWS
) -> pd.DataFrame:
    """`tests_and_verdict` of every backbone and target, indexed by backbone, target and gene."""
    tables = {key: tests_and_verdict(held_out, sections, bases, genes, n_draws) for key, held_out in fitted.items()}
    return pd.concat(tables, names=["backbone", "target"])


# The tests, tested ----------------------------------------------------------------------------------------------


def found_in(
    held: AnnData, section: AnnData, basis: np.ndarray, n_draws: int = judge.N_DRAWS, seed: int = 0
) -> Iterator[dict]:
    """Share of genes with p at most LEVEL in a section (real) and in its depth-only twin, in each of GIVEN: rows.

    Columns kind (real, twin), given, found.
    """
    target = held.uns["target"]
    twin = twin_of(section, "depth_only", seed)
    redrawn = normalization.clip(normalization.target(twin, target, held.var_names), target)
    for kind, values, spots in (("real", held.layers[MEASURED], section), ("twin", redrawn, twin)):
        for given, pair in correlations_and_draws(values, held, spots, basis, n_draws, seed).items():
            p = spatial.p_values(*pair, "greater")
            yield {"kind": kind, "given": given, "found": (p[np.isfinite(p)] <= LEVEL).mean()}


def shares_found(fitted: Fitted, sections: Sections, bases: Bases, n_draws: int = judge.N_DRAWS) -> pd.DataFrame:
    """`found_in`, mean over sections: backbone and target in the rows, kind and given in the columns."""
    rows = [
        {"backbone": backbone, "target": target} | row
        for (backbone, target), held_out in fitted.items()
        for seed, (name, held) in enumerate(held_out.items())
        for row in found_in(held, sections[name], bases[name], n_draws, seed)
    ]
    keys = ["backbone", "target", "kind", "given"]
    return pd.DataFrame(rows).groupby(keys, sort=False)["found"].mean().unstack(["kind", "given"])


# The table ------------------------------------------------------------------------------------------------------


def nuclei_coupling(held_out: Sections) -> pd.Series:
    """Median over sections of each gene's rank correlation with nuclei, as measured."""
    rho = {
        name: pd.Series(spearman(held.layers[MEASURED], cellularity(held)), held.var_names)
        for name, held in held_out.items()
    }
    return pd.DataFrame(rho).median(axis=1).rename_axis("gene")


def mean_counts(sections: Sections, genes: Sequence[str]) -> pd.Series:
    """Molecules of each gene in a spot, mean over all spots of the sections that hold it."""
    return pd.concat([section.to_df(COUNTS).reindex(columns=genes) for section in sections.values()]).mean()


def gene_table(tests: pd.DataFrame, predictability: pd.DataFrame, fitted: Fitted, means: pd.Series) -> pd.DataFrame:
    """A row per gene, backbone and target: verdict, abundance and scores, then all columns of `tests`.

    `predictability` has section, backbone, target, gene, pcc and ceiling, of one split, also of nuclei alone; its
    medians over sections are taken. `means` are of `mean_counts`.
    """
    medians = predictability.groupby(["backbone", "target", "gene"])[["pcc", "ceiling"]].median()
    floor = medians["pcc"].xs("nuclei").rename("pcc_nuclei_alone")
    held_out = {target: sections for (_, target), sections in reversed(fitted.items())}  # of the first backbone
    rho = {target: nuclei_coupling(held_out[target]) for target in OF_PAPER if target in held_out}
    rho = pd.concat(rho, names=["target"]).rename("rho_nuclei")
    table = tests.join(medians).reset_index().join(pd.concat([floor, rho], axis=1), on=["target", "gene"])
    table["mean_count"] = table["gene"].map(means)
    first = ["gene", "backbone", "target", "verdict", "mean_count", "ceiling", "pcc", "pcc_nuclei_alone", "rho_nuclei"]
    return table[[*first, *(column for column in table if column not in first)]]


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """How many genes of each backbone and target have each verdict: those that occur, in their order."""
    counts = table.groupby(["backbone", "target"], sort=False)["verdict"].value_counts().unstack(fill_value=0)
    return counts[[verdict for verdict in (*VERDICTS, UNDEFINED) if verdict in counts]]


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are shown of a gene table, as text, under their names; "" for what is not known."""
    numbers = [column for column in SHOWN if column not in ("verdict", "patients", "q_both")]
    text = table[numbers].map("{:z.2f}".format).replace("nan", "")
    text["patients"] = table["patients_both"].astype(str) + " of " + table["n_patients"].astype(str)
    text["patients"] += (": " + table[NAMED]).where(table["patients_both"].between(1, FEW), "")
    text["q_both"] = [p_value(q, digits=4, none="") for q in table["q_both"]]
    return text.assign(verdict=table["verdict"])[list(SHOWN)].rename(columns=SHOWN)


def searchable_rows(own: pd.DataFrame) -> pd.DataFrame:
    """The gene table of one backbone as text: a row a gene, its molecules a spot, and the columns of each target.

    Columns have two levels, the upper one the target.
    """
    by_gene = own.set_index("gene")
    wide = {label(target): as_text(by_gene[by_gene["target"] == target]) for target in OF_PAPER}
    wide = pd.concat(wide, axis=1)
    wide.insert(0, ("", "molecules a spot"), by_gene["mean_count"].groupby(level=0).first().map("{:.2f}".format))
    return wide.fillna("")


# Sentences ------------------------------------------------------------------------------------------------------


def shares_sentence(found: pd.DataFrame, n_sections: int) -> str:
    """What the tests find on twins, where 5 % would be right (Markdown); takes what `shares_found` returns."""
    of_twins = found["twin"]
    target = of_twins.index.get_level_values("target")
    log, residual = (of_twins.loc[target == name, "nuclei"].mean() for name in OF_PAPER)
    return (
        f"Share of genes found at p ≤ {LEVEL} in a section, means over {counted(n_sections, 'sections')}. On the twins "
        f"the test beyond nuclei alone finds {log:.0%} of genes in {label(LOG)} and {residual:.0%} in "
        f"{label(RESIDUAL)}, where {LEVEL:.0%} would be right: what nuclei leave of depth passes for prediction "
        "wherever the target keeps depth. This is why there is a third test."
    )


def verdicts_sentence(own: pd.DataFrame, model: str) -> str:
    """How many genes a model predicts beyond nuclei and depth in each target, and in how many patients (Markdown).

    `own` is the part of the gene table that is of the model.
    """
    beyond = own["verdict"] == VERDICTS[0]
    by_target = own.pivot(index="gene", columns="target", values="verdict")[list(OF_PAPER)] == VERDICTS[0]
    parts = []
    for target in OF_PAPER:
        found = own[beyond & (own["target"] == target)]
        every, one = (found["patients_both"] == found["n_patients"]).sum(), found[found["patients_both"] == 1]
        by_patient = one[NAMED].value_counts()
        of_each = f": {', '.join(f'{n} in {name}' for name, n in by_patient.items())}" * (0 < len(by_patient) <= FEW)
        alone = f"{len(one)} of them in one patient alone{of_each}"
        parts.append(f"**{len(found)}** in {label(target)} ({alone}; {every} in every one)")
    not_depth = ((own["target"] == LOG) & (own["verdict"] == VERDICTS[1])).sum()
    beaten = (own["pcc_nuclei_alone"] >= own["pcc"]) & beyond
    sections, patients = (int(own[column].max()) for column in ("n_sections", "n_patients"))
    return (
        f"- `{model}`, {counted(len(by_target), 'genes')}, {counted(sections, 'sections')} of "
        f"{counted(patients, 'patients')}: "
        f"{' and '.join(parts)}, {by_target.all(axis=1).sum()} in both targets; in {label(LOG)} **{not_depth}** more "
        f"beyond nuclei but not beyond depth. Nuclei alone reach the higher PCC in {beaten.sum()} of all found."
    )


def answer(table: pd.DataFrame, found: pd.DataFrame) -> str:
    """How many genes each model predicts beyond nuclei and depth, in how many patients, and how often tests err.

    Takes the gene table and what `shares_found` returns (Markdown).
    """
    lines = [verdicts_sentence(own, model) for model, own in table.groupby("backbone", sort=False)]
    both = found["twin"]["both"]
    return (
        f"Genes predicted beyond what nuclei and depth say, at q ≤ {LEVEL} against maps as smooth:\n\n"
        + "\n".join(lines)
        + f"\n\nNominally at most {LEVEL:.0%} of the finds are false (q). On depth-only twins the last test finds "
        f"{both.min():.1%} to {both.max():.1%} of genes in a section, where {LEVEL:.0%} would be right."
    )


def limits_sentences(n_patients: int, n_sections: int, split: str, n_draws: int = judge.N_DRAWS) -> str:
    """What the number of patients, sections and random maps leaves open (Markdown list)."""
    limits = [f"No p of a patient can be below {1 / (1 + n_draws):.3g}, the reach of {n_draws} random maps."]
    if n_patients < paired.MIN_PATIENTS:
        limits.append(
            f"With {counted(n_patients, 'patients')}, a gene above chance in all of them is no statement about "
            "patients in general."
        )
    if split == "section" and n_patients < n_sections:
        limits.append(
            "One section is held out: others of the same tumour train the model, and a new patient might not show "
            "the gene."
        )
    return "\n".join(f"- {limit}" for limit in limits)
