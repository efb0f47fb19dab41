"""Anyone's predictions -> their scores in every space, beside what one number per spot scores, with nulls and flags."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import eye_array

from helpers import columns, schema
from helpers.audit import predictions
from helpers.audit.evidence import Audited, evidence, lattice_steps
from helpers.audit.flags import flags
from helpers.audit.summary import UNSEEN, headline_k, summarize
from helpers.cohort.molecules import why_not_umi
from helpers.models import backbones
from helpers.scores import judge, spatial, top_genes
from helpers.targets import normalization, spaces, twins

KS = (10, 50, 200)
SCORED_IN = (normalization.LOG, normalization.LOG_CP10K, normalization.RESIDUAL)  # beside the space predicted in
PANELS = ("training", "all", "unknown")


def assess(
    cohort: Mapping[str, AnnData],
    predicted: Mapping[str, pd.DataFrame],
    space: str,
    targets: Mapping[str, pd.DataFrame] | None = None,
    panel_chosen_on: str = "unknown",
    n_draws: int = judge.N_DRAWS,
    n_splits: int = judge.N_SPLITS,
) -> dict[str, pd.DataFrame | list | dict]:
    """Score predictions of held-out sections in every space, with floors, partial scores, nulls and flags.

    `cohort` holds sections: counts of all genes, coordinates and, where nuclei are known, `obs["n_nuclei"]`;
    `predicted` maps the same names to spots x genes; `space` is a key of `normalization.TARGETS`; `targets` are what
    the model was scored against, where that is known. Returns the tables `scores`, `twin`, `partial`, `given`,
    `skills`, `floors`, `excess`, `evidence` and `targets`, and `remarks`, `summary` and `flags`. Where the space is in
    doubt, predictions are scored in it and taken to no other. ValueError names the section that cannot be scored.
    """
    normalization.named(normalization.TARGETS, "space", space)
    if panel_chosen_on not in PANELS:
        raise ValueError(f"panel_chosen_on {panel_chosen_on!r} is not one of {', '.join(PANELS)}")
    audited, remarks = matched(cohort, predicted, space)
    every, doubted = audited.values(), any(one.doubts for one in audited.values())
    judged = [space] if doubted else list(dict.fromkeys([space, *SCORED_IN]))
    k = headline_k(judge.best_ks(KS, len(next(iter(every)).genes)))
    ceilings = {(name, s): of for name, one in audited.items() for s, of in ceilings_of(one, judged, n_splits).items()}
    report: dict = {
        "scores": stacked(score(audited[name], s, n_draws, of) for (name, s), of in ceilings.items()),
        "twin": stacked(score_on_twin(one, judged, k, n_draws) for one in every),
        "partial": stacked(partial_scores(one, s) for one, s in product(every, judged)),
        "skills": stacked(skills(one, n_draws) for one in every if not doubted),
        "floors": stacked(score_floors(audited, s, floor, n_draws) for s, floor in product(judged, backbones.FLOORS)),
        "excess": excess(audited, k),
        "evidence": pd.DataFrame([evidence(one, k, ceilings[name, space], n_draws) for name, one in audited.items()]),
        "targets": stacked(recognize(one.section, targets[name], name) for name, one in audited.items() if targets),
    }
    report["given"] = stacked(what_is_left(one, report["partial"], judged, n_draws) for one in every)
    report["remarks"] = remarks + without_score(report["scores"], space)
    report["summary"] = summarize(report, {name: one.section for name, one in audited.items()}, space)
    report["flags"] = flags(report, panel_chosen_on)
    return report


def matched(
    cohort: Mapping[str, AnnData], predicted: Mapping[str, pd.DataFrame], space: str
) -> tuple[dict[str, Audited], list[str]]:
    """Predictions beside their sections, on the spots and genes that both have, and remarks on what does not fit."""
    tables, sections, said, remarks = {}, {}, {}, []
    for name, section in cohort.items():
        where = f"section {name}"
        tables[name], found = predictions.match(predicted[name], section.obs_names, section.var_names, where)
        sections[name] = section[tables[name].index].copy()
        sections[name].uns["section"] = name
        not_umi = why_not_umi(section.layers[schema.COUNTS])
        # Ceilings and twins draw molecules: there is no half of one.
        sections[name].layers[schema.COUNTS] = np.rint(sections[name].layers[schema.COUNTS])
        sections[name].obs["total_counts"] = normalization.summed_counts(sections[name])
        doubts = spaces.doubts(
            tables[name].to_numpy(), space, normalization.counts_of(sections[name], tables[name].columns)
        )
        said[name] = doubts, not_umi
        remarks += [f"{where}: {remark}" for remark in [*found, *doubts, *[f"counts: {not_umi}"] * bool(not_umi)]]
    panel, left_out = one_panel(tables)
    audited = {
        name: Audited(section, panel, tables[name][panel].to_numpy(), space, judge.basis(section), *said[name])
        for name, section in sections.items()
    }
    return audited, remarks + left_out


def without_score(scores: pd.DataFrame, space: str) -> list[str]:
    """A remark where genes of a section have no correlation in the model's own space."""
    n = scores.loc[scores["space"] == space].groupby("section", sort=False)["n_undefined"].max()
    words = "are constant, in the prediction or as measured, and have no correlation"
    return [f"section {name}: {count:.0f} genes {words}" for name, count in n[n > 0].items()]


