import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from skimage.color import rgb2hed

from helpers.cohort import sections, simulate

MINI = {"A1": 9000, "B1": 3000, "C1": 650}


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("toy")
    assert simulate.write_cohort(root, sections=MINI, seed=1, lattice=(7, 6)) == list(MINI)
    return root


@pytest.fixture(scope="module", params=[1.0, 0.0], ids=["coupled", "uncoupled"])
def counts_only(request, tmp_path_factory) -> tuple[float, Path]:
    root = tmp_path_factory.mktemp("counts")
    simulate.write_cohort(root, coupling=request.param, images=False)
    return request.param, root


def _counts(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / f"data/ST-cnts/{name}.tsv.gz", sep="\t", index_col=0)


def _spots(root: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(root / f"data/ST-spotfiles/{name}_selection.tsv", sep="\t")
    return table.set_index(table["x"].astype(str) + "x" + table["y"].astype(str))


def _truth(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / f"truth/{name}.csv", index_col="spot")


def _rho(table: pd.DataFrame, other: pd.Series) -> pd.Series:
    return table.rank().corrwith(other.rank())


def _residuals(counts: pd.DataFrame) -> pd.DataFrame:
    mu = np.outer(counts.sum(axis=1), counts.sum()) / counts.to_numpy().sum()
    return (counts - mu) / np.sqrt(mu + mu**2 / 100)


def _informative(counts: pd.DataFrame) -> list[str]:
    genes = counts.columns[~counts.columns.str.match("MT-|RPS|RPL")]
    return counts[genes].mean().nlargest(100).index.tolist()


def test_the_reader_of_the_real_cohort_reads_the_toy(mini):
    for k, name in enumerate(MINI):
        section = sections.read("her2st", mini, name)
        assert section.uns["n_spots_dropped"] == k % 3 + k % 2  # missing from the counts, missing from the spot file
        width, height = Image.open(section.uns["image"]).size
        spatial = section.obsm["spatial"]
        radius = 50 / 0.688
        assert (spatial > radius).all() and (spatial + radius < [width, height]).all()
        assert {"ERBB2", "GNAS", "CD74"} <= set(section.var_names)
        assert section.var_names.str.startswith(("MT-", "RPS", "RPL")).sum() > 20


@pytest.mark.parametrize("mpp", [0.5, 0.688])
def test_the_lattice_gives_the_pixel_size(tmp_path, mpp):
    simulate.write_cohort(tmp_path, sections={"A1": 3000}, lattice=(5, 5), mpp=mpp, images=False)
    spots = _spots(tmp_path, "A1")
    for axis in "xy":
        slope, offset = np.polyfit(spots[f"new_{axis}"], spots[f"pixel_{axis}"], 1)
        assert 200 / slope == pytest.approx(mpp, rel=0.005)
        assert spots[f"pixel_{axis}"].to_numpy() == pytest.approx(slope * spots[f"new_{axis}"] + offset, abs=0.02)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for folder, seed in (("one", 3), ("two", 3), ("other", 4)):
        simulate.write_cohort(tmp_path / folder, sections={"A1": 3000}, seed=seed, lattice=(4, 3))
    files = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()]
    assert len(files) == 6
    for file in files:
        bytes_of = {folder: (tmp_path / folder / file).read_bytes() for folder in ("one", "two", "other")}
        assert bytes_of["one"] == bytes_of["two"], file
        assert bytes_of["one"] != bytes_of["other"], file


