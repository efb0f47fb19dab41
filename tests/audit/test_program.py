"""Twin of helpers/audit/program.py."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import typer
from anndata import AnnData
from PIL import Image
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from helpers import schema
from helpers.audit import predictions
from helpers.audit.flags import FLAGS
from helpers.audit.program import (
    add_cellularity,
    add_image,
    add_nuclei,
    as_the_book,
    doubts,
    main,
    named_by,
    pixel_size,
    read_section,
)
from helpers.cohort import simulate

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


@pytest.fixture(scope="module")
def cohort():
    return {f"S{seed}": section(seed) for seed in range(3)}


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
    program.command()(main)
    patterns = ["--predictions", f"{folder}/pred/{{section}}.csv", "--counts", f"{folder}/counts/{{section}}.h5ad"]
    return CliRunner().invoke(program, [*patterns, "--space", space, "--draws", "19", "--out", f"{folder}/out", *more])


def test_the_report_card_stands_alone(files):
    result = run(files, "--nuclei", f"{files}/{{section}}_nuclei.csv", "--title", "A <new> model")
    assert result.exit_code == 0, result.output
    page = (files / "out/audit.html").read_text()
    assert "A &lt;new&gt; model" in page and "http" not in page.replace("http-equiv", "")
    report = json.loads((files / "out/audit.json").read_text())
    assert report["sentence"] in page.replace("&#39;", "'") and report["sentence"] in result.output
    assert len(report["scores"]) == 3 * 3 * 2  # sections, spaces, k
    assert [list(flag) for flag in report["flags"]] == [["id", "raised", "says"]] * len(FLAGS)
    for flag in report["flags"]:
        assert f'id="{flag["id"]}"' in page
        assert flag["raised"] is not True or flag["says"] in result.output
    for skill in ("library_skill", "composition_skill"):
        assert {skill, f"{skill}_chance_95"} <= set(report["summary"])


EXTRAS = ["torch", "tiatoolbox", "scanpy", "skimage", "sklearn", "pyarrow", "jsonschema", "tifffile", "tqdm"]
ALONE = f"""
import sys

class NotInstalled:
    def find_spec(name, *_):
        if name.partition(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name}}")

