"""Abundance: one number a gene and section, whatever the targets. The null of panel F, beside nuclei alone."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from helpers.chapters.predictability_and_coupling import answer, log_abundance, with_null
from helpers.schema import SPATIAL
from helpers.scores import top_genes

GENES = [f"g{i}" for i in range(40)]
XY = np.argwhere(np.ones((12, 11))).astype(float)


def test_a_gene_counts_once_a_section_and_one_without_counts_has_no_logarithm():
    genes = pd.DataFrame({"section": ["A1", "A1", "B1"], "gene": ["a", "b", "a"], "mean_count": [np.e, 0, 1]})
    moments = pd.concat([genes.assign(target="log2"), genes.assign(target="pearson_residual")])
    found = log_abundance(moments)
    np.testing.assert_allclose(found["log_mean_count"], [1, np.nan, 0])
    assert list(found) == ["section", "gene", "log_mean_count"]


def test_the_moments_stay_as_they_were():
    moments = pd.DataFrame({"section": ["A1"], "gene": ["a"], "mean_count": [2.0], "target": "log2"})
    before = moments.copy()
    log_abundance(moments)
    pd.testing.assert_frame_equal(moments, before)


@pytest.fixture(scope="module")
def fitted():
    """Genes that are more or less of one smooth map and noise; the nuclei follow another one. Two ways to predict."""
    rng, share = np.random.default_rng(0), np.linspace(0, 1, len(GENES))
    smooth, other = np.sin(XY[:, 0] / 3), np.cos(XY[:, 1] / 2)
    values = np.outer(smooth, share) + rng.normal(size=(len(XY), len(GENES)))
    made = AnnData(var=pd.DataFrame(index=GENES), layers={"log2": values}, obsm={SPATIAL: XY})
    made.obs["n_nuclei"] = other + 0.3 * rng.normal(size=len(XY))
    alone = np.abs(np.corrcoef(values.T, made.obs["n_nuclei"])[-1, :-1])
    tables = [
        pd.DataFrame({"gene": GENES, "pcc": pcc, "backbone": backbone})
        for backbone, pcc in (("ridge", share + 0.1 * rng.normal(size=len(GENES))), ("nuclei", alone))
    ]
    predicted = pd.concat(tables).assign(split="section", target="log2", section="A1", seed=0, ceiling=0.9)
    rho = pd.DataFrame({"section": "A1", "target": "log2", "gene": GENES, "rho_nuclei": alone})
    abundance = pd.DataFrame({"section": "A1", "gene": GENES, "log_mean_count": rng.normal(size=len(GENES))})
    return predicted, made, top_genes.couplings(rho, predicted, abundance)


def test_smooth_genes_that_are_predictable_follow_any_smooth_map_and_only_nuclei_alone_exceed_that(fitted):
    predicted, made, coupled = fitted
    found = with_null(coupled, predicted, {"A1": made}, 1024).set_index("backbone")
    assert found.loc["ridge", "chance"] > 0.1  # zero is not what chance gives
    assert found.loc["ridge", "coupling"] < found.loc["ridge", "chance_95"] < 1
    assert found.loc["nuclei", "coupling"] > max(0.95, found.loc["nuclei", "chance_95"])


def test_the_answer_counts_sections_beyond_their_null_for_every_target_and_model():
    rows = [("ridge", "pearson_residual", 0.2), ("ridge", "log2", 0.8), ("stem", "log2", 0.5), ("nuclei", "log2", 1.0)]
    names = {"A1": 0.0, "A2": -0.4, "B1": 0.1}
    coupled = pd.DataFrame(
        [(*row[:2], name, row[2] + more, 0.45, 0.3) for row in rows for name, more in names.items()],
        columns=["backbone", "target", "section", "coupling", "chance_95", "coupling_given_abundance"],
    )
    patients = {"A1": "A", "A2": "A", "B1": "B"}
    text = answer(coupled, ["ridge", "stem"], patients)
    assert text.startswith("Of 3 sections of 2 patients, ") and "`nuclei`" not in text
    assert "with `stem` (rho 0.50, chance 0.45; 0.30), where nuclei alone have rho **1.00**; in Pearson" in text
    assert text.count("where nuclei alone") == 1  # that floor was not fitted to the residual
    assert "in log2(x + 1) in **2** with `ridge` (rho 0.80, chance 0.45; 0.30) and **2** with `stem` (rho 0.50" in text
    assert "; in Pearson residual in **0** with `ridge` (rho 0.20" in text
    assert answer(coupled[coupled["section"] == "A2"], ["stem"], patients).startswith("Of 1 section of 1 patient, ")
