import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import writers
from anndata import AnnData
from scipy import sparse

from helpers import schema
from helpers.cohort import images, layouts, sections, simulate
from helpers.scores import spatial

ST = {"spot_um": 100, "pitch_um": 200}


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    root = tmp_path_factory.mktemp("truth")
    simulate.cohort(root, sections={"A1": 3000}, lattice=(6, 5), n_genes=120)
    return sections.read("her2st", root, "A1")


def write_her2st(section, root):
    writers.her2st(section, root)
    return {}


def write_hest_by_id(section, root):
    writers.hest(section, root, "SPA154")
    return {"ids": {"A1": "SPA154"}}


def write_hest_by_subseries(section, root):
    writers.hest(section, root, "SPA154")
    return {}


def write_spaceranger(section, root):
    writers.spaceranger(section, root, "A1")
    return ST | {"images": "images/{section}.jpg", "patients": {"A1": "A"}}


def write_spaceranger_of_old(section, root):
    writers.spaceranger(section, root, "V10S21-1_A1", outs=False, header=False)
    return ST | {"ids": {"A1": "V10S21-1_A1"}, "images": "images/*{section}.jpg", "patients": {"A1": "A"}}


def write_h5ad(section, root):
    writers.plain(section, root, "A1")
    return ST


WRITERS = {
    "her2st": write_her2st,
    "hest by id": write_hest_by_id,
    "hest by subseries": write_hest_by_subseries,
    "spaceranger": write_spaceranger,
    "spaceranger 1": write_spaceranger_of_old,
    "h5ad": write_h5ad,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_layout_gives_the_same_section(truth, tmp_path, kind):
    options = WRITERS[kind](truth, tmp_path)
    found = sections.read(kind.split()[0], tmp_path, "A1", **options, embedded=images.embedded_mpp)
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), truth.layers[schema.COUNTS].toarray())
    np.testing.assert_allclose(found.obsm[schema.SPATIAL], truth.obsm[schema.SPATIAL], atol=0.01)
    assert list(found.var_names) == list(truth.var_names)
    assert found.uns["mpp"] == pytest.approx(truth.uns["mpp"], rel=0.01)
    assert found.uns["mpp_source"] == "lattice"
    assert found.obs["patient"].unique().tolist() == ["A"]
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (100, 200)
    assert images.size(found.uns["image"]) == images.size(truth.uns["image"])
    # Array indices are whole where the her2st tree has measured places; x and y keep their order.
    np.testing.assert_allclose(found.obsm[schema.LATTICE], truth.obsm[schema.LATTICE], atol=0.11)
    if "x" in found.obs_names[0]:
        assert list(found.obs_names) == list(truth.obs_names)


def test_each_source_of_the_pixel_size_is_kept(truth, tmp_path):
    options = write_hest_by_id(truth, tmp_path)
    found = sections.read("hest", tmp_path, "A1", 0.69, **options, embedded=images.embedded_mpp)
    by_source = found.uns["mpp_by_source"]
    assert list(by_source) == ["user", "lattice", "embedded", "estimated"]
    assert by_source["embedded"] == pytest.approx(truth.uns["mpp"], rel=1e-3)
    assert by_source["estimated"] == pytest.approx(truth.uns["mpp"] * 1.02)
    assert (found.uns["mpp"], found.uns["mpp_source"]) == (0.69, "user")


def test_nuclei_that_come_with_a_cohort_are_found(truth, tmp_path):
    write_hest_by_id(truth, tmp_path)
    found = sections.read("hest", tmp_path, "A1")
    assert found.uns["nuclei_file"].endswith("cellvit_seg/SPA154_cellvit_seg.parquet")
    assert truth.uns["nuclei_file"] == ""


def test_the_diameter_in_scalefactors_is_that_of_a_65_um_spot(truth, tmp_path):
    """10x's example: 89.44 px, hence 0.727 um per pixel (Space Ranger 1.3, output images)."""
    options = write_spaceranger(truth, tmp_path)
    (tmp_path / "A1/outs/spatial/scalefactors_json.json").write_text('{"spot_diameter_fullres": 89.43834961021503}')
    with pytest.warns(UserWarning, match=r"0\.727 um \(estimated\)"):
        found = sections.read("spaceranger", tmp_path, "A1", **options)
    assert found.uns["mpp_by_source"]["estimated"] == pytest.approx(0.7267575965)