def test_without_coupling_tissue_image_and_composition_stay_and_only_depth_changes(tmp_path):
    genes = simulate.gene_profiles()
    on, off = (simulate.section("A1", 3000, genes, coupling=c, lattice=(5, 4)) for c in (1.0, 0.0))
    assert np.array_equal(on["image"], off["image"])
    pd.testing.assert_frame_equal(on["nuclei"], off["nuclei"])
    kept = ["n_nuclei_true", *simulate.CELL_TYPES, "ambient", "capture"]
    pd.testing.assert_frame_equal(on["truth"][kept], off["truth"][kept])
    # Uncoupled, expected depth is capture times a constant.
    ratio = off["truth"]["expected_depth"] / off["truth"]["capture"]
    assert ratio.std() / ratio.mean() < 1e-4
    assert (on["truth"]["expected_depth"] / on["truth"]["capture"]).std() > 0.2 * ratio.mean()


def test_depth_follows_nuclei_only_when_coupled(counts_only):
    coupling, root = counts_only
    for name in simulate.SECTIONS:
        counts = _counts(root, name)
        rho = spearmanr(counts.sum(axis=1), _truth(root, name).loc[counts.index, "n_nuclei_true"]).statistic
        assert 0.4 < rho < 0.8 if coupling else abs(rho) < 0.2, name


def test_log_keeps_the_nuclei_and_pearson_residuals_lose_them(counts_only):
    """The thesis on known truth: the median over genes of |rho| with nuclei, in log space and in residual space."""
    coupling, root = counts_only
    for name in simulate.SECTIONS:
        counts = _counts(root, name)
        counts = counts[counts.sum(axis=1) > 0]
        genes, nuclei = _informative(counts), _truth(root, name).loc[counts.index, "n_nuclei_true"]
        log = _rho(np.log2(counts[genes] + 1), nuclei).abs().median()
        residual = _rho(_residuals(counts)[genes], nuclei).abs().median()
        assert residual < 0.2, name  # under independence the median of |rho| over 125 spots is 0.06
        if coupling:
            assert log > 0.35 and log > 3 * residual, name
        else:
            assert log < 0.2, name


def test_residuals_keep_the_composition(counts_only):
    _, root = counts_only
    for name in simulate.SECTIONS:
        counts = _counts(root, name)
        counts = counts[counts.sum(axis=1) > 0]
        residuals, truth = _residuals(counts), _truth(root, name).loc[counts.index]
        for gene, cell_type in simulate.MARKERS.items():
            assert spearmanr(residuals[gene], truth[cell_type]).statistic > 0.45, (name, gene)


def test_depths_are_unlike_and_one_spot_of_the_last_section_is_empty(counts_only):
    _, root = counts_only
    totals = {name: _counts(root, name).sum(axis=1) for name in simulate.SECTIONS}
    for name, depth in simulate.SECTIONS.items():
        assert totals[name].median() == pytest.approx(depth, rel=0.1)
        assert (totals[name] == 0).sum() == (name == "C2")
        assert 110 <= len(totals[name]) <= 150
    empty = totals["C2"].idxmin()
    assert _truth(root, "C2").loc[empty, ["capture", "expected_depth"]].tolist() == [0, 0]


def test_counts_scatter_as_a_negative_binomial():
    """For genes that tell nothing of the tissue: var = mu + mu^2 phi, with mu from the true depth."""
    genes = simulate.gene_profiles()
    made = simulate.section("A1", 50_000, genes, image=False)
    flat = [gene for gene in genes.index if gene.startswith(("MT-", "RPS", "RPL"))]
    counts = made["counts"][flat].to_numpy()
    depth = made["truth"]["expected_depth"].to_numpy()
    mu = np.outer(depth, counts.sum(axis=0)) / depth.sum()
    phi = (((counts - mu) ** 2 - mu) / mu**2).mean()
    assert phi == pytest.approx(simulate.OVERDISPERSION, rel=0.25)


