"""Predictions scored as Pearson residuals, gene by gene: the PCC that composition skill is the mean of."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns, schema
from helpers.chapters.training_check import COMPARED, FOLD
from helpers.scores import judge
from helpers.targets.normalization import RESIDUAL


def composition(prediction: AnnData, section: AnnData) -> np.ndarray:
    """PCC of each gene of a prediction as a Pearson residual, its own library divided out.

    `section` is that of the prediction with all genes, whose shares a conversion needs (`judge.in_space`).
    """
    genes, section = list(prediction.var_names), section[prediction.obs_names]
    as_residuals = judge.in_space(
        prediction.layers[schema.PREDICTED], prediction.uns["target"], RESIDUAL, section, genes
    )
    return columns.pearson(judge.measured(section, RESIDUAL, genes), as_residuals)


def compositions(predictions: Iterable[AnnData], sections: Mapping[str, AnnData]) -> pd.DataFrame:
    """`composition` of every prediction of COMPARED, as a table that `median_pcc` takes, without ceilings."""
    choices = [*FOLD, "seed"]
    tables = [
        pd.DataFrame({"gene": one.var_names, "pcc": composition(one, sections[one.uns["section"]])}).assign(
            **{name: one.uns[name] for name in choices}
        )
        for one in predictions
        if one.uns["backbone"] in COMPARED
    ]
    empty = pd.DataFrame(columns=[*choices, "gene", "pcc"])
    return (pd.concat(tables, ignore_index=True) if tables else empty).assign(ceiling=np.nan)