# --- hexagons ---


def visium(mpp=0.5, angle=0.0, mirrored=False, n=12):
    """Positions of an array as Space Ranger writes them: 100 um between neighbours, turned and mirrored."""
    row, half = np.divmod(np.arange(n * n), n)
    column = 2 * half + row % 2
    um = np.column_stack([column * 50.0, row * 50.0 * np.sqrt(3)]) * [-1 if mirrored else 1, 1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = (um @ turn.T / mpp + 5000).T
    spots = {"array_row": row, "array_col": column, "pxl_row_in_fullres": y, "pxl_col_in_fullres": x}
    return pd.DataFrame({"barcode": [f"A{k:04d}-1" for k in range(n * n)], "in_tissue": 1} | spots)


def write_visium(root, spots, genes=tuple(f"G{k}" for k in range(20))):
    (root / "A1/spatial").mkdir(parents=True)
    counts = sparse.csr_matrix(np.random.default_rng(0).poisson(3, (len(spots), 20)))
    writers.matrix_10x(root / "A1/filtered_feature_bc_matrix.h5", counts, spots["barcode"], genes)
    spots.to_csv(root / "A1/spatial/tissue_positions.csv", index=False)


@pytest.mark.parametrize(("angle", "mirrored"), [(0, False), (1.6, False), (0.1, True), (3.1, True)])
def test_a_turned_or_mirrored_array_gives_the_pixel_size(tmp_path, angle, mirrored):
    write_visium(tmp_path, visium(0.274, angle, mirrored))
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    assert found.uns["mpp"] == pytest.approx(0.274, rel=1e-6)
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (55, 100)


def test_a_spot_of_a_hexagonal_array_has_six_neighbours(tmp_path):
    write_visium(tmp_path, visium())
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    degrees = spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1)
    inner = visium().assign(degree=degrees).query("2 <= array_row <= 9 and 3 <= array_col <= 20")["degree"]
    assert set(inner) == {6}


@pytest.mark.filterwarnings("error::UserWarning")
def test_the_files_of_a_visium_section_may_lie_in_one_folder(truth, tmp_path):
    options = write_spaceranger(truth, tmp_path)
    nested = sections.read("spaceranger", tmp_path, "A1", **options)
    for path in (tmp_path / "A1/outs/spatial").iterdir():
        path.rename(tmp_path / "A1/outs" / path.name)
    (tmp_path / "A1/outs/spatial").rmdir()
    flat = sections.read("spaceranger", tmp_path, "A1", **options)
    np.testing.assert_array_equal(flat.obsm[schema.SPATIAL], nested.obsm[schema.SPATIAL])
    assert flat.uns["mpp"] == nested.uns["mpp"]


def test_two_genes_of_one_symbol_are_numbered(tmp_path):
    write_visium(tmp_path, visium(), genes=["TBCE", "TBCE", *(f"G{k}" for k in range(18))])
    found = sections.read("spaceranger", tmp_path, "A1", patients={"A1": "P"})
    assert list(found.var_names[:3]) == ["TBCE", "TBCE-1", "G0"]


