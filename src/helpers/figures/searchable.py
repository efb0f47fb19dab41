"""A table to search and sort in the page, offline: plain HTML and a few lines of script, with nothing to load."""

import html
import json
from urllib.parse import quote

import pandas as pd

# Colours are the book's, light or dark, and elsewhere the browser's own.
STYLE = """
#NAME { background: var(--pst-color-background, Canvas); color: var(--pst-color-text-base, CanvasText); padding: 8px; }
#NAME .frame { max-height: 34rem; overflow: auto; }
#NAME table { border-collapse: separate; border-spacing: 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
#NAME caption { caption-side: top; text-align: left; color: inherit; }
#NAME caption span, #NAME [colspan] span { position: sticky; left: 7rem; }
#NAME caption span { left: 0; }
#NAME th, #NAME td { padding: .2rem .6rem; white-space: nowrap; text-align: left; color: inherit; }
#NAME tr > :first-child { position: sticky; left: 0; z-index: 1; }
#NAME thead { position: sticky; top: 0; z-index: 2; }
#NAME th, #NAME thead td { background: var(--pst-color-background, Canvas); }
#NAME thead td { border: 0; }
#NAME tbody :is(td, th) { border-top: 1px solid var(--pst-color-border, GrayText); }
#NAME button { all: unset; cursor: pointer; font-weight: 600; }
#NAME button:focus-visible { outline: 2px solid; outline-offset: 2px; }
#NAME button::after { content: " ↕"; opacity: .4; }
#NAME th[aria-sort=ascending] button::after { content: " ↑"; opacity: 1; }
#NAME th[aria-sort=descending] button::after { content: " ↓"; opacity: 1; }
"""
# Sorts by number where both cells begin with one, after a "<" or not, else by their words; empty cells stay last. A
# search keeps the rows that hold all of its words.
SCRIPT = """
(() => {
  const box = document.getElementById(NAME), body = box.querySelector("tbody");
  const rows = [...body.rows], input = box.querySelector("input"), status = box.querySelector("[role=status]");
  const texts = rows.map(row => row.textContent.toLowerCase());
  const search = () => {
    const words = input.value.toLowerCase().split(" ").filter(word => word);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every(word => texts[i].includes(word));
      shown += !row.hidden;
    });
    status.textContent = shown + " of " + rows.length + " rows";
  };
  input.addEventListener("input", search);
  search();
  const heads = [...box.querySelectorAll("th[aria-sort]")];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const cell = row => row.cells[column].textContent;
    const order = (a, b) => {
      const x = cell(a), y = cell(b), [p, q] = [x, y].map(words => parseFloat(words.replace("< ", "")));
      if (!x || !y) return !x - !y;
      return (down ? -1 : 1) * (isNaN(p) || isNaN(q) ? x.localeCompare(y) : p - q);
    };
    body.append(...[...rows].sort(order));
  }));
})();
"""


def table(rows: pd.DataFrame, name: str, caption: str, of: str, address: str = "") -> str:
    """The rows as HTML with a search box and headers that sort; `name` is its id, one a page.

    `rows` holds words (numbers already formatted, "" where there is none) and is indexed by what a row is `of`, such as
    "gene"; each leads to `address` with its index at the end, where that is given. Columns may have two levels, the
    upper one a group. Missing values raise ValueError.
    """
    if rows.isna().any(axis=None):
        first = rows.columns[rows.isna().any()][0]
        raise ValueError(
            f"table {name}: missing values in column {first!r}; format them, as '' if nothing is to be said"
        )
    grouped = rows.columns.nlevels == 2
    labels = list(rows.columns.get_level_values(-1))
    heads = "".join(
        f"<th scope='col' aria-sort='none'><button type='button'>{html.escape(str(label))}</button></th>"
        for label in [of, *labels]
    )
    groups = "<tr><td></td>" + "".join(map(_group, *_runs(rows.columns))) + "</tr>" if grouped else ""
    body = "".join(
        f"<tr><th scope='row'>{_leading(str(row[0]), address)}</th>"
        + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows.itertuples(name=None)
    )
    return (
        f"<div id='{name}'><style>{STYLE.replace('NAME', name)}</style>"
        f"<label>Search the table: <input type='search' autocomplete='off'></label> <span role='status'></span>"
        f"<div class='frame' tabindex='0' role='region' aria-label='{html.escape(caption, quote=True)}'>"
        f"<table><caption><span>{html.escape(caption)}</span></caption>"
        f"<thead>{groups}<tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<script>{SCRIPT.replace('NAME', json.dumps(name))}</script></div>"
    )


def _leading(words: str, address: str) -> str:
    shown = html.escape(words)
    return f"<a href='{html.escape(address + quote(words), quote=True)}'>{shown}</a>" if address else shown


def _runs(columns: pd.MultiIndex) -> tuple[list[str], list[int]]:
    """Groups of neighbouring columns, and how many columns each has."""
    names, counts = [], []
    for name in columns.get_level_values(0):
        if names and names[-1] == name:
            counts[-1] += 1
        else:
            names.append(name)
            counts.append(1)
    return names, counts


def _group(name: str, columns: int) -> str:
    return f"<th scope='colgroup' colspan='{columns}'><span>{html.escape(name)}</span></th>"