def test_truth_covers_the_spots_of_both_files(mini):
    for name in MINI:
        counts, spots, truth = _counts(mini, name), _spots(mini, name), _truth(mini, name)
        assert set(counts.index) | set(spots.index) == set(truth.index)
        assert truth[[*simulate.CELL_TYPES, "ambient"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
        joined = truth.loc[counts.index]
        assert spearmanr(joined["expected_depth"], counts.sum(axis=1)).statistic > 0.95
        assert counts.to_numpy().sum() == pytest.approx(joined["expected_depth"].sum(), rel=0.05)
        assert set(counts.columns) <= set(pd.read_csv(mini / "truth/genes.csv", index_col="gene").index)


def test_true_nuclei_are_those_whose_centre_lies_in_the_disc(mini):
    for name in MINI:
        nuclei, spots = pd.read_csv(mini / f"truth/{name}_nuclei.csv"), _spots(mini, name)
        distance_um = 0.688 * cdist(spots[["pixel_x", "pixel_y"]], nuclei[["x", "y"]])
        assert (distance_um <= 50).sum(axis=1).tolist() == _truth(mini, name).loc[spots.index, "n_nuclei_true"].tolist()


def test_nuclei_keep_a_distance_and_differ_by_type(mini):
    nuclei = pd.read_csv(mini / "truth/A1_nuclei.csv")
    centres = 0.688 * nuclei[["x", "y"]].to_numpy()
    radius = np.sqrt(nuclei["area_um2"].to_numpy() / np.pi)
    one, other = cKDTree(centres).query_pairs(15, output_type="ndarray").T
    assert len(one) > len(nuclei)
    apart = np.linalg.norm(centres[one] - centres[other], axis=1)
    assert (apart > 0.85 * (radius[one] + radius[other]) - 0.02).all()
    area = nuclei.groupby("cell_type")["area_um2"].median()
    assert area["tumour"] > area["stroma"] > area["immune"]


def test_haematoxylin_marks_the_nuclei(mini):
    image = np.asarray(Image.open(mini / "data/ST-imgs/A/A1/toy_HE_A1.jpg"))
    nuclei = pd.read_csv(mini / "truth/A1_nuclei.csv").round().astype({"x": int, "y": int})
    haematoxylin = rgb2hed(image)[..., 0]
    inside = haematoxylin[nuclei["y"], nuclei["x"]]
    elsewhere = np.random.default_rng(0).choice(haematoxylin.ravel(), 5000)
    assert np.quantile(inside, 0.05) > np.quantile(elsewhere, 0.75)
    assert np.median(image[:5, :5]) > 215  # a corner is bare glass


def test_profiles_are_shares_and_markers_peak_in_their_type():
    genes = simulate.gene_profiles()
    types = list(simulate.CELL_TYPES)
    assert genes[types].sum().to_numpy() == pytest.approx(1)
    marked = genes[genes["marker"] != ""]
    assert (marked[types].idxmax(axis=1) == marked["marker"]).all()
    # Nothing but markers differs between types, so composition leaves the other genes alone.
    plain = genes.loc[genes["marker"] == "", types]
    assert plain.sub(plain["tumour"], axis=0).abs().to_numpy().max() < 1e-12
    share = genes["tumour"].nlargest(60).sum()
    assert 0.3 < share < 0.8  # heavy-tailed: a tenth of the genes holds much of the RNA


def test_count_files_have_no_time_stamp(mini):
    with (mini / "data/ST-cnts/A1.tsv.gz").open("rb") as file:
        assert file.read(8)[4:] == bytes(4)
    with gzip.open(mini / "data/ST-cnts/A1.tsv.gz", "rt") as file:
        assert file.readline().startswith("\tERBB2\tGNAS\tCD74\t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sections": {"../A1": 900}}, "../A1"),
        ({"sections": {}}, "at least one"),
        ({"sections": {"A1": 0}}, "median depth"),
        ({"coupling": 1.5}, "coupling"),
        ({"lattice": (2, 9)}, "lattice"),
        ({"n_genes": 50}, "n_genes"),
        ({"mpp": 0.0}, "mpp"),
    ],
)
def test_values_out_of_range_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        simulate.write_cohort(tmp_path / "toy", **arguments)
    assert not (tmp_path / "toy").exists()
