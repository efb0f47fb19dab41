"""Panels and targets of a cohort: one panel or one per held-out section, targets of all counts, moments by hand."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers import store
from helpers.chapters import normalization

GENES = ["CD74", "G1", "G2", "G3"]


def section_of(counts, name="A1", var=GENES):
    counts = sparse.csr_matrix(np.asarray(counts, np.float32))
    section = AnnData(obs=pd.DataFrame(index=[f"1x{i}" for i in range(counts.shape[0])]), var=pd.DataFrame(index=var))
    section.layers["counts"] = counts
    section.obs["total_counts"] = np.asarray(counts.sum(1)).ravel()
    section.uns["section"] = name
    return section


@pytest.fixture
def cohort(monkeypatch):
    """Statistics in which a gene's rank is its mean; all genes are highly variable."""

    def statistics(section):
        total = np.asarray(section.layers["counts"].sum(0)).ravel()
        columns = {"highly_variable": True, "n_spots": section.n_obs, "total": total, "total_of_squares": total**2}
        return pd.DataFrame(columns, index=section.var_names)

    monkeypatch.setattr(normalization, "gene_statistics", statistics)
    return {"A1": section_of([[9, 1, 5, 3]] * 2), "B1": section_of([[1, 9, 5, 3]] * 2, "B1")}


def test_one_panel_is_of_all_sections_and_folds_leave_their_own_out(cohort):
    assert normalization.choose_panels(cohort, 2, "all").keys() == {"all"}
    folds = normalization.choose_panels(cohort, 2, "fold")
    assert folds == {"A1": ["G1", "G2"], "B1": ["CD74", "G2"]}
    assert normalization.genes_of_panels(folds) == ["CD74", "G1", "G2"]
    with pytest.raises(ValueError, match="panel_choose 'patient' is neither 'all' nor 'fold'"):
        normalization.choose_panels(cohort, 2, "patient")


def test_genes_are_ranked_within_each_panel():
    table = normalization.panel_rows({"A1": ["G1", "G2"], "B1": ["G2", "G1"]})
    assert table[["panel", "rank", "gene"]].to_numpy().tolist() == [
        ["A1", 1, "G1"],
        ["A1", 2, "G2"],
        ["B1", 1, "G2"],
        ["B1", 2, "G1"],
    ]
    assert table["hash"].nunique() == 1  # the same genes, whatever their order


def test_a_panel_is_named_by_its_first_genes():
    said = normalization.describe_panels({"all": ["G1"]}, 1)
    assert said.startswith("One panel of 1 gene, from 1 section. The first (fingerprint `")
    assert "begins with G1. {download}" in said
    said = normalization.describe_panels({"A1": ["G1", "G2"], "B1": ["G2", "G3"]}, 36)
    assert said.startswith("2 panels, one for each held-out section, of 2 genes, from 36 sections.")


def test_targets_of_a_panel_know_the_library_of_all_genes():
    """A spot of 10 counts, 5 of them of G2; CP10k of G2 is 5,000 though the panel holds 6 counts only."""
    made = normalization.with_targets(section_of([[1, 3, 5, 1], [2, 2, 4, 2]]), ["CD74", "G2"], ["log2", "log1p_cp10k"])
    assert list(made.var_names) == ["CD74", "G2"]
    np.testing.assert_allclose(made.layers["log2"], np.log2([[2, 6], [3, 5]]))
    np.testing.assert_allclose(made.layers["log1p_cp10k"], np.log1p([[1000, 5000], [2000, 4000]]))


@pytest.mark.parametrize("theta", [100, 10])
def test_theta_widens_what_a_residual_is_divided_by(theta):
    """Spots of 4 and 12 counts, half of them of each gene: mu is 2 and 6."""
    section = section_of([[4, 0], [4, 8]], var=["G1", "G2"])
    made = normalization.with_targets(section, ["G1"], ["pearson_residual", "log2"], theta)
    mu = np.array([2.0, 6.0])
    np.testing.assert_allclose(made.layers["pearson_residual"][:, 0], ([4, 4] - mu) / np.sqrt(mu + mu**2 / theta))


def test_each_section_is_written_with_its_targets(tmp_path):
    sections = {name: section_of([[1, 3, 5, 1], [2, 2, 4, 2]], name) for name in ("A1", "B1")}
    made = normalization.write_targets(sections, ["G2"], ["log2"], tmp_path / "targets")
    for name, section in made.items():
        written = store.read_section(tmp_path / f"targets/{name}.h5ad")
        np.testing.assert_array_equal(written.layers["log2"], section.layers["log2"])
        assert list(written.var_names) == ["G2"] and written.uns["section"] == name
    assert list(made) == ["A1", "B1"]


