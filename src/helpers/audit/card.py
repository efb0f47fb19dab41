"""The report card of an audit as one HTML file that needs nothing else: words, tables, one figure."""

import base64
import html
from collections.abc import Mapping

import pandas as pd

from helpers.figures import judging, look

STATE = {True: ("raised", "⚑"), False: ("clear", "✓"), None: ("not known", "?")}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } img { max-width: 100%; }
blockquote { border-left: 4px solid #0072b2; margin: 0; padding: .2rem 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top; }
td { border-top: 1px solid #ccc; font-variant-numeric: tabular-nums; }
.raised { color: #a33c00; font-weight: 700; } .clear { color: #00543d; } .not-known { color: #555; }
"""
COLUMNS = {
    "section": "section",
    "space": "space",
    "pcc": "PCC-{k}",
    "ceiling": "ceiling",
    "chance": "chance",
    "chance_95": "95 % of chance",
    "p": "p (spatial)",
    "nuclei": "nuclei alone",
    "haematoxylin": "haematoxylin alone",
    "depth": "depth alone",
    "excess": "excess over nuclei",
    "twin": "depth-only twin",
}


def page(report: Mapping, title: str, sentence: str, checklist: list[tuple[str, str | None]]) -> str:
    """The whole page. `report` is what `audit.assess` returns; `checklist` pairs a question with the flag behind it."""
    k = report["summary"]["k"]
    flags = {flag["flag"]: flag for flag in report["flags"]}
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<blockquote id='sentence'><p>{html.escape(sentence)}</p></blockquote>",
        "<h2 id='flags'>Flags</h2>",
        _flags(report["flags"]),
        f"<h2 id='scores'>Scores: PCC-{k} in every space</h2>",
        f"<img alt='PCC-{k} of each section, with floors, chance and ceiling' src='{_figure(report, k)}'>",
        _table(by_section(report, k), k),
        "<p>Predictions are taken to another space by way of counts; nothing measured on a spot enters. "
        "The ceiling is the mean noise ceiling of the same genes, chance the score of spatially randomized "
        "predictions, the floors straight lines on one number per spot. Depth is measured on the spot: an oracle.</p>",
        "<h2 id='partial'>What is left given nuclei and depth</h2>",
        _table(partial_by_section(report), k),
        "<p>Median over genes of Pearson's r between measured and predicted, plain and partial. "
        "Depth is that of all other genes. Where depth is biology too, adjusting for it takes away more than bias.</p>",
        "<h2 id='checklist'>A reviewer's checklist</h2>",
        _checklist(checklist, flags),
    ]
    if report["remarks"]:
        items = "".join(f"<li>{html.escape(remark)}</li>" for remark in report["remarks"])
        parts.append(f"<h2 id='remarks'>Remarks on the input</h2><ul>{items}</ul>")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
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
    """Median over genes of the plain and the partial correlations, a row a section and space."""
    by = (
        report["partial"].groupby(["section", "space", "given"], sort=False)[["r", "partial"]].median().unstack("given")
    )
    table = by["partial"].add_prefix("given ")
    table.insert(0, "plain", by["r"].iloc[:, 0])
    return table.rename_axis(columns=None).reset_index()


def _table(table: pd.DataFrame, k: int) -> str:
    named = table.rename(columns={name: words.format(k=k) for name, words in COLUMNS.items()})
    return named.to_html(index=False, border=0, float_format=lambda value: f"{value:.3f}", na_rep="–")


def _flags(flags: list[dict]) -> str:
    rows = []
    for flag in flags:
        words, sign = STATE[flag["raised"]]
        advice = f"<br><i>{html.escape(flag['advice'])}</i>" if flag["raised"] is not False else ""
        cells = [
            f"<td class='{words.replace(' ', '-')}'>{sign}&nbsp;{words}</td>",
            f"<td><b>{html.escape(flag['flag'])}</b></td>",
            f"<td>{html.escape(flag['evidence'])}{advice}</td>",
        ]
        rows.append(f"<tr id='{_anchor(flag['flag'])}'>{''.join(cells)}</tr>")
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _checklist(checklist: list[tuple[str, str | None]], flags: Mapping[str, dict]) -> str:
    rows = []
    for question, flag in checklist:
        answer = (
            f"<a href='#{_anchor(flag)}'>{STATE[flags[flag]['raised']][0]}</a>" if flag else "for the authors to say"
        )
        rows.append(f"<li>{html.escape(question)} {answer}</li>")
    return f"<ol>{''.join(rows)}</ol>"


def _anchor(flag: str) -> str:
    return html.escape(flag.replace(" ", "-"))


def _figure(report: Mapping, k: int) -> str:
    picture = look.png(lambda ax: judging.scores_and_floors(ax, by_section(report, k), k), 8, 4.2)
    return "data:image/png;base64," + base64.b64encode(picture).decode()
