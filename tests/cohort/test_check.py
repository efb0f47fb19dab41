import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from helpers import __main__ as program
from helpers.cohort import check, images, placement, sections, simulate

CONFIG = Path(__file__).parents[2] / "config"
QC = {"min_spots": 10, "min_median_counts": 1000, "min_spot_counts": 1}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Two sections; the tissue lies left in the image, as the spots do: with x and y exchanged most are on glass."""
    root = tmp_path_factory.mktemp("cohort")
    simulate.write_cohort(root, sections={"A1": 3000, "B1": 900}, lattice=(5, 9), n_genes=120)
    for path in root.glob("data/ST-imgs/*/*/*.jpg"):
        tissue = np.asarray(Image.open(path))
        image = np.full((tissue.shape[0], 2 * tissue.shape[0], 3), 235, np.uint8)
        image[:, : tissue.shape[1]] = tissue
        Image.fromarray(image).save(path)
    return root


@pytest.fixture
def root(good, tmp_path):
    return shutil.copytree(good, tmp_path / "cohort")


def readers(root, **more):
    return {"layout": "her2st", "root": str(root)} | more


def change_spots(root, name, **columns):
    path = root / f"data/ST-spotfiles/{name}_selection.tsv"
    table = pd.read_csv(path, sep="\t")
    table.assign(**{new: table[old] for new, old in columns.items()}).to_csv(path, sep="\t", index=False)


def test_a_row_counts_what_is_there_and_what_is_lost(good):
    section, row = check.read("B1", readers(good), QC)
    whole = sections.read("her2st", good, "B1")
    assert (row["n_spots"], row["n_unpaired"]) == (section.n_obs, whole.uns["n_spots_dropped"])
    assert row["n_empty"] == (whole.obs["total_counts"] == 0).sum() == 1
    assert row["n_spots_dropped"] == row["n_unpaired"] + row["n_empty"] + row["n_outside"]
    assert (row["n_outside"], row["n_off_tissue"]) == (0, 0)
    assert row["width"] == 2 * row["height"]
    assert row["mpp_lattice"] == row["mpp"] and np.isnan(row["mpp_user"])
    assert (row["kept"], row["problem"], row["warnings"]) == (False, "", "")
    assert "counts per spot, fewer than 1000" in row["reason"]


def test_spots_of_few_molecules_are_left_out_and_counted_and_section_and_row_agree(good):
    depth = sections.read("her2st", good, "B1").obs["total_counts"]
    section, row = check.read("B1", readers(good), QC | {"min_spot_counts": int(depth.median())})
    assert section.obs["total_counts"].min() >= int(depth.median())
    assert row["n_shallow"] == (depth < int(depth.median())).sum() - row["n_empty"] > 0
    assert row["n_spots"] + row["n_shallow"] + row["n_empty"] + row["n_outside"] == len(depth)


def test_swapped_coordinates_are_named(root):
    change_spots(root, "A1", pixel_x="pixel_y", pixel_y="pixel_x")
    with pytest.raises(ValueError, match=r"section A1: \d+ of \d+ spots lie off .* exchanged 0: they are swapped"):
        check.read("A1", readers(root), QC)


@pytest.mark.parametrize("name", ["B4", "C2", "C3", "C4", "C5"])
def test_every_spot_of_the_real_images_lies_on_tissue_and_a_swap_is_seen(her2st_root, name):
    section = sections.read("her2st", her2st_root, name)
    if not section.uns["image"]:
        pytest.skip(f"no image of {name}")
    size, thumbnail = images.size(section.uns["image"]), images.thumbnail(section.uns["image"], check.THUMBNAIL_PX)
    assert check._placed(section, thumbnail, size).all()
    section.obsm["spatial"] = section.obsm["spatial"][:, ::-1]
    with pytest.raises(ValueError, match=f"section {name}: .* they are swapped"):
        check._placed(section, thumbnail, size)


def test_an_image_of_another_section_is_named(root):
    path = next(root.glob("data/ST-imgs/A/A1/*.jpg"))
    Image.fromarray(np.asarray(Image.open(path))[:, ::-1]).save(path)
    with pytest.raises(ValueError, match="section A1: .* spots lie off the tissue .*A1.*is it this section's"):
        check.read("A1", readers(root), QC)


def test_a_warning_is_kept_in_the_row(good):
    _, row = check.read("A1", readers(good, mpp=0.5), QC)
    assert "pixel size 0.500 um (user) but 0.68" in row["warnings"]


def test_every_section_with_a_problem_is_in_the_table(root):
    (root / "data/ST-cnts/A1.tsv.gz").unlink()
    change_spots(root, "B1", pixel_x="pixel_y", pixel_y="pixel_x")
    table = check.cohort(["A1", "B1", "Z9"], readers(root), QC, workers=1).set_index("section")
    assert "no such count file" in table.loc["A1", "problem"]
    assert "they are swapped" in table.loc["B1", "problem"]
    assert "Z9_selection.tsv: no such spot file" in table.loc["Z9", "problem"]


def test_a_disc_on_glass_or_outside_is_off_tissue():
    thumbnail = np.full((60, 100, 3), 240, np.uint8)
    thumbnail[:, :50] = (200, 140, 180)
    xy = np.array([[20, 30], [80, 30], [49, 30], [-5, 30], [20, 60]])
    np.testing.assert_array_equal(
        check.on_tissue(xy, placement.tissue_share(thumbnail, 8)), [True, False, True, False, False]
    )


@pytest.mark.parametrize("error", [KeyError("a library's own"), RuntimeError("two\nlines")])
def test_an_error_of_a_library_is_a_problem_of_its_section_alone(good, monkeypatch, error):
    right = sections.read

    def read(*arguments, name, **more):
        if name == "A1":
            raise error
        return right(*arguments, name=name, **more)

    monkeypatch.setattr(check.sections, "read", read)
    rows = [check._row(name, readers(good), QC) for name in ("A1", "B1")]
    assert rows[0]["problem"].startswith(f"{type(error).__name__}: ") and "\n" not in rows[0]["problem"]
    assert rows[1]["problem"] == "" and rows[1]["n_spots"] > 0


def row_that_dies(name, readers, qc):
    if name == "B1":
        os._exit(9)
    return {"section": name, "image": "", "problem": "", "warnings": ""}


def test_a_section_that_ends_the_process_is_a_problem_and_hides_no_other(monkeypatch):
    monkeypatch.setattr(check, "_row", row_that_dies)
    table = check.cohort(["A1", "B1", "C1", "D1"], {}, {}, workers=2).set_index("section")
    assert "ended the process" in table.loc["B1", "problem"]
    assert (table.loc[["A1", "C1", "D1"], "problem"] == "").all()


def test_an_image_of_another_size_than_the_files_say_is_warned_of(good):
    section = sections.read("her2st", good, "A1")
    size = images.size(section.uns["image"])
    thumbnail = images.thumbnail(section.uns["image"], check.THUMBNAIL_PX)
    section.uns["image_size"] = np.array(size) * 1.005
    check._seen(section, thumbnail, size)
    section.uns["image_size"] = np.array(size) * 4
    with pytest.warns(UserWarning, match=f"A1: the image has {size[0]} x {size[1]} px, its files place spots on one"):
        check._seen(section, thumbnail, size)


def test_the_same_section_under_two_names_is_warned_of_in_the_table(root):
    for path in [*root.glob("data/ST-*/A1*"), *root.glob("data/ST-imgs/A/A1/*")]:
        other = Path(str(path).replace("A1", "A2"))
        other.parent.mkdir(exist_ok=True)
        shutil.copy(path, other)
    rows = [check.read(name, readers(root), QC)[1] for name in ("A1", "A2", "B1")]
    table = check.table(rows).set_index("section")
    assert "section A2: 100% of its spots have the counts of those of A1" in table.loc["A2", "warnings"]
    assert "same data" not in "".join(table.loc[["A1", "B1"], "warnings"])
    assert {"seen", "signature"}.isdisjoint(table)


# --- as a program ---


@pytest.fixture
def config(root):
    """Writes a config of the cohort beside it, with the schema."""

    def write(**changes):
        content = yaml.safe_load((CONFIG / "toy.yaml").read_text())
        content |= {"root": str(root), "sections": ["A1", "B1"], "example": "A1"} | changes
        (root.parent / "mine.yaml").write_text(yaml.safe_dump(content))
        return str(root.parent / "mine.yaml")

    return write


def test_a_good_cohort_ends_with_0_and_says_what_is_skipped(root, config, capsys):
    shutil.rmtree(root / "data/ST-imgs/A")
    assert program.check_cohort(config(qc=QC | {"reason": "shallow"})) == 0
    said = capsys.readouterr().out
    assert "Not kept by the rule (1):\n  B1: median of" in said
    assert "Without an image, skipped where pixels are needed (1): A1\nA book needs two" in said and "NA" not in said
    assert "Problems" not in said


def test_a_cohort_with_a_problem_ends_with_1_and_names_all(root, config, capsys):
    for name in ("A1", "B1"):
        (root / f"data/ST-spotfiles/{name}_selection.tsv").write_text("")
    assert program.check_cohort(config()) == 1
    said = capsys.readouterr().out
    assert "Problems (2):\n  A1: " in said and "\n  B1: " in said


def test_what_is_no_cohort_ends_with_2(config, capsys, tmp_path):
    assert program.check_cohort(config(sections=["A1", "A1"])) == 2
    assert "sections names A1 twice" in capsys.readouterr().err
    content = yaml.safe_load(Path(config()).read_text()) | {"root": str(tmp_path / "nowhere")}
    del content["simulation"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    assert program.check_cohort(str(tmp_path / "mine.yaml")) == 2
    assert "no such folder; fetch the cohort (make data)" in capsys.readouterr().err


def test_a_simulated_cohort_that_is_not_made_yet_is_no_problem(config, capsys, tmp_path):
    assert program.check_cohort(config(root=str(tmp_path / "nowhere"))) == 0
    assert "its raw files are not there yet" in capsys.readouterr().out


def test_links_out_of_a_root_are_named(root, tmp_path):
    (tmp_path / "private.txt").touch()
    (root / "data/inside").symlink_to(root / "data/ST-cnts")
    (root / "data/out.txt").symlink_to(tmp_path / "private.txt")
    assert check.links_out(root) == [root / "data/out.txt"]
    (tmp_path / "linked").symlink_to(root)
    assert check.links_out(tmp_path / "linked") == [tmp_path / "linked/data/out.txt"]


def test_counts_that_are_rounded_logs_and_spots_that_were_shuffled_are_warned_of(tmp_path):
    simulate.write_cohort(tmp_path, sections={"A1": 9000, "B1": 9000}, lattice=(12, 11), n_genes=400)
    assert check.read("A1", readers(tmp_path), QC)[1]["warnings"] == ""
    path = tmp_path / "data/ST-cnts/A1.tsv.gz"
    counts = pd.read_csv(path, sep="\t", index_col=0)
    np.rint(np.log2(1 + counts)).astype(int).to_csv(path, sep="\t")
    said = check.read("A1", readers(tmp_path), QC)[1]["warnings"]
    assert "section A1: counts: " in said and "were logs rounded" in said and "give the raw counts of molecules" in said
    path = tmp_path / "data/ST-cnts/B1.tsv.gz"
    counts = pd.read_csv(path, sep="\t", index_col=0)
    counts.set_axis(np.random.default_rng(0).permutation(counts.index)).to_csv(path, sep="\t")
    assert "section B1: the depth of a spot follows" in check.read("B1", readers(tmp_path), QC)[1]["warnings"]
