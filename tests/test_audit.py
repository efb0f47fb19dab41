"""An audit tells a model that knows composition from one that knows only how many molecules a spot holds."""

import json

import numpy as np
import pandas as pd
import pytest
import typer
from anndata import AnnData
from PIL import Image
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from helpers import audit, inference, normalization, schema, simulate

SIDE, GENES = 14, [f"G{i}" for i in range(60)]
XY = np.stack(np.meshgrid(range(SIDE), range(SIDE)), axis=-1).reshape(-1, 2).astype(float)
SPOTS = [f"{x:.0f}x{y:.0f}" for x, y in XY]


def truth(seed):
    """Nuclei of a spot, and expected composition: half of the genes follow a wave, half the opposite one."""
    rng = np.random.default_rng(seed)
    nuclei = np.round(12 + 8 * np.sin(XY[:, 0] / 2 + seed) + rng.normal(0, 1, len(XY))).clip(1)
    wave = np.exp(np.outer(np.cos(XY[:, 1] / 2 - seed), np.repeat([0.5, -0.5], 30)))
    composition = wave * rng.lognormal(0, 0.3, 60)
    return nuclei, composition / composition.sum(axis=1, keepdims=True)


def section(seed, patient=""):
    nuclei, composition = truth(seed)
    counts = np.random.default_rng(seed + 100).poisson(nuclei[:, None] * 60 * composition)
    made = AnnData(obs=pd.DataFrame(index=SPOTS), var=pd.DataFrame(index=GENES))
    made.layers[schema.COUNTS] = csr_matrix(counts.astype(np.float32))
    made.obsm[schema.SPATIAL] = XY * 290
    made.obs["n_nuclei"] = nuclei
    made.uns["patient"] = patient
    return made


def table(values):
    return pd.DataFrame(values, SPOTS, GENES)


def knows_depth_alone(seed):
    nuclei, _ = truth(seed)
    return table(np.log2(1 + np.outer(nuclei * 60, np.full(60, 1 / 60))))


def knows_composition_alone(seed):
    return table(np.log1p(1e4 * truth(seed)[1]))


@pytest.fixture(scope="module")
def cohort():
    return {f"S{seed}": section(seed) for seed in range(3)}


def raised(report):
    return {flag["flag"]: flag["raised"] for flag in report["flags"]}


def assess(cohort, model, space, **more):
    predicted = {name: model(int(name[1:])) for name in cohort}
    return audit.assess(cohort, predicted, space, n_draws=49, n_splits=1, **more)


def test_a_model_that_knows_depth_alone_is_flagged(cohort):
    report = assess(cohort, knows_depth_alone, "log2")
    flags, summary = raised(report), report["summary"]
    assert flags["beaten by one number per spot"] and flags["skill on the depth-only twin"]
    assert summary["twin"] > 0.5 and abs(summary["given_both"]) < 0.2
    without_depth = report["scores"].query("space == 'pearson_residual' and k == 50")
    # A prediction of depth alone is constant once depth is divided out: it may have no score at all.
    assert not (without_depth["pcc"] > without_depth["chance_95"] + 0.05).any()


def test_a_score_that_does_not_exist_is_said_to_be_undefined(cohort):
    summary = assess(cohort, knows_depth_alone, "log2")["summary"] | {"residual_pcc": np.nan}
    assert "undefined (constant) in that of Pearson residuals" in audit.sentence(summary)


def test_a_model_that_knows_composition_alone_is_not(cohort):
    report = assess(cohort, knows_composition_alone, "log1p_cp10k")
    flags = raised(report)
    assert not flags["beaten by one number per spot"]
    assert not flags["skill on the depth-only twin"] and not flags["no better than chance"]
    assert report["summary"]["given_both"] > 0.5


def test_noise_is_no_better_than_chance(cohort):
    report = assess(cohort, lambda seed: table(np.random.default_rng(seed).normal(5, 1, (len(SPOTS), 60))), "log2")
    assert raised(report)["no better than chance"]