def test_moments_are_of_the_counts_and_of_each_target():
    section = section_of([[1, 0, 0, 0], [3, 0, 0, 0]])
    section.layers["log2"] = np.log2(section.layers["counts"].toarray() + 1)
    table = normalization.moments({"A1": section}, ["log2"])
    assert table.columns.tolist() == ["section", "target", "gene", "mean_count", "variance"]
    assert table["gene"].tolist() == GENES
    assert table["mean_count"].tolist() == [2, 0, 0, 0]
    assert table["variance"].tolist() == [0.25, 0, 0, 0]  # 1 and 2


def test_the_answer_is_how_the_variance_follows_the_mean_in_each_target():
    """In A1 both targets vary more the higher the mean, in B1 the second the less; 1 and the middle of 1 and -1."""
    table = pd.DataFrame({"gene": ["G1", "G2", "G3"], "mean_count": [1, 2, 3]})
    up, down = table.assign(variance=[1, 4, 9]), table.assign(variance=[3, 2, 1])
    parts = [("A1", "log2", up), ("A1", "log1p_cp10k", up), ("B1", "log2", up), ("B1", "log1p_cp10k", down)]
    table = pd.concat(part.assign(section=section, target=target) for section, target, part in parts)
    patients = {"A1": "A", "B1": "B"}
    said = normalization.answer(table, table[table["section"] == "B1"], patients)
    assert said.startswith("**No target is stabilized here**. ")
    assert "log2(x + 1) **1.00** (1.00; 1.00), log1p(CP10k) **0.00** (-1.00 to 1.00; -1.00). log1p(CP10k) is" in said
    assert "differ in sign: median |rho| 1.00. 3 genes, 2 sections of 2 patients: medians" in said
    flat = table[:3].assign(variance=[2, 1, 2])
    assert normalization.answer(flat, flat, patients).startswith("**Stabilized: log2(x + 1)**. ")
    assert "3 genes, 1 section of 1 patient" in normalization.answer(flat, flat, patients)


def test_counting_alone_leaves_the_residual_its_variance_whatever_the_mean():
    rng = np.random.default_rng(0)
    share = np.array([0.5, 0.3, 0.15, 0.05])
    section = section_of(rng.multinomial(300, share, size=400))
    table = normalization.twin_moments({"A1": section}, ["CD74", "G3"], ["log2", "pearson_residual"], theta=np.inf)
    assert table["section"].eq("A1").all() and len(table) == 4
    assert table.loc[table["target"] == "pearson_residual", "variance"].between(0.3, 1.2).all()


def test_the_gene_to_show_is_the_user_s_or_a_known_one():
    assert normalization.example_gene(["G1", "CD74", "GNAS"]) == "GNAS"
    assert normalization.example_gene(["G1", "G2"]) == "G1"
    assert normalization.example_gene(["G1", "GNAS"], "G1") == "G1"
    with pytest.raises(ValueError, match="gene 'G9' is not in the panel, which has G1"):
        normalization.example_gene(["G1"], "G9")


def test_maps_show_one_gene_in_every_target_and_nuclei_where_there_are_any():
    section = section_of([[1, 2, 0, 0], [3, 1, 0, 0]])
    section.layers["log2"] = np.log2(section.layers["counts"].toarray() + 1)
    found = normalization.maps(section, "CD74", ["log2"])
    assert list(found) == ["Total counts", "log2(x + 1)"]
    assert found["Total counts"].tolist() == [3, 4] and found["log2(x + 1)"].tolist() == [1, 2]
    section.obs["n_nuclei"] = [7, 8]
    assert list(normalization.maps(section, "CD74", ["log2"]))[0] == "Nuclei per spot"


def test_genes_that_are_no_candidates_are_counted():
    sections = {"A1": section_of([[1, 1, 1, 1]], var=["MT-CO1", "Rps3", "CD74", "G1"])}
    said = "2 genes of 4, mitochondrial or of ribosomal proteins by their names, are no candidates."
    assert normalization.describe_left_out(sections) == said
    assert "No gene is called mitochondrial" in normalization.describe_left_out({"A1": section_of([[1, 1, 1, 1]])})