sys.meta_path.insert(0, NotInstalled)
from helpers.__main__ import program
program()
"""


def run_alone(folder, *more):
    """The program where nothing is installed but what the audit itself needs."""
    patterns = ["--predictions", f"{folder}/pred/{{section}}.csv", "--counts", f"{folder}/counts/{{section}}.h5ad"]
    command = [sys.executable, "-c", ALONE, "audit", *patterns, "--space", "log2", "--draws", "19"]
    return subprocess.run([*command, "--out", f"{folder}/out", *more], capture_output=True, text=True, check=False)


def test_the_audit_does_without_the_book(files):
    done = run_alone(files, "--nuclei", f"{files}/{{section}}_nuclei.csv")
    assert done.returncode == 0, done.stderr
    assert (files / "out/audit.html").is_file() and "nuclei alone" in (files / "out/audit.html").read_text()


def test_what_the_audit_alone_cannot_read_says_what_to_install(files):
    for name in ("S0", "S1", "S2"):
        Image.new("RGB", (14 * 290, 14 * 290)).save(files / f"{name}.png")
    done = run_alone(files, "--image", f"{files}/{{section}}.png", "--mpp", "0.5", "--spot-um", "100")
    assert done.returncode == 2 and "pip install -e '.[book]'" in done.stderr and not (files / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "pred/S1.csv").unlink() or [], None),
        (lambda folder: knows_depth_alone(1).T.to_csv(folder / "pred/S1.csv") or [], "transpose"),
        (lambda folder: knows_depth_alone(1).iloc[:5].to_csv(folder / "pred/S1.csv") or [], "5 spots; at least 20"),
        (lambda folder: ["--space", "tpm"], "unknown space 'tpm'"),
        (lambda folder: ["--nuclei", f"{folder}/none/{{section}}.csv"], "none/S0.csv: no such file"),
        (lambda folder: ["--predictions", f"{folder}/pred"], "say where the section's name stands"),
        (lambda folder: ["--predictions", f"{folder}/nothing/{{section}}.csv"], "no such file"),
        (lambda folder: ["--counts", ""], "give the counts one way"),
        (lambda folder: ["--nuclei", f"{folder}/{{section:>10}}.csv"], "{section} alone stands in braces"),
        (lambda folder: ["--counts", f"{folder}/{{section.__class__}}.h5ad"], "{section} alone stands in braces"),
        (lambda folder: ["--nuclei", f"{folder}/S0_nuclei.csv"], "one file for 3 sections"),
        (lambda folder: ["--image", f"{folder}/{{section}}.png"], "S0.png: no such file"),
        (lambda folder: (folder / "pred/<b>.csv").touch() or [], "section '<b>' holds '<b'"),
        (lambda folder: (folder / "counts/S1.h5ad").unlink() or [], "S1.h5ad: no such file of counts; check --counts"),
    ],
    ids=[
        *("fewer sections", "transposed", "few spots", "space", "nuclei", "no pattern", "no predictions", "no counts"),
        *("width", "field", "one file", "no image", "HTML", "a section without counts"),
    ],
)
def test_what_cannot_be_audited_is_named_and_leaves_nothing(files, spoil, words):
    result = run(files, *spoil(files))
    if words is None:
        assert result.exit_code == 0 and len(json.loads((files / "out/audit.json").read_text())["scores"]) == 2 * 3 * 2
    else:
        assert result.exit_code == 2 and words in result.stderr and not (files / "out").exists()


@pytest.mark.parametrize("option", [["--draws", "0"], ["--mpp", "-1"], ["--mpp", "inf"], ["--spot-um", "0"]])
def test_options_out_of_range_are_refused(tmp_path, option):
    """Of predictions that are not there: nothing was looked for."""
    result = run(tmp_path, *option)
    assert result.exit_code == 2 and f"Invalid value for '{option[0]}'" in result.stderr


@pytest.mark.parametrize("out", ["pred/S0.csv", "pred/S0.csv/out", "taken", "broken"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_read(files, monkeypatch, out):
    (files / "taken/audit.html").mkdir(parents=True)
    (files / "broken").symlink_to(files / "nowhere")
    monkeypatch.setattr(predictions, "read", None)
    result = run(files, "--out", f"{files}/{out}")
    assert result.exit_code == 2 and f"--out {files}/{out}: " in result.stderr and "name another" in result.stderr


def test_what_is_not_a_pattern_is_taken_as_it_is_written(tmp_path):
    for name in ("a[1]S0.csv", "a1S0.csv", "a[1].csv"):
        (tmp_path / name).touch()
    assert named_by(f"{tmp_path}/a[1]{{section}}.csv") == {"S0": tmp_path / "a[1]S0.csv"}


def test_spots_of_few_counts_are_left_out_and_remarked_on(files, cohort):
    depth = {name: np.asarray(section.layers[schema.COUNTS].sum(axis=1)).ravel() for name, section in cohort.items()}
    least = int(np.median(np.concatenate(list(depth.values()))))
    result = run(files, "--min-spot-counts", str(least))
    assert result.exit_code == 0, result.output
    remarks = json.loads((files / "out/audit.json").read_text())["remarks"]
    for name, total in depth.items():
        assert f"section {name}: {(total < least).sum()} spots of fewer than {least} counts are left out" in remarks
    refused = run(files, "--min-spot-counts", "1000000")
    assert refused.exit_code == 2 and "lower --min-spot-counts" in refused.stderr


def test_spots_that_are_numbers_keep_their_names(files):
    """AnnData's default names, with leading zeros in one file: names, not numbers."""
    table = pd.DataFrame({"spot": [f"{i:03d}" for i in range(30)], "n_nuclei": range(30)})
    made = AnnData(obs=pd.DataFrame(index=table["spot"]))
    for ending, separator in ((".csv", ","), (".tsv", "\t")):
        table.to_csv(files / f"n{ending}", sep=separator, index=False)
        add_nuclei(made, files / f"n{ending}")
        assert made.obs["n_nuclei"].tolist() == list(range(30))