def test_a_perfect_model_reaches_its_ceiling_and_the_best_k_are_best(cohort):
    scores = assess(cohort, knows_composition_alone, "log1p_cp10k")["scores"]
    own = scores[scores["space"] == "log1p_cp10k"]
    nearly_all = own[own["k"] == 50].mean(numeric_only=True)
    assert nearly_all["pcc"] == pytest.approx(nearly_all["ceiling"], abs=0.05)  # it knows all there is to know
    assert set(own["k"]) == {10, 50}
    assert (own.query("k == 10")["pcc"].to_numpy() >= own.query("k == 50")["pcc"].to_numpy()).all()


@pytest.mark.parametrize(
    ("method", "library", "smoothed"),
    [
        ("log2", "none", False),
        ("log1p_cp10k", "all", False),
        ("log1p_cp10k", "panel", False),
        ("log1p_cp10k", "panel", True),
        ("pearson_residual", "all", False),
    ],
)
def test_what_a_target_is_can_be_told_from_its_values(method, library, smoothed):
    """Also after each gene is z-scored, as models are often trained."""
    made, panel = section(1), GENES[:25]
    part = made[:, panel].copy() if library == "panel" else made
    values = pd.DataFrame(normalization.METHODS[method](part, panel), SPOTS, panel)
    if smoothed:
        around = inference.neighbours(XY) + np.eye(len(XY))
        values = (around / around.sum(1, keepdims=True)) @ values.set_axis(range(len(values)))
        values.index = SPOTS
    first = audit.recognize(made, (values - values.mean()) / values.std(), "S1").iloc[0]
    assert (first["method"], first["library"], first["smoothed"]) == (method, library, smoothed)
    assert first["correlation"] > audit.RECOGNIZED


def test_flags_on_the_target_are_open_where_it_is_not_given(cohort):
    flags = raised(assess(cohort, knows_composition_alone, "log1p_cp10k"))
    assert flags["target smoothed"] is None and flags["library size over the panel only"] is None
    assert flags["panel chosen with the test section"] is None


def test_one_section_is_scored_against_floors_of_its_own_and_tested_by_nothing():
    report = assess({"S1": section(1)}, knows_composition_alone, "log1p_cp10k", panel_chosen_on="training")
    flags = raised(report)
    assert flags["too few patients for a test"] and flags["panel chosen with the test section"] is False
    assert report["floors"]["pcc"].notna().all()


def test_a_trend_across_a_section_on_its_own_is_not_turned_against_its_floor():
    x = np.random.default_rng(0).normal(size=(100, 1))
    y = np.linspace(0, 3, 100)[:, None] + 0.5 * x
    predicted = audit.one_number({"a": x}, {"a": y}, "a")
    assert np.corrcoef(predicted[:, 0], y[:, 0])[0, 1] > 0.3


def test_a_gene_without_counts_leaves_the_score_of_the_others(cohort):
    """A panel of 50, one gene never captured in one section: the score is that of 49."""
    silent = {name: made.copy() for name, made in cohort.items()}
    counts = silent["S0"].layers[schema.COUNTS].tolil()
    counts[:, 0] = 0
    silent["S0"].layers[schema.COUNTS] = counts.tocsr()
    predicted = {name: knows_composition_alone(int(name[1:])).iloc[:, :50] for name in silent}
    report = audit.assess(silent, predicted, "log1p_cp10k", n_draws=19, n_splits=1)
    assert report["scores"]["pcc"].notna().all() and report["scores"]["n_undefined"].max() == 1
    assert "nan" not in audit.sentence(report["summary"])


def test_patients_are_counted_where_they_are_known():
    five = {f"S{i}": section(i, patient="AB"[i % 2]) for i in range(5)}
    flags = raised(assess(five, knows_composition_alone, "log1p_cp10k"))
    assert flags["too few patients for a test"]
    unknown = {f"S{i}": section(i) for i in range(5)}
    assert raised(assess(unknown, knows_composition_alone, "log1p_cp10k"))["too few patients for a test"] is None