def one_panel(predicted: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str]]:
    """The genes predicted in every section, in the order of the first, and a remark where others are left out."""
    tables = list(predicted.values())
    common = [gene for gene in tables[0].columns if all(gene in table for table in tables)]
    every = set().union(*(table.columns for table in tables))
    if not common:
        raise ValueError("no gene is predicted in every section; predict one panel everywhere, or audit sections apart")
    left_out = len(every) - len(common)
    return common, [f"{left_out} genes are not predicted in every section and are left out"] if left_out else []


# One section, one space: a table with columns section and space ----------------------------------------------------


def ceilings_of(one: Audited, judged: Sequence[str], n_splits: int) -> dict[str, np.ndarray]:
    """The noise ceiling of each gene in each space (`judge.ceilings_in`)."""
    return judge.ceilings_in(judged, one.section, one.genes, n_splits)


def score(one: Audited, space: str, n_draws: int, of_genes: np.ndarray) -> pd.DataFrame:
    """`judge.pcc` at the k of the headline, with the ceilings `of_genes`; PCC-k alone at the others of KS."""
    measured, predicted = judge.measured(one.section, space, one.genes), in_space(one, space)
    r, ks = columns.pearson(measured, predicted), judge.best_ks(KS, len(one.genes))
    rows = [{"k": k, "pcc": top_genes.pcc_at_k(r, k)} for k in ks]
    at = ks.index(headline_k(ks))
    rows[at] |= judge.pcc(measured, predicted, one.spots, ks[at], n_draws, of_genes)
    return pd.DataFrame(rows).assign(section=one.section.uns["section"], space=space)


def score_on_twin(one: Audited, judged: Sequence[str], k: int, n_draws: int) -> pd.DataFrame:
    """`judge.pcc` against counts redrawn so that spots differ in depth alone (`twins.depth_only`), in every space."""
    counts = twins.depth_only(one.section.layers[schema.COUNTS], np.random.default_rng(0))
    twin = twins.as_twin(one.section, counts)
    rows = [
        {"k": k, "section": one.section.uns["section"], "space": space}
        | judge.pcc(judge.measured(twin, space, one.genes), in_space(one, space), one.spots, k, n_draws)
        for space in judged
    ]
    return pd.DataFrame(rows)


def in_space(one: Audited, space: str) -> np.ndarray:
    """Predictions of a section as they are in a space (`judge.in_space`)."""
    return judge.in_space(one.predicted, one.space, space, one.section, one.genes)


def partial_scores(one: Audited, space: str) -> pd.DataFrame:
    """`judge.given` of every gene: plain, and given nuclei, depth, and both."""
    held = judge.covariate_sets(one.section, space, one.genes)
    table = judge.given(judge.measured(one.section, space, one.genes), in_space(one, space), one.genes, held)
    return table.assign(section=one.section.uns["section"], space=space)


def what_is_left(one: Audited, by_gene: pd.DataFrame, judged: Sequence[str], n_draws: int) -> pd.DataFrame:
    """`judge.summarize_given` of `by_gene`, what `partial_scores` says of all, with `judge.given_chance` beside each.

    A row for each space and set of covariates.
    """
    k, rows = judge.best_ks((50,), len(one.genes))[0], []
    n_draws, name = min(n_draws, judge.N_DRAWS_GIVEN), one.section.uns["section"]
    for space in judged:
        sides = judge.measured(one.section, space, one.genes), in_space(one, space)
        held = judge.covariate_sets(one.section, space, one.genes)
        found = by_gene[(by_gene["section"] == name) & (by_gene["space"] == space)]
        for given, part in found.groupby("given", sort=False):
            chance = judge.given_chance(*sides, held[given], one.spots, k, n_draws)
            keys = {"section": name, "space": space, "given": given, "k": k}
            rows.append(keys | judge.summarize_given(part, k).to_dict() | chance)
    return pd.DataFrame(rows)


def skills(one: Audited, n_draws: int) -> pd.DataFrame:
    """What the predictions know of the library, and of the composition once their own library is divided out."""
    k = judge.best_ks((50,), len(one.genes))[0]
    known = one.predicted, one.space, one.section, one.genes, one.spots
    return pd.DataFrame([{"section": one.section.uns["section"], "k": k} | judge.skills(*known, k, n_draws)])


# Floors -----------------------------------------------------------------------------------------------------------


