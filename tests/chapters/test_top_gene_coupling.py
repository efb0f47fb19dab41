"""The best-predicted genes beside all genes: means by hand, each target and model in its place."""

import pandas as pd

from helpers.chapters import top_gene_coupling


def tables():
    """Two genes in two sections, |rho| .2 and .6 in A1, .4 and .8 in B1; of the best genes .6 and .8, chance .1."""
    known = pd.DataFrame({"section": ["A1", "A1", "B1", "B1"], "rho_nuclei": [-0.2, 0.6, 0.4, -0.8]})
    top = pd.DataFrame({"section": ["A1", "B1"], "abs_rho": [0.6, 0.8], "chance": 0.1})
    top = top.assign(backbone="ridge", target="log2", ranking="same", k=20)
    return top, known.assign(target="log2")


def test_the_best_genes_stand_beside_all_genes_and_chance():
    top, known = tables()
    others = [top.assign(ranking="nested", abs_rho=0), top.assign(backbone="nuclei", abs_rho=0), top.assign(k=200)]
    assert top_gene_coupling.answer(pd.concat([top, *others]), known, ["ridge"], {"A1": "A", "B1": "B"}) == (
        "Mean |rho(target, nuclei)| of the 20 genes that a model predicts best, medians over 2 sections of 2 patients. "
        "log2(x + 1): `ridge` **0.70** (0.10) against 0.50 of all genes. In brackets the mean of the "
        "null: the same genes against randomized maps."
    )


def test_a_target_that_one_model_lacks_is_the_other_s_alone():
    top, known = tables()
    both = pd.concat([top, top.assign(backbone="stem"), top.assign(target="pearson_residual")])
    known = pd.concat([known, known.assign(target="pearson_residual", rho_nuclei=0.1)])
    said = top_gene_coupling.answer(both[both["section"] == "A1"], known, ["ridge", "stem"], {"A1": "A"})
    assert "over 1 section of 1 patient. log2(x + 1): `ridge` **0.60** (0.10), `stem` **0.60** (0.10)" in said
    assert "Pearson residual: `ridge` **0.60** (0.10) against 0.10 of all genes." in said