def test_a_floor_never_sees_the_spots_it_predicts():
    x, y = np.arange(50.0)[:, None], np.zeros((50, 1))
    y[:10] = 1e6  # only the first block is unlike the rest
    assert np.abs(audit.one_number({"a": x}, {"a": y}, "a")[:10]).max() < 1e-6


def test_without_nuclei_the_depth_floor_remains(cohort):
    blind = {name: made.copy() for name, made in cohort.items()}
    for made in blind.values():
        del made.obs["n_nuclei"]
    report = assess(blind, knows_composition_alone, "log1p_cp10k")
    assert set(report["floors"]["floor"]) == {"depth"} and report["summary"]["nuclei"] is None
    assert "given sequencing depth" in audit.sentence(report["summary"])


def test_genes_that_only_some_sections_have_are_left_out_with_a_word(cohort):
    predicted = {name: knows_composition_alone(int(name[1:])) for name in cohort}
    predicted["S0"] = predicted["S0"].drop(columns="G7")
    report = audit.assess(cohort, predicted, "log1p_cp10k", n_draws=19, n_splits=1)
    assert report["summary"]["n_genes"] == 59
    assert "1 genes are not predicted in every section and are left out" in report["remarks"]


# As a new user would run it -------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path, cohort):
    for folder in ("counts", "pred"):
        (tmp_path / folder).mkdir()
    for name, made in cohort.items():
        plain = AnnData(made.layers[schema.COUNTS], made.obs[[]], made.var[[]], obsm={"spatial": made.obsm["spatial"]})
        plain.write_h5ad(tmp_path / "counts" / f"{name}.h5ad")
        made.obs["n_nuclei"].rename_axis("spot").reset_index().to_csv(tmp_path / f"{name}_nuclei.csv", index=False)
        knows_depth_alone(int(name[1:])).to_csv(tmp_path / "pred" / f"{name}.csv")
    return tmp_path


def run(folder, *more, space="log2"):
    program = typer.Typer()
    program.command()(audit.main)
    patterns = ["--predictions", f"{folder}/pred/{{section}}.csv", "--counts", f"{folder}/counts/{{section}}.h5ad"]
    return CliRunner().invoke(program, [*patterns, "--space", space, "--draws", "19", "--out", f"{folder}/out", *more])


def test_the_report_card_stands_alone(files):
    result = run(files, "--nuclei", f"{files}/{{section}}_nuclei.csv", "--title", "A <new> model")
    assert result.exit_code == 0, result.output
    page = (files / "out/audit.html").read_text()
    assert "A &lt;new&gt; model" in page and "http" not in page.replace("http-equiv", "")
    report = json.loads((files / "out/audit.json").read_text())
    assert report["sentence"] in page.replace("&#x27;", "'") and report["sentence"] in result.output
    assert len(report["scores"]) == 3 * 3 * 2  # sections, spaces, k
    for flag in report["flags"]:
        assert f"id='{flag['flag'].replace(' ', '-')}'" in page


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "pred/S1.csv").unlink() or [], None),
        (lambda folder: knows_depth_alone(1).T.to_csv(folder / "pred/S1.csv") or [], "transpose"),
        (lambda folder: knows_depth_alone(1).iloc[:5].to_csv(folder / "pred/S1.csv") or [], "5 spots match"),
        (lambda folder: ["--space", "tpm"], "unknown space 'tpm'"),
        (lambda folder: ["--nuclei", f"{folder}/none/{{section}}.csv"], "none/S0.csv: no such file"),
        (lambda folder: ["--predictions", f"{folder}/pred"], "say where the section's name stands"),
        (lambda folder: ["--predictions", f"{folder}/nothing/{{section}}.csv"], "no such file"),
        (lambda folder: ["--counts", ""], "give the counts one way"),
    ],
    ids=["fewer sections", "transposed", "few spots", "space", "nuclei", "no pattern", "no predictions", "no counts"],
)
def test_what_cannot_be_audited_is_named_and_leaves_nothing(files, spoil, words):
    result = run(files, *spoil(files))
    if words is None:
        assert result.exit_code == 0 and len(json.loads((files / "out/audit.json").read_text())["scores"]) == 2 * 3 * 2
    else:
        assert result.exit_code == 2 and words in result.stderr and not (files / "out").exists()