def score_floors(audited: Mapping[str, Audited], space: str, floor: str, n_draws: int) -> pd.DataFrame:
    """What a floor fitted on the other sections scores in each; nothing where a section lacks it.

    At the k of the headline with the 95 % point of its chance, where it may decide a flag: in the model's own space.
    """
    features = floor_features(audited, floor)
    if features is None:
        return pd.DataFrame()
    measured = {name: judge.measured(one.section, space, one.genes) for name, one in audited.items()}
    rows, ks = [], judge.best_ks(KS, len(next(iter(audited.values())).genes))
    for name, one in audited.items():
        predicted = judge.floor(floor, features, measured, name)
        r = columns.pearson(measured[name], predicted)
        found = [{"floor": floor, "section": name, "space": space, "k": k, "pcc": top_genes.pcc_at_k(r, k)} for k in ks]
        if space == one.space and not backbones.BACKBONES[floor].oracle:
            k = headline_k(ks)
            null = judge.pcc(measured[name], predicted, one.spots, k, n_draws)
            found[ks.index(k)]["chance_95"] = null["chance_95"]
        rows += found
    return pd.DataFrame(rows)


def floor_features(audited: Mapping[str, Audited], floor: str) -> dict[str, np.ndarray] | None:
    """What a floor looks at in each section, spots x features; None where a section lacks it.

    None too for the stain where it measures cellularity: it is then the floor called nuclei.
    """
    if all(schema.measure(one.section.obs) == floor for one in audited.values()):
        return None
    try:
        look = backbones.BACKBONES[floor].look
        return {name: np.asarray(look(one.section), float) for name, one in audited.items()}
    except KeyError:
        return None


def excess(audited: Mapping[str, Audited], k: int) -> pd.DataFrame:
    """What the model scores above the floors in its own space, a row a section.

    Where patients are known, floors are fitted on the sections of other patients, as if this one were unseen. Columns
    section, patient, pcc, and <floor> and excess_<floor> for those of `UNSEEN` that are known. A prediction that is
    the same everywhere has no score and counts as 0.
    """
    patients = schema.patients_of({name: one.section for name, one in audited.items()})
    several = len(set(patients.values())) > 1 and all(patients.values())
    features = {floor: floor_features(audited, floor) for floor in UNSEEN}
    measured = {name: judge.measured(one.section, one.space, one.genes) for name, one in audited.items()}
    rows = []
    for name, one in audited.items():
        pcc = top_genes.pcc_at_k(columns.pearson(measured[name], one.predicted), k)
        row = {"section": name, "patient": patients[name], "pcc": pcc}
        fitted_on = [o for o in audited if o == name or not several or patients[o] != patients[name]]
        for floor in UNSEEN:
            if features[floor] is not None:
                here = ({o: part[o] for o in fitted_on} for part in (features[floor], measured))
                row[floor] = top_genes.pcc_at_k(columns.pearson(measured[name], judge.floor(floor, *here, name)), k)
                row[f"excess_{floor}"] = np.nan_to_num(pcc) - row[floor]
        rows.append(row)
    return pd.DataFrame(rows)


# The target that was given -----------------------------------------------------------------------------------------


def recognize(section: AnnData, target: pd.DataFrame, name: str) -> pd.DataFrame:
    """Which normalization a given target is: its median correlation over genes with each that we know, best first.

    Columns section, method, library (all, panel, none), smoothed, correlation. Per-gene scaling does not matter.
    """
    given, _ = predictions.match(target, section.obs_names, section.var_names, f"target of section {name}")
    part = section[given.index]
    around = spatial.neighbours(lattice_steps(part)) + eye_array(len(part), format="csr")
    n_around = around.sum(axis=1)[:, None]
    rows = []
    for (method, library), values in known_targets(part, given.columns).items():
        for smoothed in (False, True):
            r = columns.pearson(given.to_numpy(), around @ values / n_around if smoothed else values)
            rows.append((name, method, library, smoothed, np.nanmedian(r) if np.isfinite(r).any() else np.nan))
    table = pd.DataFrame(rows, columns=["section", "method", "library", "smoothed", "correlation"])
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def known_targets(section: AnnData, genes: Sequence[str]) -> dict[tuple[str, str], np.ndarray]:
    """Targets by name and by what the library sums over: all genes, the panel, or none where it does not matter."""
    counts, share = normalization.counts_of(section, genes), judge.levels(section, genes)[0]
    every, panel = normalization.library_size(section), counts.sum(axis=1)
    found = {}
    for name, target in normalization.TARGETS.items():
        if target.holds_depth:
            found[name, "none"] = target.values(counts, every, share)
        else:
            found[name, "all"] = target.values(counts, every, share)
            found[name, "panel"] = target.values(counts, panel, counts.sum(0) / counts.sum())
    return found


def stacked(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Tables below each other, without the empty ones."""
    parts = [part for part in parts if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
