"""Table 2 under every way to compute it: Delta_k of each section and its tests."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from tqdm.std import tqdm

from helpers import columns, schema, store
from helpers.chapters.specified_couplings import quantities
from helpers.models import backbones
from helpers.scores import top_genes
from helpers.scores.paired import MIN_PATIENTS, sign_flip, wilcoxon
from helpers.targets import normalization
from helpers.targets.normalization import OF_PAPER

OF_MODELS = ("nuclei", "spots", "clip", "definition", "ranking", "backbone", "split")
MODELS = {"backbone": backbones.MODELS, "split": ("section", "patient")}  # the book's own is the first one there is


def trained_files(folders: Sequence[str | Path]) -> list[Path]:
    """Files of predictions by the book's own models, STEM and ridge, on both targets: backbone.target.*.h5ad."""
    paths = store.prediction_files(folders)
    wanted = [path for path in paths if tuple(path.name.split(".")[:2]) in set(product(MODELS["backbone"], OF_PAPER))]
    if not wanted:
        raise ValueError(f"no prediction by {' or '.join(MODELS['backbone'])}: train one, or leave this page out")
    return wanted


def pcc_by_clipping(
    predictions: Iterable[AnnData],
    sections: Mapping[str, AnnData],
    spots: Mapping[str, Mapping[str, pd.Index]],
) -> pd.DataFrame:
    """PCC of each gene of each prediction, against its target as it was trained on and, as `none`, without clipping.

    `sections` have the counts, `spots` is `spots_by_reading` of them. Columns gene, pcc, ceiling (unknown), clip,
    spots, section, split, target, backbone, seed.
    """
    tables = []
    for held in predictions:
        metadata = {name: held.uns[name] for name in ("section", "split", "target", "backbone", "seed")}
        section = sections[metadata["section"]][held.obs_names]
        whole = normalization.get(metadata["target"])(section, held.var_names)
        targets = {"clipped": held.layers[schema.MEASURED], "none": whole}
        for (clip, measured), (reading, read) in product(targets.items(), spots.items()):
            at = held.obs_names.get_indexer(read[metadata["section"]])
            pcc = columns.pearson(measured[at], held.layers[schema.PREDICTED][at])
            chosen = {"clip": clip, "spots": reading}
            tables.append(pd.DataFrame({"gene": held.var_names, "pcc": pcc, "ceiling": np.nan, **chosen, **metadata}))
    return pd.concat(tables, ignore_index=True)


def nuclei_couplings(
    sections: Mapping[str, AnnData],
    panels: Mapping[str, Sequence[str]],
    nuclei: Mapping[str, pd.DataFrame],
    spots: Mapping[str, Mapping[str, pd.Index]],
) -> pd.DataFrame:
    """Coupling of the run's own targets to every reading of the nuclei, gene by gene, in every section that has them.

    `spots` is `spots_by_reading` of them. Columns gene, nuclei, rho_nuclei, section, target, spots.
    """
    tables = []
    for (section, readings), target in product(nuclei.items(), OF_PAPER):
        values = normalization.get(target)(sections[section], panels[section])
        for reading, read in spots.items():
            at = sections[section].obs_names.get_indexer(read[section])
            rho = columns.spearman(values[at], readings.iloc[at].to_numpy())
            names = {
                "columns": pd.Index(readings.columns, name="nuclei"),
                "index": pd.Index(panels[section], name="gene"),
            }
            table = pd.DataFrame(rho, **names).stack(future_stack=True).rename("rho_nuclei").reset_index()
            tables.append(table.assign(section=section, target=target, spots=reading))
    return pd.concat(tables, ignore_index=True)


def every_difference(associated: pd.DataFrame, predicted: pd.DataFrame, ks: Sequence[int]) -> pd.DataFrame:
    """Delta_k of each section under every reading of the nuclei, of its spots, and of what is predicted.

    Takes `nuclei_couplings` and `pcc_by_clipping` of all sections. Columns quantity, k, those of OF_MODELS, section,
    value and chance, which is not known.
    """
    tables = [
        top_genes.differences(rho, pcc, ks).assign(nuclei=reading, spots=spots, clip=clip)
        for (reading, spots), rho in associated.groupby(["nuclei", "spots"], sort=False)
        for clip, pcc in predicted[predicted["spots"] == spots].groupby("clip")
    ]
    table = pd.concat(tables, ignore_index=True).dropna(subset="delta").rename(columns={"delta": "value"})
    return table.assign(chance=np.nan, quantity=quantities(table.assign(metric="median_delta")))


def tests_of_differences(differences: np.ndarray) -> list[dict]:
    """Every test that the differences centre on zero: metric, test and p (value)."""
    rank = wilcoxon(differences)
    found = [("wilcoxon_p", "one-sided", rank["p_one_sided"]), ("wilcoxon_p", "two-sided", rank["p_two_sided"])]
    found += [("permutation_p", f"of the {how}", sign_flip(differences, how)["p"]) for how in ("mean", "median")]
    return [dict(zip(("metric", "test", "value"), row, strict=True)) for row in found]


def units(differences: pd.DataFrame, patients: pd.Series) -> dict[str, np.ndarray]:
    """Values of the sections and, where there are enough for a test, means of the patients."""
    means = differences.groupby(differences["section"].map(patients))["value"].mean().to_numpy()
    found = {"sections": differences["value"].to_numpy()}
    return found | ({"patients": means} if len(means) >= MIN_PATIENTS else {})


def every_test(differences: pd.DataFrame, patients: pd.Series) -> pd.DataFrame:
    """Every p of every reading of Delta_k, over sections and over patients; sign flips after Wilcoxon's.

    Takes `every_difference`. Columns quantity, metric, k, those of OF_MODELS, unit, test, value.
    """
    rows = []
    for (k, *chosen), part in tqdm(differences.groupby(["k", *OF_MODELS], sort=False), "tests"):
        row = {"k": k, **dict(zip(OF_MODELS, chosen, strict=True))}
        for unit, values in units(part, patients).items():
            rows += [row | {"unit": unit} | found for found in tests_of_differences(values)]
    table = pd.DataFrame(rows)
    table = table.assign(quantity=quantities(table))
    return table.sort_values("metric", key=lambda metric: metric == "permutation_p", kind="stable")