@pytest.mark.parametrize("held", ["", "many", "-1", "inf"])
def test_a_spot_without_a_number_of_nuclei_is_named(tmp_path, held):
    (tmp_path / "n.csv").write_text(f"spot,n_nuclei\na,3\nb,{held}\n")
    with pytest.raises(ValueError, match="n.csv: n_nuclei of spot b is .*; write a number from 0"):
        add_nuclei(AnnData(obs=pd.DataFrame(index=["a", "b"])), tmp_path / "n.csv")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("spot,n_nuclei\na,0\nb,0\n", "n.csv: n_nuclei is 0 in every spot; correct it"),
        ("n_nuclei\n3\n4\n", "n.csv: no column n_nuclei; it has none beside the spots, which stand in the first"),
        ("spot,cells\na,3\nb,4\n", "n.csv: no column n_nuclei; it has cells beside the spots"),
    ],
    ids=["constant", "no spots", "another name"],
)
def test_a_table_that_says_nothing_of_nuclei_is_refused(tmp_path, table, says):
    (tmp_path / "n.csv").write_text(table)
    with pytest.raises(ValueError, match=says):
        add_nuclei(AnnData(obs=pd.DataFrame(index=["a", "b"])), tmp_path / "n.csv")


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
    section = read_section(f"{folder}/{{section}}.h5ad", "A1", None, None)
    add_image(section, folder / "A1.png", mpp=0.688, spot_um=100)
    assert np.corrcoef(section.obs["n_nuclei"], spots.obs["n_nuclei_true"])[0, 1] > 0.9
    assert np.corrcoef(section.obs["haematoxylin"], spots.obs["n_nuclei_true"])[0, 1] > 0.7
    counted = section.obs["n_nuclei"] = -section.obs["n_nuclei"]
    add_image(section, folder / "A1.png", mpp=0.688, spot_um=100)
    assert (section.obs["n_nuclei"] == counted).all()  # what the user counted is kept


def test_the_pixel_size_given_is_compared_with_what_lattice_and_section_say(drawn, tmp_path):
    folder, spots = drawn
    section = AnnData(obs=spots.obs[[]], obsm={schema.SPATIAL: spots.obsm[schema.SPATIAL]})
    section.uns |= {"section": "A1", "pitch_um": 200.0}
    assert pixel_size(section, folder / "A1.png", None) is None
    section.obsm[schema.LATTICE] = spots.obsm[schema.SPATIAL] * 0.688 / 200
    assert pixel_size(section, folder / "A1.png", None) == pytest.approx(0.688)
    with pytest.warns(UserWarning, match=r"A1: pixel size 0\.500 um \(user\) but 0\.688 um \(lattice\)"):
        assert pixel_size(section, folder / "A1.png", 0.5) == 0.5
    section.uns["mpp"] = 0.7
    assert pixel_size(section, folder / "A1.png", None) == 0.7


