"""The committed tables of the real cohort against those computed here; `make book COHORT=her2st` computes them.

What is computed here may have more images than the reference run had, or other sections. Like is compared with like,
and what cannot be compared is skipped with the reason.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.chapters import answer
from helpers.scores import coupling

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "data/results/her2st"
COMPUTED = ROOT / "build/her2st/results"


def both(name):
    if not (COMPUTED / name).exists():
        pytest.skip(f"build/her2st has no {name}: run make book COHORT=her2st first")
    return [pd.read_csv(folder / name) for folder in (COMMITTED, COMPUTED)]


def alike(committed, computed, keys):
    """Both tables as far as they can be compared: indexed by keys that both have, with columns that both have.

    What one table does not know of any row of a section, as nuclei without an image, is left out of the other too.
    """
    tables = [table.set_index(keys).sort_index() for table in (committed, computed)]
    rows, columns = (tables[0].axes[i].intersection(tables[1].axes[i], sort=False) for i in (0, 1))
    if rows.empty:
        pytest.skip(f"the build shares no {', '.join(keys)} with the reference run")
    tables = [table.loc[rows, columns] for table in tables]
    if "section" not in keys:
        return tables
    known = [table.notna().groupby("section").transform("any") for table in tables]
    return [table.where(known[0] & known[1]) for table in tables]


def skip_if_others(committed, computed, column):
    """Skip where a column does not hold the same names in both tables: what is computed from all of them differs."""
    theirs, ours = (set(table[column]) for table in (committed, computed))
    if differ := sorted(theirs ^ ours):
        few = ", ".join(differ[:3]) + " ..." * (len(differ) > 3)
        pytest.skip(f"the build has {len(ours)} {column}s, the reference run {len(theirs)}; in one only: {few}")


def of_kept():
    """Rows of the sections that each run keeps."""
    return [table[table["kept"].astype(bool)] for table in both("sections.csv")]


def of_other_spots(committed, computed):
    """Sections of which the two runs keep other spots, as by another rule for shallow ones."""
    spots = [table.set_index("section")["n_spots"] for table in (committed, computed)]
    shared = spots[0].index.intersection(spots[1].index, sort=False)
    return list(shared[spots[0][shared] != spots[1][shared]])


def skip_if_other_spots(committed, computed):
    """Skip where a section has other spots in both runs: what is computed from all sections differs."""
    if differ := of_other_spots(committed, computed):
        few = ", ".join(differ[:3]) + " ..." * (len(differ) > 3)
        pytest.skip(f"the reference run keeps other spots in {len(differ)} sections: {few}; make it anew")


def test_the_panel_is_the_same():
    skip_if_others(*of_kept(), "section")
    skip_if_other_spots(*of_kept())
    committed, computed = alike(*both("panel.csv"), ["panel", "rank"])
    assert list(committed["gene"]) == list(computed["gene"])


def test_table1_is_found_again():
    """Of the sections that have the same spots in both runs; the null is no part of what is compared."""
    other, none = (
        of_other_spots(*of_kept()),
        pd.DataFrame(columns=["section", "metric", "target", "chance", "chance_95"]),
    )
    tables = [
        [table[~table["section"].isin(other)] for table in both(name)]
        for name in ("sections.csv", "associations.csv.gz")
    ]
    rows = alike(*tables[0], ["section"])
    associated = alike(*tables[1], ["section", "target", "gene"])
    committed, computed = (
        coupling.table1(table.reset_index(), none, sections.reset_index(), "her2st")
        for table, sections in zip(associated, rows, strict=True)
    )
    assert committed["value"].notna().any()
    pd.testing.assert_frame_equal(committed, computed, rtol=1e-3)


def test_ridge_rows_of_table2_are_found_again():
    skip_if_other_spots(*of_kept())
    skip_if_others(*both("panel.csv"), "gene")
    skip_if_others(*both("predictability.csv.gz"), "section")
    keys = ["backbone", "split", "ranking", "definition", "k"]
    committed, computed = alike(*(table[table["backbone"] == "ridge"] for table in both("table2.csv")), keys)
    assert len(committed) > 10
    pd.testing.assert_frame_equal(committed, computed, rtol=1e-2)


def test_the_readme_says_what_the_committed_tables_say():
    said = (ROOT / "README.md").read_text().split(answer.BEGIN)[1].split(answer.END)[0]
    assert said == answer.block(COMMITTED.parent)


# --- like with like, on made tables ---


def made(sections, without_nuclei="", genes=("g1", "g2")):
    """Associations of some sections: a number for each section and gene, none with nuclei where an image lacks."""
    rows = [(section, gene, ord(section[0]) + int(gene[1])) for section in sections for gene in genes]
    table = pd.DataFrame(rows, columns=["section", "gene", "rho_depth"]).astype({"rho_depth": float})
    return table.assign(rho_nuclei=-table["rho_depth"].where(~table["section"].isin(list(without_nuclei))))


@pytest.mark.parametrize(
    "computed",
    [made("ABC"), made("ABCD"), made("CBA"), made("ABC", "C"), made("ABC", genes=("g2", "g1", "g3"))],
    ids=["more images", "more sections", "another order", "as many images", "more genes"],
)
def test_a_build_of_more_or_others_is_like_the_reference_as_far_as_both_go(computed):
    committed, ours = alike(made("ABC", "C"), computed, ["section", "gene"])
    pd.testing.assert_frame_equal(committed, ours)
    assert len(ours) == 6 and ours["rho_nuclei"].isna().sum() == 2


def test_fewer_sections_or_images_leave_less_to_compare():
    committed, ours = alike(made("ABC"), made("AB", "B"), ["section", "gene"])
    pd.testing.assert_frame_equal(committed, ours)
    assert len(ours) == 4 and list(ours["rho_nuclei"].dropna().index.get_level_values("section")) == ["A", "A"]


@pytest.mark.parametrize("wrong", [0.0, np.nan])
def test_a_wrong_or_missing_number_shows(wrong):
    computed = made("ABCD")
    computed.loc[1, "rho_nuclei"] = wrong  # of one gene: that of the other is known
    committed, ours = alike(made("ABC", "C"), computed, ["section", "gene"])
    assert not committed.equals(ours)


def test_sections_with_other_spots_are_named():
    committed = pd.DataFrame({"section": ["A", "B", "C"], "n_spots": [10, 20, 30]})
    computed = pd.DataFrame({"section": ["C", "B", "D"], "n_spots": [30, 19, 5]})
    assert of_other_spots(committed, computed) == ["B"]
    skip_if_other_spots(committed, committed)
    with pytest.raises(pytest.skip.Exception, match="other spots in 1 sections: B; make it anew"):
        skip_if_other_spots(committed, computed)


def test_what_cannot_be_compared_is_skipped_with_the_reason():
    with pytest.raises(pytest.skip.Exception, match="shares no section, gene"):
        alike(made("AB"), made("CD"), ["section", "gene"])
    with pytest.raises(pytest.skip.Exception, match="the build has 6 sections, the reference run 2.*: C, D, E ..."):
        skip_if_others(made("AB"), made("ABCDEF"), "section")
    skip_if_others(made("AB"), made("BA", "A"), "section")


def test_what_stands_beside_the_published_size_is_of_the_reference_run():
    """STEM and ridge are copied there from the run's tables; `scripts/published_size.py score` takes them anew."""
    beside = pd.read_csv(ROOT / "data/results/stem_published_size/scores.csv").query("model != 'published size'")
    keys = ["section", "backbone", "target"]
    skills = pd.read_csv(COMMITTED / "skills.csv").query("split == 'section'").set_index(keys)["composition"]
    pcc = pd.read_csv(COMMITTED / "inference_scores.csv").query("split == 'section'").set_index(keys)["pcc"]
    of = pd.MultiIndex.from_frame(beside[["held_out", "model", "target"]])
    assert len(beside) == 28
    np.testing.assert_allclose(beside["composition"], skills[of], atol=1e-12)
    np.testing.assert_allclose(beside["pcc"], pcc[of], atol=1e-12)