def test_the_same_array_in_an_h5ad_file_is_known_as_visium(tmp_path):
    spots = visium().set_index("barcode")
    made = AnnData(X=sparse.csr_matrix(np.ones((len(spots), 5))), obs=spots[["in_tissue", "array_row", "array_col"]])
    made.obsm["spatial"] = spots[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    made.write_h5ad(tmp_path / "S1.h5ad")
    with pytest.warns(UserWarning, match="S1: no patient is known, it counts as one of its own"):
        found = sections.read("h5ad", tmp_path, "S1")
    assert found.uns["mpp"] == pytest.approx(0.5)
    assert found.uns["pitch_um"] == 100
    assert found.obs["patient"].unique().tolist() == ["S1?"]


def test_spots_without_an_array_are_placed_by_their_pixels(tmp_path):
    made = AnnData(X=np.ones((3, 4)), obs=pd.DataFrame(index=["a", "b", "c"]))
    made.obsm["spatial"] = np.array([[0, 0], [200, 0], [0, 400.0]])
    made.write_h5ad(tmp_path / "S1.h5ad")
    options = {"patients": {"S1": "P"}, "spot_um": 55, "pitch_um": 100}
    with pytest.raises(ValueError, match="S1: neither spots nor image give a pixel size; set mpp"):
        sections.read("h5ad", tmp_path, "S1", **options)
    found = sections.read("h5ad", tmp_path, "S1", 0.5, **options)
    np.testing.assert_allclose(found.obsm[schema.LATTICE], [[0, 0], [1, 0], [0, 2]])


def test_what_the_files_do_not_say_stays_unknown(truth, tmp_path):
    writers.plain(truth, tmp_path, "A1")
    raw = layouts.h5ad(tmp_path, "A1")
    assert (raw.patient, raw.image.name, raw.nuclei_file, raw.n_spots_dropped) == ("A", "A1.tif", None, 0)
    assert np.isnan([raw.spot_um, raw.pitch_um, raw.mpp_estimated]).all()
    assert not raw.spots.uns
    with pytest.raises(ValueError, match="section A1: its files do not say spot_um; give it in the config"):
        sections.read("h5ad", tmp_path, "A1")


def test_an_option_that_a_layout_does_not_know_is_refused(tmp_path):
    with pytest.raises(ValueError, match="layout her2st has no counts_layer; leave it out"):
        sections.read("her2st", tmp_path, "A1", counts_layer="raw")


def test_each_layout_is_read_by_one_function():
    # A staggered array cannot hold the section that the others do.
    assert set(layouts.LAYOUTS) == {kind.split()[0] for kind in WRITERS} | {"stutility"}


# --- the her2st tree, as people write it ---


def spoil_spots(root, change):
    path = root / "data/ST-spotfiles/A1_selection.tsv"
    change(pd.read_csv(path, sep="\t")).to_csv(path, sep="\t", index=False)


def spoil_counts(root, **how):
    path = root / "data/ST-cnts/A1.tsv.gz"
    change = how.pop("change", lambda table: table)
    change(pd.read_csv(path, sep="\t", index_col=0)).to_csv(path, **{"sep": "\t"} | how)


@pytest.mark.parametrize(
    "how",
    [{"sep": ","}, {"quoting": 2}, {"lineterminator": "\r\n"}, {"change": lambda t: t.astype(float)}, {"sep": ";"}],
    ids=["commas", "quotes", "Windows", "floats", "semicolons"],
)
def test_counts_are_read_however_they_are_written(truth, tmp_path, how):
    write_her2st(truth, tmp_path)
    spoil_counts(tmp_path, **how)
    found = layouts.her2st(tmp_path, "A1").spots
    assert list(found.var_names) == list(truth.var_names) and list(found.obs_names) == list(truth.obs_names)
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), truth.layers[schema.COUNTS].toarray())


def test_spots_that_were_not_selected_are_left_out(truth, tmp_path):
    write_her2st(truth, tmp_path)
    spoil_spots(tmp_path, lambda t: t.assign(selected=[0, 0, *[1] * (len(t) - 2)]))
    raw = layouts.her2st(tmp_path, "A1")
    assert list(raw.spots.obs_names) == list(truth.obs_names[2:]) and raw.n_spots_dropped == 2
    spoil_spots(tmp_path, lambda t: t.assign(selected=0))
    with pytest.raises(ValueError, match="A1_selection.tsv: selected is 0 for all"):
        layouts.her2st(tmp_path, "A1")


def test_spots_of_another_section_are_refused_though_most_names_agree(truth, tmp_path):
    write_her2st(truth, tmp_path)
    spoil_spots(tmp_path, lambda t: t.assign(x=t["x"] + (t["x"] < t["x"].median()) * 50))
    with pytest.raises(ValueError, match=r"A1.tsv.gz and .*A1_selection.tsv have \d+ spots in common"):
        layouts.her2st(tmp_path, "A1")


