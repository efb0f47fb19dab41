"""The book hangs together, and reads offline in a real browser: light, dark and on a phone.

The first tests need no build. The browser ones take a built book from BOOK_HTML (default build/toy/html).
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
import yaml

from helpers import pages, stamps
from helpers.chapters import answer_numbers
from helpers.models import backbones

ROOT = Path(__file__).parents[1]
BOOK, NOTEBOOKS = ROOT / "book", ROOT / "notebooks"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TARGETS = ["log2", "log1p_cp10k", "pearson_residual"]  # in the order of the decision table
ARMS = {"none log": TARGETS[0], "total log": TARGETS[1], "total pearson_residual": TARGETS[2]}
TRAINED = ("all other sections", "other patients only")
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Words, names and references: no build needed -------------------------------------------------------------------


def toc() -> list[str]:
    table = yaml.safe_load((BOOK / "_toc.yml").read_text())
    return [table["root"]] + [page["file"] for part in table["parts"] for page in part["chapters"]]


def texts() -> dict[str, str]:
    """The words of each page: Markdown files, and the Markdown cells of notebooks."""
    words = {path.name: path.read_text() for path in BOOK.glob("*.md")}
    for path in NOTEBOOKS.glob(stamps.PAGES):
        cells = json.loads(path.read_text())["cells"]
        words[path.name] = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return words


def used(role: str) -> set[tuple[str, str]]:
    """(page, what it names) for each use of a role; `{term}`word <name>`` names what stands in the brackets."""
    found = set()
    for page, text in texts().items():
        for content in re.findall(rf"\{{{role}\}}`([^`]+)`", text):
            inside = re.search(r"<(.+)>$", content)
            found.add((page, inside.group(1) if inside else content))
    return found


def missing_files(pages: list[str], book: Path, notebooks: Path) -> list[str]:
    return [p for p in pages if not (book / f"{p}.md").exists() and not (notebooks / f"{p}.ipynb").exists()]


def test_every_entry_of_the_contents_is_a_page_and_appears_once():
    assert missing_files(toc(), BOOK, NOTEBOOKS) == []
    assert len(toc()) == len(set(toc()))


def test_every_page_is_in_the_contents():
    pages = {path.stem for path in [*BOOK.glob("*.md"), *NOTEBOOKS.glob(stamps.PAGES)]}
    assert pages - set(toc()) == set()


def test_each_of_eight_parts_is_opened_by_two_sentences_below_the_question_of_its_first_page():
    parts = yaml.safe_load((BOOK / "_toc.yml").read_text())["parts"]
    named = {part["caption"]: part["chapters"][0]["file"] for part in parts if "caption" in part}
    assert len(named) == 8 and len(parts) == 9  # before them what the book asks, which leads in
    for caption, page in named.items():
        words = next(text for name, text in texts().items() if Path(name).stem == page)
        opening = next((part for part in words.split("\n\n") if part.startswith(f"*{caption}.* ")), "")
        assert len(re.findall(r"[.?](?=\s|$)", opening)) == 2, page
        assert "**Question.**" not in words.partition(opening)[2], page


def test_every_citation_has_a_reference_and_every_reference_a_title_and_a_year():
    entries = re.split(r"^@", (BOOK / "references.bib").read_text(), flags=re.M)[1:]
    keys = {re.match(r"\w+\{([^,]+),", entry).group(1) for entry in entries}
    assert len(keys) == len(entries)
    assert all(re.search(r"^\s*title\s*=", e, re.M) and re.search(r"^\s*year\s*=", e, re.M) for e in entries)
    cited = {(page, key.strip()) for page, named in used(r"cite(?::\w+)?") for key in named.split(",")}
    assert {(page, key) for page, key in cited if key not in keys} == set()


def test_every_term_that_a_page_links_is_in_the_glossary():
    block = re.search(r"```\{glossary\}\n(.*?)```", (BOOK / "glossary.md").read_text(), re.S).group(1)
    terms = [line.strip().lower() for line in block.splitlines() if line and not line.startswith(" ")]
    assert len(terms) == len(set(terms))
    assert {(page, term) for page, term in used("term") if term.lower() not in terms} == set()


def test_nothing_that_the_configuration_names_is_missing_or_remote():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    sphinx = config["sphinx"]["config"]
    assert (BOOK / config["logo"]).is_file()
    assert [f for f in config["bibtex_bibfiles"] if not (BOOK / f).is_file()] == []
    assert [d for d in sphinx["html_extra_path"] if not (BOOK / d).is_dir()] == []
    assert "://" not in sphinx["mathjax_path"] and sphinx["nb_ipywidgets_js"] == {}
    assert (BOOK / "vendor" / sphinx["mathjax_path"].removeprefix("../")).is_file()


def test_the_numbers_of_the_decision_table_are_those_of_the_committed_run():
    """They are typed, on a page of words: a new reference run that moves one of them is told here."""
    page, run = (BOOK / "howto_target.md").read_text(), ROOT / "data/results/her2st"

    def cells(table, value, chance=None):
        """The medians of the three targets as the page has them, in brackets those of the 95 % point of chance."""
        middle = table.groupby("target").median(numeric_only=True)
        points = {t: f" ({middle.loc[t, chance]:.2f})" if chance else "" for t in middle.index}
        return [f"{middle.loc[t, value]:.2f}{points[t]}" if t in middle.index else "–" for t in TARGETS]

    def read(name, **where):
        table = pd.read_csv(run / f"{name}.csv")
        for column, value in where.items():
            table = table[table[column] == value]
        return table

    section, stem = ({"split": "section", "backbone": backbone} for backbone in ("ridge", "stem"))
    alone = [cells(read("floors", split="section", backbone=b), "pcc_50") for b in ("ridge", "nuclei", "place")]
    kept = read("frontier", measure="composition")
    kept["target"] = (kept["size_factor"] + " " + kept["transform"]).map(ARMS)
    ranks = answer_numbers.quoted_ranks({"known_truth_ranks": read("known_truth_ranks")}).rename(
        columns={"report": "target"}
    )
    rows = [
        cells(read("table1", metric="median_abs_rho_nuclei"), "value", "chance_95"),
        [", ".join(scores) for scores in zip(*alone, strict=True)],
        cells(read("controls", twin="depth_only", **section), "pcc_50", "chance_95"),
        cells(read("partial", given="both", **section), "partial", "partial_chance_95"),
        cells(read("partial", given="both", **stem), "partial", "partial_chance_95"),
        cells(read("skills", **section), "composition", "composition_chance_95"),
        cells(read("skills", **stem), "composition", "composition_chance_95"),
        ["; ".join(map(str, pair)) for pair in zip(*map(above, TRAINED, [read("patients")] * 2), strict=True)],
        cells(kept, "value", "chance_95"),
        [f"{float(share):.0%}".replace("%", " %") for share in cells(ranks, "contested")],
    ]
    assert [row for row in rows if f"| {' | '.join(row)} |" not in page] == []
    of_depth = read("factorial", size_factor="nuclei", transform="log", backbone="depth")["pcc_50"].median()
    assert f"measured depth alone still scores {of_depth:.2f}" in page


def test_methods_say_how_often_depth_alone_exceeds_its_chance_in_the_committed_run():
    table = pd.read_csv(ROOT / "data/results/her2st/partial_depth_only.csv")
    erring = table[(table["given"] == "depth") & (table["error"] > 0)]
    scores = ("partial", "median_partial", "median_partial_rank")
    pearson, median, ranks = ((erring[score] > erring[f"{score}_chance_95"]).sum() for score in scores)
    page = (BOOK / "methods.md").read_text()
    assert pearson == median == 0 and f"0 of {len(erring)} being above; of ranks the median gene is" in page
    assert f"above in {ranks} of {len(erring)}, where one in twenty is expected" in page


def above(training, patients):
    """In how many sections ridge is above nuclei and place, target by target."""
    fits = patients[patients["training"] == training].groupby(["target", "section", "backbone"])["pcc_50"].mean()
    wide = fits.unstack()
    won = wide["ridge"] > wide[["nuclei", "place"]].max(axis=1)
    return won.groupby("target").sum()[TARGETS]


def printed(block: str) -> re.Pattern:
    """A block of output as a page shows it: `[...]` stands for anything, and lines are broken anywhere."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in block.split("[...]")]
    return re.compile(r"\s*(?:.|\n)*?\s*".join(parts))


