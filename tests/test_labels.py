"""What is called what."""

import pytest

from helpers import labels


@pytest.mark.parametrize(
    ("name", "called"),
    [("log2", "log2(x + 1)"), ("depth", "measured depth (oracle)"), ("median_delta", "Δ of the top k genes")],
)
def test_what_is_known_has_a_label_and_what_is_new_keeps_its_name(name, called):
    assert labels.label(name) == called and labels.label("a_new_target") == "a_new_target"


def test_one_name_has_one_label():
    """Two dictionaries that call one name differently would depend on their order."""
    known = [labels.TARGETS, labels.METRICS, labels.READINGS, labels.ROWS, labels.TRAINED]
    names = [name for some in known for name in some]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("n", "words"), [(1, "1 section"), (0, "0 sections"), (1200, "1,200 sections")])
def test_a_number_stands_with_its_noun(n, words):
    assert labels.counted(n, "sections") == words