def test_counters_of_htseq_are_no_genes(truth, tmp_path):
    write_her2st(truth, tmp_path)
    spoil_counts(tmp_path, change=lambda table: table.assign(__no_feature=1000, **{"__ambiguous[A+B]": 5}))
    with pytest.warns(UserWarning, match=r"__no_feature, __ambiguous\[A\+B\] of HTSeq are no genes"):
        found = layouts.her2st(tmp_path, "A1").spots
    assert list(found.var_names) == list(truth.var_names)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda t: pd.concat([t, t.sum().to_frame("Total").T]), "row 'Total'"),
        (lambda t: t.assign(total=t.sum(axis=1)), "column 'total'"),
    ],
)
def test_a_sum_among_the_counts_is_refused(truth, tmp_path, change, what):
    write_her2st(truth, tmp_path)
    spoil_counts(tmp_path, change=change)
    with pytest.raises(ValueError, match=f"A1.tsv.gz: {what} is the sum of all others; take it out"):
        layouts.her2st(tmp_path, "A1")


def test_genes_named_by_id_are_refused_at_every_door(truth, tmp_path):
    truth = truth.copy()
    truth.var_names = [f"ENSG{k:011d}.2" for k in range(truth.n_vars)]
    for kind in ("her2st", "spaceranger", "h5ad", "hest by id"):
        options = WRITERS[kind](truth, tmp_path)
        with pytest.raises(ValueError, match=r"genes are named by id, ENSG00000000000\.2; give gene_names"):
            sections.read(kind.split()[0], tmp_path, "A1", **options)


@pytest.fixture
def by_id(truth, tmp_path):
    """A tree whose counts name genes by id, and a table of the symbols of all but the last."""
    named = truth.copy()
    named.var_names = [f"ENSG{k:011d}.2" for k in range(truth.n_vars)]
    write_her2st(named, tmp_path)
    table = pd.DataFrame({"id": named.var_names.str.removesuffix(".2"), "symbol": truth.var_names})
    table[:-1].to_csv(tmp_path / "symbols.csv", index=False)
    return tmp_path


def test_a_table_of_symbols_names_genes_that_counts_name_by_id(truth, by_id):
    found = sections.read("her2st", by_id, "A1", gene_symbols=str(by_id / "symbols.csv"))
    assert list(found.var_names[:-1]) == list(truth.var_names[:-1])
    assert found.var_names[-1] == f"ENSG{truth.n_vars - 1:011d}.2"  # of which the table knows nothing


def test_a_table_of_other_genes_or_columns_is_refused(by_id):
    other = by_id / "other.csv"
    other.write_text("id,symbol\nENSMUSG00000000001,Gnai3\n")
    with pytest.raises(ValueError, match="other.csv: holds 0 of 120 genes"):
        layouts.her2st(by_id, "A1", str(other))
    other.write_text("gene,name\nENSG00000000001,A\n")
    with pytest.raises(ValueError, match="other.csv: no column id or symbol; it has gene, name"):
        layouts.her2st(by_id, "A1", str(other))
    with pytest.raises(FileNotFoundError, match="none.csv: no such table"):
        layouts.her2st(by_id, "A1", str(by_id / "none.csv"))


# --- arrays with staggered rows ---


def write_stutility(root, x_step=21.6, y_step=24.0):
    """Spots of a staggered array, all but the first selected, with counts of three genes."""
    spots = pd.DataFrame([(x, y) for x in range(1, 9) for y in range(1, 9) if (x + y) % 2 == 0], columns=["x", "y"])
    spots = spots.assign(new_x=spots["x"], new_y=spots["y"], pixel_x=50 + x_step * spots["x"])
    spots = spots.assign(pixel_y=40 + y_step * spots["y"], selected=(spots.index > 0).astype(int))
    spots.to_csv(root / "alignment_table_S1.tsv", sep="\t", index=False)
    counts = pd.DataFrame(np.arange(3 * len(spots)).reshape(-1, 3) % 7, columns=["Gnas", "Penk", "Th"])
    counts.index = spots["x"].astype(str) + "x" + spots["y"].astype(str)
    counts.to_csv(root / "S1.tsv.gz", sep="\t")
    return spots, counts


def test_nearest_spots_of_a_staggered_array_are_one_pitch_apart_and_give_the_pixel_size(tmp_path):
    spots, counts = write_stutility(tmp_path)
    found = sections.read("stutility", tmp_path, "S1")
    assert list(found.obs_names) == list(counts.index[1:]) and found.uns["n_spots_dropped"] == 1
    np.testing.assert_array_equal(found.layers[schema.COUNTS].toarray(), counts.to_numpy()[1:])
    distances = np.linalg.norm(found.obsm[schema.LATTICE][:, None] - found.obsm[schema.LATTICE], axis=2)
    np.testing.assert_allclose(np.where(distances == 0, 9, distances).min(axis=1), 1)
    assert found.uns["mpp"] == pytest.approx(layouts.STAGGERED_PITCH_UM / np.hypot(21.6, 24.0), rel=1e-3)