def test_how_to_audit_prints_what_it_shows_and_how_to_read_the_card_reads_that(tmp_path):
    """Their numbers are typed: the files and the command of the page are tried on the sections of the toy."""
    page, card = ((BOOK / f"howto_{name}.md").read_text() for name in ("audit", "report"))
    if not (ROOT / "build/toy/sections/C1.h5ad").exists():
        pytest.skip("no sections of the toy: run make book")
    (tmp_path / "build").symlink_to(ROOT / "build")
    (tmp_path / "mine.py").write_text(re.search(r"```python\n(.*?)```", page, re.S).group(1))
    command = re.search(r"python (-m helpers audit --space .*?)```", page, re.S).group(1)
    subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, check=True)
    ran = subprocess.run(f"{sys.executable} {command}", cwd=tmp_path, shell=True, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert printed(re.search(r"```\n(On 3 held-out.*?)```", page, re.S).group(1)).search(ran.stdout), ran.stdout
    assert printed(re.search(r"^> (.*)", card, re.M).group(1)).search(ran.stdout), ran.stdout
    first = (tmp_path / "predictions/A1.csv").read_text()
    assert first.startswith(",MT-ND4,RPL13,GENE129,") and "\n6x9,8.11885387" in first
    report = json.loads((tmp_path / "audit/audit.json").read_text())
    in_a1 = {"section": "A1", "space": "log2", "k": 50}
    pcc, nuclei, twin = (
        one(pd.DataFrame(report[name]), in_a1 | more)["pcc"]
        for name, more in (("scores", {}), ("floors", {"floor": "nuclei"}), ("twin", {}))
    )
    assert f"Here log2 gives {pcc:.3f} in A1, nuclei {nuclei:.3f}, the twin {twin:.3f}:" in card
    left = pd.DataFrame(report["partial"]).query("section == 'A1' and space == 'log2' and given == 'nuclei'")
    assert f"in A1 {left['r'].median():.3f} falls to {left['partial'].median():.3f} given the nuclei" in card


# In a browser ---------------------------------------------------------------------------------------------------


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(folder: Path) -> tuple[ThreadingHTTPServer, str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on the path: the book is not looked at in a browser")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def book_html() -> Path:
    folder = Path(os.environ.get("BOOK_HTML", ROOT / "build/toy/html"))
    if not (folder / "index.html").exists():
        pytest.skip(f"no built book in {folder}: run `make book`, or set BOOK_HTML")
    return folder


@pytest.fixture(scope="module")
def address(book_html):
    server, address = serve(book_html)
    yield address
    server.shutdown()


# What a reader would see as broken on a page; each entry is a line of a report.
FAULTS_ON_PAGE = """() => {
  const faults = [];
  for (const image of document.images) {
    const alt = (image.getAttribute("alt") || "").trim();
    if (!(image.complete && image.naturalWidth > 0)) faults.push("image not loaded: " + image.src);
    // Sphinx writes the file's name where no alternative text is given.
    if (!alt || alt.includes("_images/")) faults.push("image without alternative text: " + image.src);
  }
  const formulas = document.querySelectorAll(".math");
  const raw = [...formulas].filter(formula => !formula.querySelector("mjx-container"));
  if (raw.length) faults.push(raw.length + " formulas not rendered, first: " + raw[0].textContent);
  if (document.querySelector("[data-mjx-error], mjx-merror")) faults.push("a formula that MathJax rejects");
  // What Python says of an object that has nothing to show.
  const object = document.body.textContent.match(/<[\\w.]+ object( at 0x\\w+)?>/);
  if (object) faults.push("an object instead of what it shows: " + object[0]);
  const width = document.documentElement.scrollWidth;
  if (width > window.innerWidth) faults.push("the page is " + width + " px wide in a window of " + window.innerWidth);
  return faults;
}"""


def faults(browser, address: str, names: list[str], *viewports: dict[str, int]) -> list[str]:
    """What is wrong with the pages in windows of these sizes, each opened once, in the first, and resized.

    Nothing leaves this machine, as every other host is cut off and reported.
    """
    found = []
    host = urlsplit(address).netloc
    page = browser.new_page(viewport=viewports[0])

    def gate(route):
        if urlsplit(route.request.url).netloc in (host, ""):
            return route.continue_()
        found.append(f"request to another host: {route.request.url}")
        return route.abort()

    def failed(request):
        # Aborted: the page was left before it was fetched; an image that is missing is seen on its page.
        if request.failure != "net::ERR_ABORTED":
            found.append(f"request failed: {request.url}")

    page.route("**/*", gate)
    page.on("console", lambda line: found.append(f"console: {line.text}") if line.type == "error" else None)
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("requestfailed", failed)
    report = []
    for name in names:
        page.goto(f"{address}/{name}", wait_until="networkidle")
        page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")
        for viewport in [*viewports[1:], viewports[0]]:
            page.set_viewport_size(viewport)
            found += page.evaluate(FAULTS_ON_PAGE)
        report += [f"{name}: {fault}" for fault in dict.fromkeys(found)]
        found.clear()
    page.close()
    return report


# What is wrong, and the words by which the report must name it.
BROKEN = {
    "nothing": ("<p>text</p>", None),
    "script of another host": ('<script src="https://example.org/a.js"></script>', "another host"),
    "broken image": ('<img src="absent.png" alt="a plot">', "image not loaded"),
    "no alternative text": ('<img src="dot.svg">', "alternative text"),
    "file name as alternative text": ('<img src="dot.svg" alt="_images/dot.svg">', "alternative text"),
    "formula left as it is": (r'<span class="math">\(x\)</span>', "not rendered"),
    "script error": ("<script>nothing.there()</script>", "script error"),
    "console error": ("<script>console.error('no')</script>", "console"),
    "object": ("&lt;IPython.core.display.Markdown object&gt;", "an object instead"),
    "too wide": ('<div style="width: 3000px">x</div>', "px wide"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_each_fault_is_seen_and_named(browser, tmp_path, case):
    body, words = BROKEN[case]
    (tmp_path / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    (tmp_path / "page.html").write_text(f'<!doctype html><title>t</title><link rel="icon" href="dot.svg">{body}')
    server, address = serve(tmp_path)
    try:
        found = faults(browser, address, ["page.html"], DESKTOP, PHONE)
    finally:
        server.shutdown()
    assert any(words in fault for fault in found) if words else found == []


def test_every_page_reads_offline_without_a_fault_on_a_screen_and_on_a_phone(browser, book_html, address):
    names = sorted(path.name for path in book_html.glob("*.html"))
    assert {f"{page}.html" for page in toc()} <= set(names)
    assert faults(browser, address, names, DESKTOP, PHONE) == []


def axe_program() -> str:
    path = ROOT / "node_modules/axe-core/axe.min.js"
    if not path.exists():
        pytest.skip("no axe-core: npm install --no-save --no-package-lock axe-core")
    return path.read_text()


AXE = """async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"]});
  const grave = violations.filter(one => ["serious", "critical"].includes(one.impact));
  return grave.flatMap(one => one.nodes.map(node => `${one.id}: ${node.html.slice(0, 200)}`));
}"""


def barriers(page, address: str, name: str, program: str) -> list[str]:
    """What keeps readers out of a page by axe-core, serious or critical: on a phone, on a screen, and in the dark.

    The phone comes first: a while after a window gets smaller the theme lets keys reach what then scrolls.
    """
    page.set_viewport_size(PHONE)
    page.goto(f"{address}/{name}", wait_until="load")
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; }")
    page.evaluate(program)
    found = []
    for theme, viewport in (("light", PHONE), ("light", DESKTOP), ("dark", DESKTOP)):
        page.set_viewport_size(viewport)
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        found += [f"{name}, {theme}, {viewport['width']} px: {fault}" for fault in page.evaluate(AXE)]
    return found


def test_a_barrier_is_seen_and_named(browser, tmp_path):
    program = axe_program()
    (tmp_path / "page.html").write_text(
        '<!doctype html><html lang="en"><title>t</title><main><h1>t</h1><p style="color: #aaa">pale</p></main></html>'
    )
    page = browser.new_page()
    found = barriers(page, tmp_path.as_uri(), "page.html", program)
    page.close()
    assert len(found) == 3 and all("color-contrast" in fault and "pale" in fault for fault in found)


@pytest.mark.full
def test_no_page_shuts_a_reader_out(browser, book_html, address):
    program = axe_program()
    page = browser.new_page(reduced_motion="reduce")
    found = [fault for name in toc() for fault in barriers(page, address, f"{name}.html", program)]
    page.close()
    assert found == []


def test_every_page_offers_its_source_and_a_notebook_its_tables(book_html, monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in toc():
        links = re.findall(r'href="([^"#]+)"', (book_html / f"{name}.html").read_text())
        notebook = (NOTEBOOKS / f"{name}.ipynb").exists()
        source = f"_sources/{name}.{'ipynb' if notebook else 'md'}"
        assert source in links and (book_html / source).is_file()
        offered = {Path(link).name for link in links if link.startswith("_downloads/") and (book_html / link).is_file()}
        assert not notebook or set(pages.tables_of(name)) <= offered, name


def test_a_figure_opens_at_full_size_by_mouse_and_keys(browser, address):
    page = browser.new_page(viewport=PHONE)
    page.goto(f"{address}/12_coupling.html")
    figure, box = page.locator("button.enlarge").first, page.locator("dialog.enlarged")
    small = figure.bounding_box()["width"]
    figure.click()
    assert box.locator("img").bounding_box()["width"] > small
    box.get_by_role("button", name="Close").click()
    assert not box.is_visible()
    figure.focus()
    page.keyboard.press("Enter")
    assert box.is_visible()
    page.keyboard.press("Escape")
    assert not box.is_visible() and figure.evaluate("element => element === document.activeElement")
    page.close()


def test_the_focus_of_the_keyboard_is_seen_on_its_whole_way(browser, address):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{address}/12_coupling.html")
    focused = """() => {
      const element = document.activeElement, style = getComputedStyle(element);
      if (element === document.body) return "end";
      return style.outlineStyle !== "none" || style.boxShadow !== "none" ? "seen" : element.outerHTML;
    }"""
    stops = []
    while "end" not in stops:
        page.keyboard.press("Tab")
        stops.append(page.evaluate(focused))
    assert set(stops) == {"seen", "end"} and len(stops) > 50
    page.close()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_a_reader_who_asks_for_it(browser, address, motion):
    page = browser.new_page(viewport=DESKTOP, reduced_motion=motion)
    page.goto(f"{address}/12_coupling.html")
    moving = """() => [...document.querySelectorAll("*")].map(element => getComputedStyle(element)).filter(
      style => parseFloat(style.transitionDuration) > 0 || parseFloat(style.animationDuration) > 0).length"""
    assert (page.evaluate(moving) == 0) == (motion == "reduce")
    page.close()


def test_the_heads_of_a_long_table_are_such_as_a_browser_prints_on_each_sheet(browser, address):
    """It leaves out what sticks, and the words of a button that is a box."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{address}/26_genes.html")
    look = """() => [...document.querySelectorAll(".frame :is(thead, thead button)")].map(
      element => getComputedStyle(element)).map(style => [style.position, style.display].join())"""
    on_screen = page.evaluate(look)
    page.emulate_media(media="print")
    assert set(page.evaluate(look)) == {"static,table-header-group", "static,contents"} != set(on_screen)
    page.close()


def test_search_finds_pearson_residual(browser, address):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{address}/intro.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("Pearson residual")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    page.wait_for_selector("#search-results ul.search a[href*='methods.html']")
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_turns_light_and_dark(browser, address, theme):
    page = browser.new_page(viewport=DESKTOP)
    page.goto(f"{address}/methods.html", wait_until="networkidle")
    for _ in range(3):  # the switch goes round light, dark and the system's choice
        if page.locator("html").get_attribute("data-mode") == theme:
            break
        page.locator(".theme-switch-button").first.click()
    colours = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
    back, text = (
        sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in page.locator("body").evaluate(colours)
    )
    assert (back - text > 100) if theme == "light" else (text - back > 100)
    page.close()


# The explorer ---------------------------------------------------------------------------------------------------

EXPLORER = "29_explorer.html"
OF_GENE = ["section", "target", "gene"]


@pytest.fixture
def explorer(browser, book_html):
    """Open the explorer as a reader does, from disk, with what is chosen; any fault on the way fails the test."""
    if not (book_html / EXPLORER).exists():
        pytest.skip(f"the book in {book_html} is older than the explorer: run make book")
    page, faults = browser.new_page(viewport=DESKTOP), []
    page.on("pageerror", lambda error: faults.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: faults.append(f"request failed: {request.url}"))

    def opened(chosen: str = "", file: str = EXPLORER):
        page.goto("about:blank")
        page.goto(f"{(book_html / file).resolve().as_uri()}#{chosen}")
        page.wait_for_selector("#explorer [data-section]")
        return page

    yield opened
    page.close()
    assert faults == []


def chosen(page) -> dict[str, str]:
    return {key: page.locator(f"#explorer-{key}").input_value() for key in ("section", "gene", "target", "model")}


def number(page, key: str) -> str:
    return page.locator(f"#explorer [data-key='{key}'] td").first.text_content()


def shown(value: float) -> str:
    """A number of a table as the explorer prints it."""
    return "–" if value != value else re.sub(r"^-(0\.000)$", r"\1", f"{value:.3f}")


def pictures(page) -> list[str]:
    return page.locator("#explorer canvas").evaluate_all("all => all.map(one => one.toDataURL())")


@pytest.mark.parametrize("key", ["section", "gene", "target", "model", "spot"])
def test_each_control_of_the_explorer_changes_what_is_shown(explorer, key):
    page = explorer()
    before = pictures(page)
    assert len(set(before)) == 6  # four maps and two scatter plots, none empty
    control = page.get_by_label(key.capitalize(), exact=True)
    last = control.locator("option").last.get_attribute("value")
    if control.locator("option").count() == 1:
        pytest.skip(f"the book has one {key} alone")
    assert control.input_value() != last
    control.select_option(last)
    page.wait_for_function(f"location.hash.includes('{key}={last}')")
    assert pictures(page) != before
    if key == "spot":
        assert page.locator("#explorer .spot").text_content().startswith(f"Spot {last}: measured ")
    else:
        named = control.locator("option").last.text_content().partition(" (p")[0]
        assert named in page.locator("#explorer [aria-live]").text_content()


def test_a_control_of_the_explorer_is_worked_by_keys(explorer):
    page = explorer()
    page.get_by_label("Gene", exact=True).focus()
    outline = page.locator("#explorer-gene").evaluate("element => getComputedStyle(element).outlineStyle")
    before = chosen(page)["gene"]
    page.keyboard.press("ArrowDown")
    page.wait_for_function(f"!location.hash.includes('gene={before}&')")
    assert outline != "none" and chosen(page)["gene"] != before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "explorer-target"


def test_a_gene_is_found_by_part_of_its_name_with_keys_alone(explorer):
    page = explorer()
    genes = [option.get_attribute("value") for option in page.locator("#explorer-gene option").all()]
    page.get_by_label("Search a gene").focus()
    page.keyboard.type(genes[-1].lower())  # whole: shown without a key more
    page.wait_for_function(f"location.hash.includes('gene={genes[-1]}&')")
    part = genes[0][:-1].lower()
    page.keyboard.press("Control+a")
    page.keyboard.type(part)
    page.keyboard.press("Enter")
    found = next(gene for gene in genes if gene.lower().startswith(part))
    page.wait_for_function(f"location.hash.includes('gene={found}&')")
    assert chosen(page)["gene"] == found
    page.get_by_label("Search a gene").fill("notagene")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#explorer .summary').textContent.includes('notagene')")
    assert chosen(page)["gene"] == found


def test_floors_of_the_explorer_are_those_that_the_tables_of_scores_have(explorer, book_html):
    paths = [book_html.parent / "results" / f"{name}.csv.gz" for name in ("predictability", "floors_genes")]
    tables = [pd.read_csv(path, keep_default_na=False, na_values=[""]) for path in paths if path.exists()]
    scores = pd.concat(tables, ignore_index=True)
    known = [floor for floor in backbones.FLOORS if floor in set(scores["backbone"])]
    row = scores.dropna(subset="pcc").iloc[0]
    page = explorer("&".join(f"{key}={row[key]}" for key in OF_GENE))
    keys = page.locator("#explorer [data-key^='floor-']").evaluate_all("all => all.map(one => one.dataset.key)")
    assert keys == [f"floor-{floor}" for floor in known]
    for floor in known:
        of = one(scores[(scores["backbone"] == floor) & (scores["split"] == "section")], {k: row[k] for k in OF_GENE})
        assert number(page, f"floor-{floor}") == shown(of["pcc"])


# When the numbers of a gene stood there and the maps beside them were painted, in ms from the start.
THERE = """new MutationObserver((_, observer) => {
  if (!document.querySelector("#explorer [data-section]")) return;
  observer.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.there = performance.now(); }));
}).observe(document, {childList: true, subtree: true});"""


@pytest.mark.parametrize("file", [EXPLORER, "explorer/index.html"])
def test_the_explorer_is_there_within_a_second(explorer, file):
    """From disk, in its page and in a window of its own; the least of three, as other work slows a page."""
    page = explorer(file=file)
    page.add_init_script(THERE)
    took = [explorer(file=file).wait_for_function("window.there").json_value() for _ in range(3)]
    assert min(took) < 1000


def test_numbers_of_the_explorer_are_those_of_the_tables(explorer, book_html):
    results = book_html.parent / "results"
    read = functools.partial(pd.read_csv, keep_default_na=False, na_values=[""])
    couplings, scores = read(results / "associations.csv.gz"), read(results / "predictability.csv.gz")
    chances, partial = read(results / "score_chance.csv.gz"), read(results / "partial_genes.csv.gz")
    known = couplings.dropna(subset="rho_nuclei").iloc[[0, -1, 7]]
    for section, target, gene in known[OF_GENE].itertuples(index=False):
        page = explorer(f"section={section}&target={target}&gene={gene}&model=ridge")
        here = functools.partial(one, keys=dict(zip(OF_GENE, (section, target, gene), strict=True)))
        for key in ("rho_nuclei", "rho_depth", "rho_nuclei_given_depth"):
            assert number(page, key) == shown(here(couplings)[key])
        ridge = here(scores[scores["backbone"] == "ridge"])
        assert (number(page, "pcc"), number(page, "ceiling")) == (shown(ridge["pcc"]), shown(ridge["ceiling"]))
        assert number(page, "floor-nuclei") == shown(here(scores[scores["backbone"] == "nuclei"])["pcc"])
        chance = shown(here(chances[chances["backbone"] == "ridge"])["chance_95"])
        assert page.locator("#explorer [data-key='pcc'] td").last.text_content() == f"95 % point of chance {chance}"
        for given in ("nuclei", "depth", "both"):
            row = here(partial[(partial["backbone"] == "ridge") & (partial["given"] == given)])
            assert number(page, f"partial_{given}") == shown(row["partial"])


def one(table: pd.DataFrame, keys: dict[str, str]) -> pd.Series:
    """The one row of a table with these keys."""
    rows = table[(table[list(keys)] == pd.Series(keys)).all(axis=1)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_same_gene_stands_in_every_section_and_leads_there(explorer, book_html):
    table = pd.read_csv(book_html.parent / "results/associations.csv.gz").dropna(subset="rho_nuclei")
    gene = table["gene"].iloc[3]
    page = explorer(f"gene={gene}&target=pearson_residual")
    of_gene = table[(table["gene"] == gene) & (table["target"] == "pearson_residual")].set_index("section")
    for section, row in of_gene.iterrows():
        cells = page.locator(f"#explorer [data-section='{section}'] td.number").all_text_contents()
        assert cells[:2] == [shown(row["rho_nuclei"]), shown(row["rho_depth"])]
    page.get_by_role("button", name=of_gene.index[-1], exact=True).click()
    page.wait_for_function(f"location.hash.includes('section={of_gene.index[-1]}')")
    assert page.locator("#explorer [aria-current]").get_attribute("data-section") == of_gene.index[-1]


def test_a_link_to_what_is_not_there_says_so(explorer):
    page = explorer("gene=NOTAGENE&target=log2")
    assert page.locator("#explorer [aria-live]").text_content().startswith("NOTAGENE is not here. ")
    assert chosen(page)["target"] == "log2"


def test_a_committed_run_has_numbers_and_says_why_it_has_no_maps(explorer):
    page = explorer("cohort=mob&model=ridge")
    table = pd.read_csv(ROOT / "data/results/mob/predictability.csv.gz")
    row = one(table[table["backbone"] == "ridge"], {key: chosen(page)[key] for key in OF_GENE})
    assert number(page, "pcc") == shown(row["pcc"])
    assert page.get_by_text("No map: a committed run holds numbers only").is_visible()
    assert not page.locator("#explorer canvas").first.is_visible()


def test_maps_have_words_and_a_spot_is_marked_in_all_of_them(explorer):
    page = explorer(file="explorer/index.html")  # the same in a window of its own
    maps = page.locator("#explorer canvas")
    words = [canvas.get_attribute("aria-label") for canvas in maps.all()]
    assert all(re.match(r"(Map of|Scatter plot) .*\d+ spots", line) for line in words) and len(words) == 6
    before, box = pictures(page), maps.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('#explorer-spot').value")
    assert all(new != old for new, old in zip(pictures(page), before, strict=True))


def test_the_explorer_is_small(book_html):
    folder = book_html / "explorer"
    if not folder.exists():
        pytest.skip(f"the book in {book_html} is older than the explorer: run make book")
    assert sum(path.stat().st_size for path in folder.glob("own*.js")) < 6e6
