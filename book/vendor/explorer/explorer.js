/* The explorer: one gene of one section in one target, its maps and numbers. Plain script, no server, nothing fetched.

   Data are scripts beside this one (helpers/chapters/explorer.py): each calls explorer(name, content). The page loads
   this one, own.js and index.js, which starts it; other files come when they are asked for. What is shown is in the
   address, #section=..&gene=..&target=.., so that a gene can be linked to. */
(() => {
  "use strict";
  const box = document.getElementById("explorer");
  const base = document.currentScript.src.replace(/[^/]*$/, "");
  const KEYS = { cohort: "Cohort", section: "Section", gene: "Gene", target: "Target", model: "Model", spot: "Spot" };
  const LEVELS = 255;
  const VIRIDIS = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b",
    "#fde725"];
  const files = {}, loading = {};
  const state = {};
  let index, cohort, maps, painted, drawing = 0;

  window.explorer = (name, content) => {
    files[name] = content;
    if (name === "index") choose(linked());
  };

  const load = name => files[name] ?? (loading[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${base}${name}.js`;
    script.onload = () => resolve(files[name]);
    script.onerror = () => reject(new Error(`${script.src}: no such file; build the book again`));
    document.head.append(script);
  }));

  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...children);
    return element;
  };

  /* The frame, made once ------------------------------------------------------------------------------------------ */

  const selects = {}, panels = {};
  const search = make("input", { type: "search", id: "explorer-search", list: "explorer-genes", autocomplete: "off" });
  const genes = make("datalist", { id: "explorer-genes" });
  const summary = make("p", { class: "summary", "aria-live": "polite" });
  const noMaps = make("p");
  const spotLine = make("p", { class: "spot" });
  const figures = make("div");
  const numbers = make("div"), others = make("div");

  const frame = () => {
    const controls = make("div", { class: "controls" });
    for (const [key, words] of Object.entries(KEYS)) {
      selects[key] = make("select", { id: `explorer-${key}` });
      selects[key].addEventListener("change", () => choose({ [key]: selects[key].value }));
      if (key === "gene") {
        controls.append(make("div", {}, make("label", { for: search.id }, "Search a gene"), search, genes));
      }
      controls.append(make("div", {}, make("label", { for: `explorer-${key}` }, words), selects[key]));
    }
    const groups = { maps: ["measured", "predicted", "cells", "depth"], scatters: ["against cells", "against depth"] };
    for (const [group, names] of Object.entries(groups)) {
      const grid = make("div", { class: group });
      figures.append(grid);
      for (const name of names) {
        const panel = { title: make("figcaption"), canvas: make("canvas", { role: "img" }), at: [] };
        panels[name] = Object.assign(panel, { legend: make("div", { class: "legend" }) });
        grid.append(make("figure", {}, panel.title, panel.canvas, panel.legend));
        panel.canvas.addEventListener("pointermove", event => point(panel, event));
        panel.canvas.addEventListener("pointerdown", event => point(panel, event));
      }
    }
    // A name that is complete, or taken from the list, is shown at once; Enter takes the first that has what is written.
    search.addEventListener("input", () => find([whole]));
    search.addEventListener("change", () => find([whole, (name, part) => name.startsWith(part),
      (name, part) => name.includes(part)]));
    box.replaceChildren(controls, summary, noMaps, figures, spotLine, numbers, others);
    new ResizeObserver(repaint).observe(figures);
    new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
    // Other links of the page, to its headings, choose nothing.
    window.addEventListener("hashchange", () => { if (Object.keys(linked()).length) choose(linked()); });
  };

  /* What is chosen ------------------------------------------------------------------------------------------------ */

  const linked = () => {
    const named = [...new URLSearchParams(location.hash.slice(1))];
    return Object.fromEntries(named.filter(([key]) => key in KEYS));
  };

  const write = () => {
    const wanted = Object.keys(KEYS).filter(key => state[key] && !(key === "cohort" && state[key] === index[0][0]));
    history.replaceState(null, "", `#${new URLSearchParams(wanted.map(key => [key, state[key]]))}`);
  };

  const whole = (name, written) => name === written;

  const find = kinds => {
    const written = search.value.trim().toUpperCase();
    if (!written || !cohort) return;
    const hits = kinds.map(fits => cohort.genes.find(name => fits(name.toUpperCase(), written)));
    const gene = hits.find(Boolean);
    if (gene) choose({ gene });
    else if (kinds.length > 1) summary.textContent = `No gene here has ${search.value.trim()} in its name.`;
  };

  /* Options of a control and which is chosen: the wanted one, else the first; a wish that is not there is said. */
  const offer = (key, options, missing) => {
    const values = options.map(([value]) => value);
    if (state[key] && !values.includes(state[key])) {
      missing.push(state[key]);
      state[key] = undefined;
    }
    state[key] ??= values[0];
    const select = selects[key];
    select.replaceChildren(...options.map(([value, words]) => make("option", { value }, words)));
    select.value = state[key];
    select.parentElement.hidden = values.length < 2 && key === "cohort";
  };

  const same = names => names.map(name => [name, name]);

  async function choose(changes) {
    const turn = ++drawing, missing = [];
    Object.assign(state, changes);
    try {
      index ??= files.index;
      offer("cohort", index, missing);
      const loaded = await load(state.cohort);
      if (turn !== drawing) return;
      cohort = loaded;
      const sections = Object.keys(cohort.sections), mapped = cohort.maps.length ? cohort.maps : measuredIn(sections);
      offer("section", [...mapped, ...sections.filter(name => !mapped.includes(name))].map(name =>
        [name, cohort.sections[name] ? `${name} (patient ${cohort.sections[name]})` : name]), missing);
      offer("gene", same(cohort.genes), missing);
      genes.replaceChildren(...cohort.genes.map(value => make("option", { value })));
      offer("target", Object.entries(cohort.targets), missing);
      offer("model", same(cohort.models), missing);
      const found = cohort.maps.includes(state.section) ? await load(`${state.cohort}.${state.section}`) : null;
      if (turn !== drawing) return;
      maps = found;
      // A spot of another section is not missed.
      if (!maps?.spots.includes(state.spot)) state.spot = "";
      offer("spot", [["", "none"], ...same(maps?.spots ?? [])], missing);
      write();
      show(missing);
    } catch (error) {
      summary.textContent = error.message;
    }
  }

  const measuredIn = sections => {
    const any = Object.values(cohort.couplings)[0] ?? {};
    return sections.filter(name => any[name]?.rho_nuclei);
  };

  /* Numbers ------------------------------------------------------------------------------------------------------- */

  const gene = () => cohort.genes.indexOf(state.gene);
  const coupling = (column, section = state.section) =>
    cohort.couplings[state.target]?.[section]?.[column]?.[gene()] ?? null;
  const score = (column, backbone = state.model, section = state.section) =>
    cohort.scores[backbone]?.[state.target]?.[section]?.[column]?.[gene()] ?? null;

  const three = value => value === null ? "–" : value.toFixed(3).replace(/^-(0\.000)$/, "$1");
  const asP = value => value === null ? "" : `p ${value < 0.001 ? value.toPrecision(1) : value.toFixed(3)}`;
  const short = value => {
    const size = Math.abs(value);
    const digits = { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 };
    return value.toLocaleString("en", digits).replace(/^-0$/, "0");
  };

  const rows = () => {
    const { cells } = cohort, model = state.model;
    const chance = score("chance_95");
    return [
      [`PCC of ${model}`, score("pcc"), chance === null ? "" : `95 % point of chance ${three(chance)}`, "pcc"],
      ["noise ceiling of a PCC", coupling("ceiling"), "", "ceiling"],
      ...Object.entries(cohort.floors).map(([floor, words]) =>
        [`PCC of ${words}`, score("pcc", floor), floor === "depth" ? "no image holds it" : "floor", `floor-${floor}`]),
      [`partial PCC of ${model} given ${cells}`, score("partial_nuclei"), "", "partial_nuclei"],
      [`partial PCC of ${model} given depth`, score("partial_depth"), "", "partial_depth"],
      [`partial PCC of ${model} given both`, score("partial_both"), "", "partial_both"],
      [`ρ of the target with ${cells}`, coupling("rho_nuclei"), asP(coupling("p_nuclei")), "rho_nuclei"],
      ["ρ of the target with depth", coupling("rho_depth"), asP(coupling("p_depth")), "rho_depth"],
      [`ρ of the target with ${cells} given depth`, coupling("rho_nuclei_given_depth"),
        asP(coupling("p_nuclei_given_depth")), "rho_nuclei_given_depth"],
    ];
  };

  const WORDS = ["quantity", "beside it", "section", "patient"]; // heads of columns that hold no number
  const table = (caption, heads, body) => {
    const cells = heads.map(head => make("th", { scope: "col", class: WORDS.includes(head) ? "" : "number" }, head));
    const head = make("thead", {}, make("tr", {}, ...cells));
    return make("table", {}, make("caption", {}, caption), head, make("tbody", {}, ...body));
  };

  const here = () => `${state.gene}, ${cohort.targets[state.target]}`;

  const showNumbers = () => {
    const body = rows().map(([words, value, beside, key]) => make("tr", { "data-key": key },
      make("th", { scope: "row" }, words), make("td", { class: "number" }, three(value)), make("td", {}, beside)));
    const verdict = cohort.verdicts[state.model]?.[state.target]?.[gene()];
    if (verdict) {
      const words = make("th", { scope: "row" }, "verdict over patients");
      body.push(make("tr", { "data-key": "verdict" }, words, make("td", { colspan: 2 }, verdict)));
    }
    numbers.replaceChildren(table(`${here()}, in ${state.section}`, ["quantity", "value", "beside it"], body));
  };

  const showOthers = () => {
    const { cells } = cohort;
    const columns = [
      [`ρ ${cells}`, name => coupling("rho_nuclei", name)],
      ["ρ depth", name => coupling("rho_depth", name)],
      [`ρ ${cells} given depth`, name => coupling("rho_nuclei_given_depth", name)],
      [`PCC ${state.model}`, name => score("pcc", state.model, name)],
      ["chance (95 %)", name => score("chance_95", state.model, name)],
      ["ceiling", name => coupling("ceiling", name)],
      ...Object.entries(cohort.floors).map(([floor, words]) => [`PCC ${words}`, name => score("pcc", floor, name)]),
    ];
    const body = [...selects.section.options].map(({ value }) => {
      const button = make("button", { type: "button" }, value);
      button.addEventListener("click", () => choose({ section: value }));
      return make("tr", { "data-section": value, ...(value === state.section && { "aria-current": "true" }) },
        make("th", { scope: "row" }, button), make("td", {}, cohort.sections[value]),
        ...columns.map(([, of]) => make("td", { class: "number" }, three(of(value)))));
    });
    const caption = `${here()}, in every section`;
    const region = { class: "frame", tabindex: 0, role: "region", "aria-label": caption };
    others.replaceChildren(make("div", region,
      table(caption, ["section", "patient", ...columns.map(([head]) => head)], body)));
  };

  const sentence = () => {
    const { cells } = cohort, parts = [];
    if (coupling("rho_nuclei") !== null) parts.push(`ρ with ${cells} ${three(coupling("rho_nuclei"))}`);
    parts.push(`ρ with depth ${three(coupling("rho_depth"))}`);
    if (score("pcc") !== null) {
      const chance = score("chance_95");
      parts.push(`PCC of ${state.model} ${three(score("pcc"))}${chance === null ? "" : ` (chance ${three(chance)})`}, ` +
        `ceiling ${three(coupling("ceiling"))}`);
    }
    return `${here()}, in section ${state.section}: ${parts.join("; ")}.`;
  };

  const show = missing => {
    summary.textContent = missing.map(name => `${name} is not here. `).join("") + sentence();
    figures.hidden = spotLine.hidden = !maps;
    noMaps.hidden = Boolean(maps);
    noMaps.textContent = cohort.maps.length ? "No map: this section has no image, hence no prediction."
      : "No map: a committed run holds numbers only. Build the book of this cohort to see its maps.";
    showNumbers();
    showOthers();
    paint();
  };

  /* Maps ---------------------------------------------------------------------------------------------------------- */

  /* A gene of a layer: its values at every spot, null where there is none. */
  const values = layer => {
    const at = maps.genes.indexOf(state.gene), n = maps.spots.length;
    if (!layer || at < 0) return null;
    layer.bytes ??= atob(layer.codes);
    const step = (layer.high[at] - layer.low[at]) / LEVELS;
    const found = Array.from({ length: n }, (_, i) => layer.low[at] + step * layer.bytes.charCodeAt(at * n + i));
    return Object.assign(found, { digits: step > 0 ? Math.max(0, Math.floor(-Math.log10(step))) : 2 });
  };

  const quantities = () => {
    const name = cohort.targets[state.target];
    const predicted = maps.predicted[state.model]?.[state.target];
    return {
      measured: { title: `${state.gene} measured`, unit: name, values: values(maps.measured[state.target]) },
      predicted: { title: `${state.gene} predicted by ${state.model}`, unit: name, values: values(predicted) },
      cells: { title: cohort.cells, unit: cohort.unit, values: maps.cells },
      depth: { title: "depth", unit: "molecules per spot, logarithmic", values: maps.depth, log: true },
    };
  };

  const quantile = (sorted, q) => sorted[Math.round(q * (sorted.length - 1))];

  const colour = t => {
    const x = Math.min(1, Math.max(0, t)) * (VIRIDIS.length - 1), i = Math.min(VIRIDIS.length - 2, Math.floor(x));
    const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
    const mix = k => Math.round(part(VIRIDIS[i], k) + (x - i) * (part(VIRIDIS[i + 1], k) - part(VIRIDIS[i], k)));
    return `rgb(${mix(0)} ${mix(1)} ${mix(2)})`;
  };

  const look = () => {
    const style = getComputedStyle(box);
    const token = name => {
      const probe = make("span", { style: `color: var(${name})` });
      box.append(probe);
      const found = getComputedStyle(probe).color;
      probe.remove();
      return found;
    };
    const [muted, line, point] = ["--muted", "--line", "--point"].map(token);
    return { text: style.color, muted, line, point, font: `12px ${style.fontFamily}` };
  };

  const pen = (canvas, height) => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
    canvas.style.height = `${height}px`;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    return context;
  };

  const disc = (context, x, y, radius) => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
  };

  const ring = (context, panel, radius, look) => {
    const marked = maps.spots.indexOf(state.spot);
    if (marked < 0) return;
    disc(context, ...panel.at[marked], radius + 3);
    Object.assign(context, { strokeStyle: look.text, lineWidth: 2 });
    context.stroke();
  };

  const drawMap = (panel, { title, unit, values, log }, look) => {
    panel.title.textContent = title;
    const { x, y, pitch } = maps, width = panel.canvas.clientWidth;
    const wide = Math.max(...x) + 2 * pitch, high = Math.max(...y) + 2 * pitch;
    const scale = Math.min(width / wide, 1.3 * width / high), left = (width - scale * wide) / 2;
    const context = pen(panel.canvas, scale * high + 22), radius = 0.375 * pitch * scale;
    panel.at = x.map((_, i) => [left + scale * (x[i] + pitch), scale * (y[i] + pitch)]);
    if (!values) {
      panel.at = [];
      panel.legend.replaceChildren("not kept for this target");
      panel.canvas.setAttribute("aria-label", `${title}: not kept for this target`);
      return;
    }
    const sorted = [...values].sort((a, b) => a - b), low = quantile(sorted, 0.01), top = quantile(sorted, 0.99);
    const on = log ? Math.log : value => value, span = on(top) - on(low);
    Object.assign(context, { lineWidth: 0.5, strokeStyle: look.muted });
    values.forEach((value, i) => {
      disc(context, ...panel.at[i], radius);
      context.fillStyle = colour(span > 0 ? (on(value) - on(low)) / span : 0.5);
      context.fill();
      context.stroke();
    });
    Object.assign(context, { fillStyle: look.text, strokeStyle: look.text, font: look.font, textBaseline: "middle" });
    const bar = scale * 1000, bottom = scale * high + 8;
    context.fillRect(left + scale * pitch, bottom, bar, 3);
    context.fillText("1 mm", left + scale * pitch + bar + 6, bottom + 2);
    ring(context, panel, radius, look);
    const gradient = make("span", { class: "bar", style: `background: linear-gradient(to right, ${VIRIDIS})` });
    panel.legend.replaceChildren(`≤ ${short(low)}`, gradient, `≥ ${short(top)}`, make("span", { class: "unit" }, unit));
    panel.canvas.setAttribute("aria-label", `Map of ${values.length} spots of ${state.section}: ${title}, ${unit}. ` +
      `Least ${short(sorted[0])}, median ${short(quantile(sorted, 0.5))}, largest ${short(sorted.at(-1))}.`);
  };

  /* Round numbers within a range: about five, or 1, 2 and 5 of each power of ten. */
  const ticks = (low, high, log) => {
    const found = [];
    if (log) {
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
      }
      const within = found.filter(tick => tick >= low && tick <= high);
      return within.filter((_, i) => i % Math.ceil(within.length / 5) === 0);
    }
    const rough = (high - low) / 6 || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find(digit => digit * power >= rough);
    for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(tick);
    return found;
  };

  const axisOf = (values, from, to, log = false) => {
    const low = Math.min(...values), high = Math.max(...values), on = log ? Math.log : v => v;
    const span = on(high) - on(low) || 1;
    return { at: value => from + (to - from) * (on(value) - on(low)) / span, ticks: ticks(low, high, log) };
  };

  const drawScatter = (panel, across, up, rho, look) => {
    const width = panel.canvas.clientWidth, height = Math.min(0.85 * width, 300);
    const context = pen(panel.canvas, height), bottom = height - 38;
    panel.title.textContent = `${up.title} against ${across.title}: ρ ${three(rho)}`;
    const x = axisOf(across.values, 62, width - 12, across.log), y = axisOf(up.values, bottom - 8, 10);
    panel.at = across.values.map((value, i) => [x.at(value), y.at(up.values[i])]);
    Object.assign(context, { strokeStyle: look.line, fillStyle: look.text, font: look.font, lineWidth: 1 });
    context.strokeRect(52.5, 2.5, width - 54, bottom - 2);
    context.textAlign = "center";
    x.ticks.forEach(tick => context.fillText(short(tick), x.at(tick), bottom + 14));
    context.fillText(across.unit, (52 + width) / 2, bottom + 31);
    context.textAlign = "right";
    y.ticks.forEach(tick => context.fillText(short(tick), 48, y.at(tick) + 4));
    context.save();
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(up.unit, -bottom / 2, 14);
    context.restore();
    context.fillStyle = look.point;
    context.globalAlpha = 0.65;
    for (const at of panel.at) {
      disc(context, ...at, 3);
      context.fill();
    }
    context.globalAlpha = 1;
    ring(context, panel, 3, look);
    panel.canvas.setAttribute("aria-label", `Scatter plot of ${up.title}, ${up.unit}, against ${across.unit} in ` +
      `${panel.at.length} spots of ${state.section}: Spearman's ρ ${three(rho)}.`);
  };

  const size = now => [figures.clientWidth, window.devicePixelRatio, ...Object.values(now)].join();

  /* Once more where the width or the colours are others: as a page opens both are told again unchanged. */
  const repaint = () => { if (maps && size(look()) !== painted) paint(); };

  function paint() {
    if (!maps || !figures.clientWidth) return;
    const found = quantities(), now = look();
    painted = size(now);
    for (const [name, quantity] of Object.entries(found)) drawMap(panels[name], quantity, now);
    drawScatter(panels["against cells"], found.cells, found.measured, coupling("rho_nuclei"), now);
    drawScatter(panels["against depth"], found.depth, found.measured, coupling("rho_depth"), now);
    const i = maps.spots.indexOf(state.spot);
    const round = list => list ? list[i].toFixed(list.digits) : "–";
    spotLine.textContent = i < 0 ? "Point at a spot, or choose one above, to see it in every picture." :
      `Spot ${state.spot}: measured ${round(found.measured.values)}, predicted ${round(found.predicted.values)}; ` +
      `${short(maps.cells[i])} ${cohort.unit}; ${maps.depth[i].toLocaleString("en")} molecules.`;
  }

  /* The spot nearest to the pointer is marked in every picture. */
  const point = (panel, event) => {
    let best = -1, least = 20 ** 2;
    panel.at.forEach(([x, y], i) => {
      const distance = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    if (best < 0 || state.spot === maps.spots[best]) return;
    state.spot = selects.spot.value = maps.spots[best];
    paint();
  };

  frame();
  summary.textContent = `No numbers yet. Where none follow, ${base}index.js is missing: build the book again.`;
})();
