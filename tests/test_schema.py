import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from helpers import schema


@pytest.fixture
def section():
    made = AnnData(obs=pd.DataFrame(index=["1x1", "1x2", "2x1"]), var=pd.DataFrame(index=["A", "B"]))
    made.layers[schema.COUNTS] = sparse.csr_matrix(np.array([[1, 0], [2, 3], [0, 4]], np.float32))
    made.obsm[schema.SPATIAL] = made.obsm[schema.LATTICE] = np.arange(6.0).reshape(3, 2)
    made.obs["section"], made.obs["patient"], made.obs["total_counts"] = "S1", "P", [1, 5, 4]
    made.uns.update(section="S1", mpp=0.5, spot_um=55.0, pitch_um=100.0)
    return made


def test_a_good_section_passes(section):
    assert schema.check_section(section) is section


@pytest.mark.parametrize("name", ["<b>", "</td>", "<!--", "a\nb", "`x`", "[a](b)", "$x$", "\x1b[2J"])
def test_a_name_that_a_page_would_obey_is_refused(name):
    with pytest.raises(ValueError, match="genes.csv: gene .* holds .*; rename it"):
        schema.check_words(["ERBB2", name], "gene", "genes.csv")


def test_names_of_the_field_are_words():
    schema.check_words(
        ["E(spl)m8-HLH", "bw[D]", "l(2)gl", "mt:CoI", "HLA-DRB1*04", "P & Q", "CD4+ < 2 mm", 'O"Neil'], "", ""
    )


def spoil_spots(section):
    section.obs_names = ["1x1", "1x1", "2x1"]


def spoil_genes(section):
    section.var_names = ["A", "A"]


def spoil_counts(section):
    del section.layers[schema.COUNTS]


def spoil_log(section):
    section.layers[schema.COUNTS] = section.layers[schema.COUNTS].log1p()


def spoil_negative(section):
    section.layers[schema.COUNTS] = -section.layers[schema.COUNTS]


def spoil_missing(section):
    section.layers[schema.COUNTS].data[0] = np.nan


def spoil_centres(section):
    section.obsm[schema.SPATIAL][1, 1] = np.nan


def spoil_lattice(section):
    del section.obsm[schema.LATTICE]


def spoil_mpp(section):
    section.uns["mpp"] = 0.0


def spoil_pitch(section):
    section.uns["pitch_um"] = 40.0


def spoil_patient(section):
    del section.obs["patient"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_spots, "spot '1x1' occurs twice"),
        (spoil_genes, "gene 'A' occurs twice"),
        (spoil_counts, r"no layers\['counts'\]"),
        (spoil_log, "not whole numbers; raw counts are wanted"),
        (spoil_negative, "negative"),
        (spoil_missing, "missing"),
        (spoil_centres, r"obsm\['spatial'\] is not 3 finite pairs"),
        (spoil_lattice, r"no obsm\['lattice'\]"),
        (spoil_mpp, "pixel size 0.0 um is not plausible"),
        (spoil_pitch, "spots of 55.0 um at 40.0 um from each other are not plausible; set spot_um and pitch_um"),
        (spoil_patient, r"no obs\['patient'\]"),
    ],
)
def test_a_bad_section_is_refused_by_name(section, spoil, says):
    spoil(section)
    with pytest.raises(ValueError, match=f"section S1: .*{says}"):
        schema.check_section(section)


@pytest.mark.parametrize("name", ["../A1", "A1/B", "", ".hidden", "a b"])
def test_a_name_is_not_a_path(name):
    with pytest.raises(ValueError, match="is not a section's name"):
        schema.check_name(name)


def test_a_section_s_patient_is_that_of_its_spots_else_its_own_else_unknown(section):
    whole, unknown = section.copy(), section.copy()
    for made in (whole, unknown):
        del made.obs["patient"]
    whole.uns["patient"] = "Q"
    assert schema.patients_of({"S1": section, "S2": whole, "S3": unknown}) == {"S1": "P", "S2": "Q", "S3": ""}
    section.obs["patient"] = section.obs["patient"].astype("category")
    assert schema.patient_of(section) == "P" and schema.patient_of(section[:0]) == ""


def test_cells_are_counted_where_they_can_be_and_stained_elsewhere(section):
    assert not schema.has_cellularity(section)
    with pytest.raises(ValueError, match="section S1: no obs.*run 02_segmentation"):
        schema.cellularity(section)
    section.obs["haematoxylin"] = [0.1, 0.2, 0.4]
    assert schema.cellularity(section).tolist() == [0.1, 0.2, 0.4]
    section.obs["n_nuclei"] = [3, 5, 9]
    assert schema.cellularity(section).tolist() == [3, 5, 9]
    assert schema.covariates(section)["nuclei"].tolist() == [3, 5, 9]


def test_one_cohort_has_one_measure(section):
    bare, stained, counted = section, section.copy(), section.copy()
    stained.obs["haematoxylin"], counted.obs["n_nuclei"] = 0.1, 3
    assert schema.common_measure({"A": bare}) == ""
    assert schema.common_measure({"A": bare, "B": stained}) == "haematoxylin"
    with pytest.raises(ValueError, match="haematoxylin in B; n_nuclei in C; give nuclei: {back_end: haematoxylin}"):
        schema.common_measure({"A": bare, "B": stained, "C": counted})
