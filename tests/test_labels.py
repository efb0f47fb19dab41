"""What is called what."""

import pytest

from helpers import labels


@pytest.mark.parametrize(
    ("name", "called"),
    [("log2", "log2(x + 1)"), ("depth", "measured depth (oracle)"), ("median_delta", "Δ of the top k genes")],
)
def test_what_is_known_has_a_label_and_what_is_new_keeps_its_name(name, called):
    assert labels.label(name) == called and labels.label("a_new_target") == "a_new_target"


@pytest.mark.parametrize(
    ("quantity", "called"),
    [
        ("rho_nuclei_depth", "ρ(nuclei, depth)"),
        ("median_abs_rho_nuclei, log2", "median over genes of |ρ(target, nuclei)|, log2(x + 1)"),
        ("median_delta, k = 10, ridge", "Δ of the top k genes, k = 10, ridge"),
    ],
)
def test_a_quantity_is_called_by_its_metric_and_what_it_is_of(quantity, called):
    assert labels.quantity_label(quantity) == called


def test_one_name_has_one_label():
    """Two dictionaries that call one name differently would depend on their order."""
    known = [labels.TARGETS, labels.METRICS, labels.READINGS, labels.ROWS, labels.TRAINED]
    names = [name for some in known for name in some]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("n", "words"), [(1, "1 section"), (0, "0 sections"), (1200, "1,200 sections")])
def test_a_number_stands_with_its_noun(n, words):
    assert labels.counted(n, "sections") == words


def test_one_of_an_irregular_noun():
    assert labels.counted(1, "nuclei") == "1 nucleus" and labels.counted(2, "nuclei") == "2 nuclei"
    assert labels.counted(1, "patches") == "1 patch" and labels.counted(1, "patient means") == "1 patient mean"


def test_words_follow_the_measure_and_names_of_files_do_not():
    said = "Nuclei per spot, `nuclei` and nuclei alone: [a page](12_coupling.ipynb), results/nuclei.csv"
    assert labels.of_cells(said, "n_nuclei") == said
    assert labels.of_cells(said, "haematoxylin") == (
        "mean haematoxylin of a spot, `nuclei` and haematoxylin alone: [a page](12_coupling.ipynb), results/nuclei.csv"
    )


def test_labels_name_what_was_measured():
    labels.measured_by("haematoxylin")
    assert labels.label(0.2) == 0.2  # a number among the names of a table
    stained = labels.label("nuclei"), labels.label("disc")
    labels.measured_by("n_nuclei")
    assert stained == ("haematoxylin alone", "mean haematoxylin in the spot's disc")
    assert labels.label("nuclei") == "nuclei alone"