def test_spots_that_are_numbers_keep_their_names(files):
    """AnnData's default names, with leading zeros in one file: names, not numbers."""
    table = pd.DataFrame({"spot": [f"{i:03d}" for i in range(30)], "n_nuclei": range(30)})
    made = AnnData(obs=pd.DataFrame(index=table["spot"]))
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        table.to_csv(files / f"n{ending}", sep=separator, index=False)
        audit.add_nuclei(made, files / f"n{ending}")
        assert made.obs["n_nuclei"].tolist() == list(range(30))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """One simulated section as a user may have it: counts in an h5ad, an H&E image, predictions in a CSV."""
    folder = tmp_path_factory.mktemp("drawn")
    made = simulate.section("A1", 3000, simulate.gene_profiles(120), lattice=(6, 6))
    spots = AnnData(csr_matrix(made["counts"].to_numpy(np.float32)), made["truth"], made["counts"].columns.to_frame())
    spots.obsm[schema.SPATIAL] = made["spots"][["pixel_x", "pixel_y"]].to_numpy(float)
    AnnData(spots.X, spots.obs[[]], spots.var[[]], obsm=dict(spots.obsm)).write_h5ad(folder / "A1.h5ad")
    Image.fromarray(made["image"]).save(folder / "A1.png")
    np.log2(made["counts"].set_index(spots.obs_names) + 1).to_csv(folder / "A1.csv")
    return folder, spots


def test_an_image_gives_the_floors_of_nuclei_and_haematoxylin(drawn):
    folder, spots = drawn
    section = audit.read_section(f"{folder}/{{section}}.h5ad", "A1", None, None)
    audit.add_image(section, folder / "A1.png", mpp=0.688, spot_um=100)
    assert np.corrcoef(section.obs["n_nuclei"], spots.obs["n_nuclei_true"])[0, 1] > 0.9
    assert np.corrcoef(section.obs["haematoxylin"], spots.obs["n_nuclei_true"])[0, 1] > 0.7
    counted = section.obs["n_nuclei"] = -section.obs["n_nuclei"]
    audit.add_image(section, folder / "A1.png", mpp=0.688, spot_um=100)
    assert (section.obs["n_nuclei"] == counted).all()  # what the user counted is kept


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--mpp", "0.688"], "--spot-um"), (["--spot-um", "100"], "--mpp"), (["--mpp", "0.688", "--spot-um", "100"], "")],
)
def test_an_image_needs_a_pixel_size_and_a_disc(drawn, tmp_path, more, words):
    folder, _ = drawn
    program = typer.Typer()
    program.command()(audit.main)
    patterns = {"predictions": "csv", "counts": "h5ad", "image": "png"}
    given = [part for name, end in patterns.items() for part in (f"--{name}", f"{folder}/{{section}}.{end}")]
    result = CliRunner().invoke(
        program, [*given, "--space", "log2", "--draws", "19", "--out", f"{tmp_path}/out", *more]
    )
    if words:
        assert result.exit_code == 2 and "A1.png" in result.stderr and words in result.stderr
    else:
        assert result.exit_code == 0, result.output
        floors = json.loads((tmp_path / "out/audit.json").read_text())["floors"]
        assert {row["floor"] for row in floors} == {"nuclei", "haematoxylin", "depth"}


def test_predictions_in_another_space_than_declared_are_remarked_on(files):
    assert run(files, space="pearson_residual").exit_code == 0
    assert "are they logs or counts?" in (files / "out/audit.html").read_text()
