"""The report card of an audit as one HTML file that needs nothing else: words, tables, one figure."""

import base64
from collections.abc import Mapping
from pathlib import Path

import jinja2
import pandas as pd

from helpers.audit.flags import CHECKLIST, FLAGS, sentence
from helpers.figures import judging, style
from helpers.labels import FLOORS, p_value

TEMPLATE = Path(__file__).with_name("card.html")
STATES = {True: ("raised", "⚑"), False: ("clear", "✓"), None: ("not known", "?")}
COLUMNS = {
    "pcc": "PCC-{k}",
    "chance_95": "95 % of chance",
    "p": "p (spatial)",
    **FLOORS,
    "excess": "excess over nuclei",
    "library_chance_95": "95 % of chance, library",
    "library_ceiling": "ceiling, library",
    "twin": "depth-only twin",
    "composition_chance_95": "95 % of chance, composition",
    "composition_ceiling": "ceiling, composition",
}


def page(report: Mapping, title: str) -> str:
    """The whole page; `report` is what `audit.assess` returns. Whatever it says is escaped."""
    k, report_flags = report["summary"]["k"], {flag["id"]: flag for flag in report["flags"]}
    names = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    names.filters["number"] = cell_text
    return names.from_string(TEMPLATE.read_text()).render(
        title=title,
        sentence=sentence(report["summary"]),
        k=k,
        named=COLUMNS,
        states=STATES,
        flags=[(flag, report_flags[flag.id]) for flag in FLAGS],
        raised={name: flag["raised"] for name, flag in report_flags.items()},
        figure=figure(report, k),
        scores=by_section(report, k).assign(p=lambda scores: scores["p"].map(p_value)),
        skills=report["skills"].drop(columns="k", errors="ignore"),
        partial=partial_by_section(report),
        checklist=CHECKLIST,
        remarks=report["remarks"],
    )


def by_section(report: Mapping, k: int) -> pd.DataFrame:
    """Scores at one k with floors, excess over nuclei and the twin's score beside them, a row a section and space."""
    keys = ["section", "space"]
    table = report["scores"].query("k == @k").set_index(keys)[["pcc", "ceiling", "chance", "chance_95", "p"]]
    floors = report["floors"]
    if len(floors):
        table = table.join(floors.query("k == @k").pivot_table(index=keys, columns="floor", values="pcc"))
    if "nuclei" in table:
        table["excess"] = table["pcc"] - table["nuclei"]
    return table.join(report["twin"].query("k == @k").set_index(keys)["pcc"].rename("twin")).reset_index()


def partial_by_section(report: Mapping) -> pd.DataFrame:
    """Median over genes of the plain and the partial correlations, these with chance, a row a section and space."""
    table = report["given"]
    rows = table.drop_duplicates(["section", "space"])[["section", "space", "median_r"]].rename(
        columns={"median_r": "plain"}
    )
    for given, part in table.groupby("given", sort=False):
        shown = part[["section", "space", "median_partial", "median_partial_chance_95"]]
        shown = shown.set_axis(["section", "space", f"given {given}", f"95 % of chance, given {given}"], axis=1)
        rows = rows.merge(shown, how="left", on=["section", "space"])
    return rows


def cell_text(cell: object) -> str:
    """A cell of a table: numbers to three digits, a dash where there is none, and no minus before a zero."""
    if isinstance(cell, float):
        return "–" if pd.isna(cell) else f"{cell:z.3f}"
    return str(cell)


def figure(report: Mapping, k: int) -> str:
    """The scores in every space beside their floors, as the address of a PNG that holds itself."""
    picture = style.png(lambda ax: judging.scores_and_floors(ax, by_section(report, k), k), 8, 4.2)
    return "data:image/png;base64," + base64.b64encode(picture).decode()