# --- patients ---


def write_patients(root, patients):
    """A section of HEST for each id, with the patient and the study that its metadata name."""
    for name, (patient, study) in patients.items():
        (root / "metadata").mkdir(exist_ok=True, parents=True)
        about = {"patient": patient, "dataset_title": study, "spot_diameter": 100, "inter_spot_dist": 200}
        (root / "metadata" / f"{name}.json").write_text(json.dumps(about))


def test_a_patient_is_local_to_its_study_and_one_but_for_spelling(tmp_path):
    patients = {
        "S1": ("Patient 1", "One"),
        "S2": ("patient  1", "One"),
        "S3": ("Patient 1", "Two"),
        "S4": ("Patient 2", "Two"),
        "S5": (float("nan"), "One"),
        "S6": ("  ", "One"),
    }
    write_patients(tmp_path, patients)
    read = {name: json.loads((tmp_path / f"metadata/{name}.json").read_text()) for name in patients}
    found = [layouts._hest_patient(tmp_path, metadata) for metadata in read.values()]
    assert found == ["1 of One", "1 of One", "1 of Two", "2", "", ""]


@pytest.mark.parametrize("missing", [None, np.nan, "", " ", "nan", "None", "NA", "unknown"])
def test_a_missing_patient_is_one_of_its_own(truth, tmp_path, missing):
    write_h5ad(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"] = pd.Categorical([missing] * made.n_obs)
    made.write_h5ad(tmp_path / "A1.h5ad")
    with pytest.warns(UserWarning, match="A1: no patient is known"):
        found = sections.read("h5ad", tmp_path, "A1", **ST)
    assert found.obs["patient"].unique().tolist() == ["A1?"]


def test_patients_of_the_config_merge_as_it_says_whatever_their_letters(truth, tmp_path):
    write_h5ad(truth, tmp_path)
    for patients, name in (({"B1": "P 1", "A1": "p  1"}, "P 1"), ({"A1": "nan"}, "A1?")):
        found = sections.read("h5ad", tmp_path, "A1", **ST, patients=patients)
        assert found.obs["patient"].unique().tolist() == [name]


def test_spots_of_several_patients_are_warned_of(truth, tmp_path):
    write_h5ad(truth, tmp_path)
    made = anndata.read_h5ad(tmp_path / "A1.h5ad")
    made.obs["patient"] = ["P1"] * 5 + ["P2"] * (made.n_obs - 5)
    made.write_h5ad(tmp_path / "A1.h5ad")
    with pytest.warns(UserWarning, match="A1.h5ad: spots of 2 patients, P1, P2"):
        assert layouts.h5ad(tmp_path, "A1").patient == ""


# --- real files of other organs ---


def test_the_olfactory_bulb_is_read_with_symbols_and_its_selected_spots(mob_root):
    table = str(Path(__file__).parents[2] / "data/mob_genes.csv")
    found = sections.read("stutility", mob_root, "MOB1", gene_symbols=table, embedded=images.embedded_mpp)
    assert found.shape == (379, 1000)
    assert {"mt-Co1", "Penk", "Pcp4"} <= set(found.var_names)
    assert found.var_names.str.startswith("ENSMUSG").sum() == 4  # of which the table knows no symbol
    assert found.uns["mpp"] == pytest.approx(4.36, abs=0.01) and found.uns["mpp_source"] == "lattice"
    assert spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1).max() == 8  # four near, four across


def test_a_real_section_of_space_ranger_is_read_from_one_folder(placenta_root):
    with pytest.warns(UserWarning, match=r"pixel size 4\.667 um \(lattice\) but 4\.344 um \(estimated\)"):
        found = sections.read("spaceranger", placenta_root.parent, placenta_root.name)
    assert found.shape == (2898, 19465)
    assert (found.uns["spot_um"], found.uns["pitch_um"]) == (55, 100)
    assert spatial.neighbours(found.obsm[schema.LATTICE]).sum(axis=1).max() == 6
