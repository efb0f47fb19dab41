"""A searchable table is plain and escaped, and in a real browser it finds and sorts."""

import pandas as pd
import pytest
from test_book import PHONE, browser, faults, serve  # noqa: F401

from helpers.figures import searchable

ROWS = pd.DataFrame(
    [
        ["10.5", "as <nuclei>", "2 of 2"],
        ["9.25", "beyond", ""],
        ["< 0.1", "beyond nuclei", "10 of 12"],
        ["", "none", "1 of 2"],
    ],
    index=["ERBB2", "KRT19", "IGKC", "B2M"],
    columns=pd.MultiIndex.from_tuples([("", "mean"), ("log", "verdict"), ("log", "patients")]),
)


def test_words_are_escaped_and_groups_span_their_columns():
    found = searchable.table(ROWS, "genes", "A & B", "gene")
    assert "as &lt;nuclei&gt;" in found and "A &amp; B" in found
    assert "colspan='2'><span>log<" in found
    assert found.count("<button") == 4 and found.count("scope='row'") == 4


def test_a_row_leads_to_an_address_that_ends_in_its_name():
    rows = pd.DataFrame({"mean": ["1"]}, index=["HLA-A/B"])
    found = searchable.table(rows, "genes", "caption", "gene", "29_explorer.html#model=ridge&gene=")
    assert "<a href='29_explorer.html#model=ridge&amp;gene=HLA-A/B'>HLA-A/B</a>" in found
    assert "<a " not in searchable.table(rows, "genes", "caption", "gene")


def test_it_loads_nothing():
    found = searchable.table(ROWS, "genes", "caption", "gene")
    assert "://" not in found and "src=" not in found and "@import" not in found


def test_a_missing_value_is_refused():
    with pytest.raises(ValueError, match="mean"):
        searchable.table(pd.DataFrame({"mean": [None]}), "genes", "", "gene")


@pytest.fixture
def page(browser, tmp_path):  # noqa: F811
    body = "<p>before</p>" + searchable.table(ROWS, "genes", "Genes", "gene")
    head = "<!doctype html><html lang='en'><meta charset='utf-8'><link rel='icon' href='data:,'><title>t</title>"
    (tmp_path / "page.html").write_text(head + body)
    server, address = serve(tmp_path)
    assert faults(browser, address, ["page.html"], PHONE) == []
    page = browser.new_page(viewport=PHONE)
    page.goto(f"{address}/page.html")
    yield page
    page.close()
    server.shutdown()


def shown(page):
    return [row.text_content() for row in page.locator("tbody tr:visible th").all()]


def test_a_search_keeps_the_rows_that_hold_all_words(page):
    page.get_by_label("Search the table").fill("Beyond nuc")
    assert shown(page) == ["IGKC"] and page.get_by_role("status").text_content() == "1 of 4 rows"
    page.get_by_label("Search the table").fill("")
    assert len(shown(page)) == 4


@pytest.mark.parametrize(
    ("column", "up", "down"),
    [
        ("mean", ["IGKC", "KRT19", "ERBB2", "B2M"], ["ERBB2", "KRT19", "IGKC", "B2M"]),
        ("gene", ["B2M", "ERBB2", "IGKC", "KRT19"], ["KRT19", "IGKC", "ERBB2", "B2M"]),
        ("patients", ["B2M", "ERBB2", "IGKC", "KRT19"], ["IGKC", "ERBB2", "B2M", "KRT19"]),
    ],
)
def test_a_header_sorts_up_then_down_and_says_so_and_empty_cells_stay_last(page, column, up, down):
    for order, said in ((up, "ascending"), (down, "descending")):
        page.get_by_role("button", name=column).press("Enter")
        assert shown(page) == order
        assert page.locator(f"th[aria-sort={said}]").text_content() == column
        assert page.locator("th[aria-sort=none]").count() == 3
