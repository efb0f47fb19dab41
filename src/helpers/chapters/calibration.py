"""Whether samples cover what was measured and vary as it does: tables over folds, and what they say."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema
from helpers.columns import pearson
from helpers.labels import label, of_patients
from helpers.scores import calibration
from helpers.targets.normalization import LOG, RESIDUAL

FOLD = ["split", "target", "held_out", "seed"]
LEVELS = {"as sampled": schema.PIT, "set right": schema.PIT_WITHIN}  # of each gene in the section
FITTING = 0.87, 0.93  # coverage of nine tenths that counts as such
KNOWN = ("ERBB2", "GNAS", "CD74")  # genes that a reader of these tumours looks for


def fold_tables(prediction: AnnData) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of one prediction with samples: mean and variance of each gene, and the histograms of ranks among samples."""
    keys = {name: prediction.uns[name] for name in FOLD}
    layers = [prediction.layers[name] for name in (schema.MEASURED, schema.PREDICTED, schema.SPREAD)]
    hyper = prediction.uns["info"]["hyper"]
    # Opposite noise cancels in the mean, as if it were over all possible samples; the mean in one call is over all.
    averaged = np.inf if hyper["antithetic"] or hyper["sampler"] == "mean" else hyper["n_samples"]
    genes = calibration.by_gene(prediction.var_names, *layers, averaged).assign(**keys)
    patient = schema.patient_of(prediction)
    ranks = [
        calibration.pit_histogram(prediction.layers[layer]).assign(**keys, patient=patient, level=level)
        for level, layer in LEVELS.items()
    ]
    return genes, pd.concat(ranks)


def all_folds(predictions: Iterable[AnnData]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of `fold_tables` for every prediction with samples, stacked, with FOLD in front; else empty."""
    tables = [fold_tables(prediction) for prediction in predictions if schema.PIT in prediction.layers]
    if not tables:
        return pd.DataFrame(columns=[*FOLD, "gene"]), pd.DataFrame(
            columns=[*FOLD, "patient", "level", "low", "high", "density"]
        )
    genes, ranks = (pd.concat(parts) for parts in zip(*tables, strict=True))
    return genes[[*FOLD, *genes.columns.drop(FOLD)]], ranks[[*FOLD, *ranks.columns.drop(FOLD)]]


def coverage(ranks: pd.DataFrame) -> pd.DataFrame:
    """Share of measured values inside the central intervals, per level and fold; takes the histograms of `all_folds`.

    Columns level, target, patient, section, seed, share (promised) and covered.
    """
    folds = ranks.groupby(["level", "target", "patient", "held_out", "seed"], sort=False)
    rows = [(*keys, share, calibration.coverage(part, share)) for keys, part in folds for share in calibration.SHARES]
    return pd.DataFrame(rows, columns=["level", "target", "patient", "section", "seed", "share", "covered"])


def variation_distances(genes: pd.DataFrame) -> pd.DataFrame:
    """RVD of the prediction and of one sample, per target and held-out section; takes the genes of `all_folds`."""
    variances = ("variance_predicted", "variance_sampled")
    rows = [
        (target, held_out, *(calibration.rvd(part["variance_measured"], part[name]) for name in variances))
        for (target, held_out), part in genes.groupby(["target", "held_out"], sort=False)
    ]
    return pd.DataFrame(rows, columns=["target", "held out", "RVD of the prediction", "RVD of one sample"])


def answer(covered: pd.DataFrame, distances: pd.DataFrame, committed: str = "") -> str:
    """What the samples hold, whether they scatter and genes vary as they should; `coverage`, `variation_distances`.

    `committed` names the cohort of the committed run where these tables are that run's.
    """
    whose = f"This run holds no samples of STEM: this is the committed run of {committed}. " if committed else ""
    most, listed, patients = calibration.SHARES[-1], [], dict(zip(covered["section"], covered["patient"], strict=True))
    for target, part in covered[covered["share"] == most].groupby("target", sort=False):
        sampled, right = (part.loc[part["level"] == level, "covered"].median() for level in LEVELS)
        shape = "as far apart as they should be"
        if not FITTING[0] <= right <= FITTING[1]:
            shape = "too close together" if right < FITTING[0] else "too far apart"
        rvd = distances.loc[distances["target"] == target, "RVD of one sample"].median()
        listed.append(
            f"{label(target)} **{sampled:.0%}**, {right:.0%} with the level of each gene set right (samples {shape}), "
            f"RVD {rvd:.2f}"
        )
    return (
        f"{whose}The central nine tenths of the samples should hold 90% of the measured values, and the RVD, how far "
        "genes vary unlike the measurements in one sample, should be 0 (a constant has 1). Over "
        f"{of_patients(covered['section'], patients)}: {'; '.join(listed)}."
    )


def by_target(predictions: Iterable[AnnData], backbone: str) -> dict[str, AnnData]:
    """One backbone's prediction in each of the paper's two targets that it has, log first; of seeds the last."""
    own = {one.uns["target"]: one for one in predictions if one.uns["backbone"] == backbone}
    return {target: own[target] for target in (LOG, RESIDUAL) if target in own}


def genes_to_show(prediction: AnnData, wanted: Sequence[str] | None = None, n: int = 3) -> list[str]:
    """`n` genes to draw: those wanted (by default KNOWN) that were predicted, and the best predicted to fill up."""
    values = prediction.layers[schema.MEASURED], prediction.layers[schema.PREDICTED]
    pcc = pd.Series(pearson(*values), prediction.var_names)
    first = [gene for gene in wanted or KNOWN if gene in pcc.index]
    return [*first, *pcc.drop(first).sort_values(ascending=False).index][:n]