def test_where_nuclei_cannot_be_told_the_stain_measures_cellularity(drawn, tmp_path):
    folder, spots = drawn
    section = read_section(f"{folder}/{{section}}.h5ad", "A1", None, None)
    with Image.open(folder / "A1.png") as image:
        image.resize((image.width // 5, image.height // 5), Image.Resampling.BOX).save(tmp_path / "coarse.png")
    section.obsm[schema.SPATIAL] = section.obsm[schema.SPATIAL] / 5
    said = add_image(section, tmp_path / "coarse.png", mpp=3.44, spot_um=100)
    assert said.startswith("in pixels of 3.44 um nuclei are not counted: the mean haematoxylin")
    assert schema.measure(section.obs) == "haematoxylin"
    assert np.corrcoef(section.obs["haematoxylin"], spots.obs["n_nuclei_true"])[0, 1] > 0.7


def test_cells_are_known_as_the_config_of_the_cohort_says(drawn, tmp_path):
    folder, _ = drawn
    sections = [read_section(f"{folder}/{{section}}.h5ad", "A1", None, None) for _ in range(2)]
    for section in sections:
        section.uns["section"] = "A1"
    files = {"nuclei": "", "image": folder / "A1.png"}
    said = add_cellularity(sections[0], files, {"nuclei": {"back_end": "haematoxylin"}}, 0.688, 100)
    assert said.startswith("the config asks for the stain") and "n_nuclei" not in sections[0].obs
    counted = pd.DataFrame({"spot": sections[1].obs_names, "n_nuclei": range(sections[1].n_obs)})
    counted.to_csv(tmp_path / "n_A1.csv", index=False)
    table = {"back_end": "table", "table": f"{tmp_path}/n_{{section}}.csv"}
    assert add_cellularity(sections[1], files, {"nuclei": table}, 0.688, 100) == ""
    assert (sections[1].obs["n_nuclei"] == range(sections[1].n_obs)).all()


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--mpp", "0.688"], "--spot-um"), (["--spot-um", "100"], "--mpp"), (["--mpp", "0.688", "--spot-um", "100"], "")],
)
def test_an_image_needs_a_pixel_size_and_a_disc(drawn, tmp_path, more, words):
    folder, _ = drawn
    program = typer.Typer()
    program.command()(main)
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
        assert {row["floor"] for row in floors} == {"nuclei", "haematoxylin", "place", "depth"}


def test_predictions_in_another_space_than_declared_are_remarked_on(files):
    result = run(files, space="pearson_residual")
    assert result.exit_code == 0 and "remark: section S0: predictions said to be pearson_residual" in result.output
    assert "are they logs or counts?" in (files / "out/audit.html").read_text()


def test_spots_outside_the_image_are_left_out_as_in_the_book(tmp_path):
    made = section(0)
    Image.new("RGB", (13 * 290, 14 * 290)).save(tmp_path / "A1.png")
    kept, remarks = as_the_book(made, "A1", tmp_path / "A1.png", 1)
    assert kept.n_obs == 13 * 14 and remarks[-1] == "section A1: 14 spots outside the image are left out"
    with pytest.raises(ValueError, match="section A1: no spot has 1000000 counts; .* lower --min-spot-counts"):
        as_the_book(made, "A1", "", 10**6)


def test_the_same_counts_under_two_names_are_remarked_on(cohort):
    read = {"S0": cohort["S0"].copy(), "T0": cohort["S0"][::-1].copy(), "S1": cohort["S1"].copy()}
    read = {name: as_the_book(section, name, "", 1)[0] for name, section in read.items()}
    [said] = doubts(read, dict.fromkeys(read, ""))
    assert said.startswith("section T0: 100% of its spots have the counts of those of S0: the same data")


def test_shuffled_spots_are_remarked_on_without_an_image(cohort):
    section = cohort["S0"].copy()
    section.obsm[schema.SPATIAL] = np.random.default_rng(0).permutation(section.obsm[schema.SPATIAL])
    [said] = doubts({"S0": as_the_book(section, "S0", "", 1)[0]}, {"S0": ""})
    assert said.startswith("section S0: the depth of a spot follows that of its 6 neighbours") and "shuffled" in said


def test_spots_placed_otherwise_than_their_image_says_are_remarked_on(tmp_path):
    drawn = simulate.section("A1", 3000, simulate.gene_profiles(120), lattice=(10, 9))
    made = AnnData(obs=pd.DataFrame(index=drawn["counts"].index), var=pd.DataFrame(index=drawn["counts"].columns))
    made.layers[schema.COUNTS] = csr_matrix(drawn["counts"].to_numpy(np.float32))
    made.obsm[schema.SPATIAL] = drawn["spots"][["pixel_x", "pixel_y"]].to_numpy(float)
    for turn, says in ((0, ""), (180, "depth follows the stain better with the spots turned by 180 degrees")):
        Image.fromarray(drawn["image"]).rotate(turn).save(tmp_path / "A1.png")
        kept, _ = as_the_book(made, "A1", tmp_path / "A1.png", 1)
        said = doubts({"A1": kept}, {"A1": tmp_path / "A1.png"})
        assert says in "".join(said) and len(said) == bool(says)


def test_spots_off_the_tissue_and_on_a_picture_of_another_size_are_remarked_on(tmp_path):
    made = section(0)
    picture = np.full((14 * 290, 14 * 290, 3), 240, np.uint8)
    picture[: 7 * 290] -= np.random.default_rng(0).integers(100, 160, (7 * 290, 14 * 290, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "A1.png")
    made.uns["image_size"] = np.array([4060.0, 5000.0])
    size, off = as_the_book(made, "A1", tmp_path / "A1.png", 1)[1]
    assert size.startswith("section A1: the image has 4060 x 4060 px, its files place spots on one of 4060 x 5000 px")
    assert "of 196 spots lie off the tissue or the image; look whether" in off


def test_counts_of_the_predicted_genes_alone_are_flagged(files):
    run(files)
    report = json.loads((files / "out/audit.json").read_text())
    [flag] = [flag for flag in report["flags"] if flag["id"] == "panel_library"]
    assert flag["raised"] and "the counts hold the predicted genes alone in 3 of 3 sections" in flag["says"]


def test_an_error_of_a_library_is_one_line_unless_asked_for(files, monkeypatch):
    def fails(path):
        raise KeyError("an error of a library")

    monkeypatch.setitem(predictions.READERS, ".csv", fails)
    result = run(files)
    assert result.exit_code == 2 and result.stderr == "KeyError: 'an error of a library'\n"
    assert isinstance(run(files, "--debug").exception, KeyError)
