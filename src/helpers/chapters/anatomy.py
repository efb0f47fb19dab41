"""What a PCC-k is made of, and the gap between targets: parts that sum to the whole, in an order that is stated.

With unit columns x (measured) and y (predicted) of a gene, r = <x, y>. Let x = sum x_p, orthogonal pieces: what library
says of x, what nuclei add, what place adds, what the prediction's own composition adds, the rest: r = sum <x_p, y>.
Noise of counts is orthogonal to any y but for chance: it only lengthens x, so that each part is its noise-free value
times the ceiling c, and 1 = r + (c - r) + (1 - c): predicted, not predicted, counting noise. Between targets r = c q,
r - r' = (c - c') (q + q') / 2 + (q - q') (c + c') / 2, and q is a sum of parts. Either target has its own k best genes:
this is the mean over both sets, and what the sets make is a part of its own. Halves as these are Shapley values.
What comes first takes what it shares with what follows: library the composition that goes with depth, place the one
that lies smoothly. Tables have section, patient, split, backbone, part and value, those of scores also target.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix
from scipy.spatial.distance import cdist

from helpers.chapters.cross_space import Fits, section_ceilings
from helpers.columns import pearson, unit
from helpers.labels import counted, label
from helpers.models.backbones import FLOORS, MODELS, place
from helpers.schema import COUNTS, LATTICE, SPATIAL, cellularity, patients_of
from helpers.scores import judge, partial, spatial, top_genes
from helpers.targets import normalization
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL, TARGETS

LIBRARY, NUCLEI, PLACE, COMPOSITION, REST = PARTS = (
    "library",
    "nuclei given library",
    "place",
    "composition left",
    "rest",
)
NOT_PREDICTED, NOISE, GENES = "not predicted", "counting noise", "other genes"
TO_ONE = (*PARTS, NOT_PREDICTED, NOISE)  # what r lacks of 1 besides
GAP = (NOISE, *PARTS, GENES)
OF_ANSWER = (LIBRARY, COMPOSITION)
CEILING = "ceiling"
DIVIDED = LOG_CP10K  # a space without library, from which there is an exact way back
FEW = 9  # up to so many patients each is named
ERRORS = (0.0, 0.2, 0.5)  # of a guessed log depth
KEYS = ["section", "patient", "split", "backbone"]

# One prediction of one section ----------------------------------------------------------------------------------


def own_composition(predicted: np.ndarray, target: str, section: AnnData, genes: Sequence[str]) -> np.ndarray:
    """A prediction with one library for all spots: what is left of it where its own library is divided out."""
    if not TARGETS[target].holds_depth:
        return np.asarray(predicted, float)
    divided = judge.in_space(predicted, target, DIVIDED, section, genes)
    return judge.in_space(divided, DIVIDED, target, section, genes)


def functions_of_parts(
    section: AnnData, genes: Sequence[str], target: str, predicted: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """What each part but the rest is a function of, in the order in which it is taken out.

    Library and nuclei as `judge.covariate_sets` holds them fixed. Place: what the floor of that name looks at.
    """
    held = judge.covariate_sets(section, target, genes)
    return {
        LIBRARY: held["depth"],
        NUCLEI: held["nuclei"],
        PLACE: [*place(section).T],
        COMPOSITION: [own_composition(predicted, target, section, genes)],
    }


def take_apart(section: AnnData, genes: Sequence[str], target: str, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The measured genes of a section in pieces, one for each of PARTS: spots x genes (`partial.pieces`)."""
    return in_parts(judge.measured(section, target, genes), functions_of_parts(section, genes, target, predicted))


def in_parts(measured: np.ndarray, given: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """`partial.pieces` of measured genes, spots x genes each, the last of which is the rest."""
    found = partial.pieces(measured, given)
    return found | {REST: found.pop(partial.LEFT)}


def of_genes(pieces: Mapping[str, np.ndarray], predicted: np.ndarray, ceiling: np.ndarray) -> pd.DataFrame:
    """Parts of r of every gene, a row each, that add up to its r; and its ceiling. Pieces are spots x genes."""
    y = unit(predicted)
    return pd.DataFrame({part: (piece * y).sum(axis=0) for part, piece in pieces.items()}).assign(ceiling=ceiling)


def best(by_gene: pd.DataFrame, k: int) -> np.ndarray:
    """Positions of the k genes of PCC-k."""
    return top_genes.top_k(by_gene[list(PARTS)].sum(axis=1, skipna=False).to_numpy(), k)


def of_score(by_gene: pd.DataFrame, genes: np.ndarray) -> pd.Series:
    """`TO_ONE` of the mean r of some genes, given by position: PARTS sum to that mean, all of them to 1.

    Not predicted is below 0 where a score exceeds its ceiling.
    """
    mean = by_gene.iloc[genes].mean()
    lacking = {NOT_PREDICTED: mean[CEILING] - mean[list(PARTS)].sum(), NOISE: 1 - mean[CEILING]}
    return pd.concat([mean[list(PARTS)], pd.Series(lacking)])


def of_gap(first: pd.DataFrame, second: pd.DataFrame, sets: Sequence[np.ndarray]) -> pd.Series:
    """`GAP` of the PCC-k of one target less that of another, parts that sum to it; both as from `of_genes`.

    `sets` are the positions of the genes of either PCC-k. Counting noise is what unequal ceilings make, other genes
    what comes of each target having its own.
    """
    halves, scores = [], []
    for genes in sets:
        one, other = (side.iloc[genes].mean() for side in (first, second))
        a, b, c, d = one[list(PARTS)], other[list(PARTS)], one[CEILING], other[CEILING]
        scores.append((a.sum(), b.sum()))
        noise = pd.Series({NOISE: (c - d) * (a.sum() / c + b.sum() / d) / 2})
        halves.append(pd.concat([noise, (a / c - b / d) * (c + d) / 2]))
    (own, other_on_own), (own_on_other, other) = scores
    return pd.concat([sum(halves) / 2, pd.Series({GENES: (own - own_on_other + other_on_own - other) / 2})])


def chance(
    pieces: Mapping[str, np.ndarray], predicted: np.ndarray, spots: np.ndarray, k: int, n_draws: int = judge.N_DRAWS
) -> dict[str, float]:
    """95 % point of each part for predictions as smooth that lie elsewhere, each draw with its own k best genes.

    `spots` is `judge.basis`. Composition is here all that place leaves; the rest, a remainder of it, has no entry.
    """
    whole = dict(pieces) | {COMPOSITION: pieces[COMPOSITION] + pieces[REST]}
    del whole[REST]
    defined = np.isfinite((sum(whole.values()) * unit(predicted)).sum(axis=0))
    k, drawn = min(k, int(defined.sum())), {}
    if k == 0:
        return dict.fromkeys(whole, np.nan)
    for part, piece in whole.items():
        length = np.linalg.norm(piece[:, defined], axis=0)[:, None]
        null = spatial.null_correlations(piece[:, defined], predicted[:, defined], spots, n_draws=n_draws)[1]
        drawn[part] = np.nan_to_num(null) * length  # no piece, no part
    chosen = np.argpartition(-sum(drawn.values()), k - 1, axis=0)[:k]
    means = {part: np.take_along_axis(null, chosen, axis=0).mean(axis=0) for part, null in drawn.items()}
    return {part: float(np.quantile(mean, 0.95)) for part, mean in means.items()}


# All of them ----------------------------------------------------------------------------------------------------


def score_fits(
    fits: Fits, sections: Mapping[str, AnnData], ceilings: pd.DataFrame, k: int, n_draws: int = judge.N_DRAWS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Parts of every PCC-k and of every gap between log2 and residual, means over seeds: two tidy tables.

    `ceilings` has section, target, gene and ceiling. The first table has a row for each of TO_ONE and chance_95 (NaN
    where a part has none), the second a row for each of GAP.
    """
    spots, patients = {name: judge.basis(section) for name, section in sections.items()}, patients_of(sections)
    scores, gaps = [], []
    for (name, split, backbone, _, genes), values in fits.items():
        section, genes = sections[name], list(genes)
        known, found = section_ceilings(ceilings, name, genes), {}
        keys = dict(zip(KEYS, (name, patients[name], split, backbone), strict=True))
        for target in (target for target in (LOG, RESIDUAL) if target in values):
            predicted = values[target].loc[section.obs_names].to_numpy(float)
            pieces = take_apart(section, genes, target, predicted)
            found[target] = of_genes(pieces, predicted, known[target])
            table = of_score(found[target], best(found[target], k)).rename("value").to_frame()
            table["chance_95"] = pd.Series(chance(pieces, predicted, spots[name], k, n_draws))
            scores.append(table.rename_axis("part").reset_index().assign(**keys, target=target))
        if len(found) == 2:
            gap = of_gap(*found.values(), [best(side, k) for side in found.values()]).rename("value")
            gaps.append(gap.rename_axis("part").reset_index().assign(**keys))
    return _over_seeds(scores, [*KEYS, "target", "part"]), _over_seeds(gaps, [*KEYS, "part"])


def _over_seeds(tables: Sequence[pd.DataFrame], keys: Sequence[str]) -> pd.DataFrame:
    """Tables in one, means over seeds, models before floors."""
    if not tables:
        return pd.DataFrame(columns=[*keys, "value"])
    table = pd.concat(tables, ignore_index=True).groupby(list(keys), sort=False).mean().reset_index()
    order = {name: i for i, name in enumerate([*MODELS, *FLOORS])}
    return table.sort_values("backbone", key=lambda names: names.map(order), kind="stable", ignore_index=True)


def guessed_depth(
    sections: Mapping[str, AnnData], panels: Mapping[str, Sequence[str]], k: int, errors: Sequence[float] = ERRORS
) -> pd.DataFrame:
    """Parts of predictions in log2 that know nothing but depth, with an error (sd of its log) and without: the control.

    Columns section, error, part and value; all but library is chance.
    """
    tables = []
    for (name, section), error in product(sections.items(), errors):
        genes, share = list(panels[name]), judge.levels(section, panels[name])[0]
        total = normalization.library_size(section)
        guess = total * np.exp(error * np.random.default_rng(0).normal(size=len(total)))
        predicted = TARGETS[LOG].values(np.outer(guess, share), guess, share)
        by_gene = of_genes(take_apart(section, genes, LOG, predicted), predicted, np.nan)
        parts = of_score(by_gene, best(by_gene, k))[list(PARTS)].rename("value")
        tables.append(parts.rename_axis("part").reset_index().assign(section=name, error=error))
    return pd.concat(tables, ignore_index=True)


# Known truth ----------------------------------------------------------------------------------------------------

SKILL = {LIBRARY: 0.8, NUCLEI: 0.8, PLACE: 0.7, COMPOSITION: 0.5}  # of the simulated model
SPREAD = {NUCLEI: 0.15, PLACE: 0.25, COMPOSITION: 0.4}  # sd over genes of the log fold change of a map
OWN_ERROR = 0.2  # of the model's log library, and of its log composition gene by gene


class KnownSection(NamedTuple):
    """A section of which all is known but what is counted; spots x genes, the last stands for all beside the panel."""

    expected: np.ndarray  # counts
    average: np.ndarray  # counts at the same depth and average composition
    waves: np.ndarray  # spots x 2, which composition follows besides nuclei and rougher maps
    believed: np.ndarray  # the counts that a model expects: it knows SKILL of each part, and errs besides
    section: AnnData  # places and nuclei, without counts

    def values(self, counts: np.ndarray, target: str) -> np.ndarray:
        """The panel of some counts in a target."""
        share = counts.sum(axis=0) / counts.sum()
        return normalization.clip(TARGETS[target].values(counts[:, :-1], counts.sum(axis=1), share[:-1]), target)

    def given(self, target: str, smooth: bool = True) -> dict[str, list[np.ndarray]]:
        """The true `functions_of_parts`; place is any smooth map, or the waves alone. Noise leaves the rest nothing."""
        nuclei = cellularity(self.section)
        library = [np.log(self.expected.sum(axis=1))]
        if TARGETS[target].holds_depth:
            library.append(self.values(self.average, target))
        return {
            LIBRARY: library,
            NUCLEI: [nuclei, np.log1p(nuclei)],
            PLACE: [*place(self.section).T] if smooth else [*self.waves.T],
            COMPOSITION: [self.values(self.expected, target)],
        }

    def draw(self, rng: np.random.Generator) -> AnnData:
        """The section with Poisson counts."""
        drawn = self.section.copy()
        drawn.layers[COUNTS] = csr_matrix(rng.poisson(self.expected).astype(float))
        return drawn


def known_section(
    xy: np.ndarray, depth: np.ndarray, nuclei: np.ndarray, length: float = 1.0, n_genes: int = 100, seed: int = 0
) -> KnownSection:
    """A section with spots at `xy` (lattice steps), an expected depth and nuclei of each, and composition made up.

    The composition of a gene follows the log of nuclei, two waves over twice as long as the section is wide, and three
    maps that are smooth over `length` steps. What is not in the panel follows none of them.
    """
    rng, n = np.random.default_rng(seed), len(xy)
    nearby = np.exp(-cdist(xy, xy, "sqeuclidean") / 2 / length**2)
    maps = {
        NUCLEI: _maps(np.log1p(nuclei)),
        PLACE: _maps(_waves(xy, rng)),
        COMPOSITION: _maps(nearby @ rng.normal(size=(n, 3))),
    }
    folds = {part: x @ rng.normal(0, SPREAD[part], (x.shape[1], n_genes)) for part, x in maps.items()}
    base, library = np.append(0.4 * rng.dirichlet(np.full(n_genes, 2.0)), 0.6), np.log(depth)
    guessed = SKILL[LIBRARY] * (library - library.mean()) + OWN_ERROR * rng.normal(size=n) + library.mean()
    wrong = OWN_ERROR * _maps(nearby @ rng.normal(size=(n, n_genes)))
    expected = _counts(library, base, sum(folds.values()))
    believed = _counts(guessed, base, sum((SKILL[part] * fold for part, fold in folds.items()), wrong))
    obs = pd.DataFrame({"n_nuclei": nuclei}, index=[f"spot{i}" for i in range(n)])
    section = AnnData(obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes + 1)]))
    section.obsm[SPATIAL] = np.asarray(xy, float)
    return KnownSection(expected, np.outer(depth, base), maps[PLACE], believed, section)


def _maps(values: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and sd 1."""
    return unit(values) * np.sqrt(len(values))


def _waves(xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two waves across a section, of a quarter of a period to a half: spots x 2."""
    angle = rng.uniform(0, 2 * np.pi, 2)
    along = np.asarray(xy, float) @ np.array([np.cos(angle), np.sin(angle)])
    return np.sin(rng.uniform(0.5, 1, 2) * np.pi * along / np.ptp(along, axis=0) + rng.uniform(0, 2 * np.pi, 2))


def _counts(log_library: np.ndarray, base: np.ndarray, log_fold: np.ndarray) -> np.ndarray:
    """Expected counts; `log_fold` is spots x genes of the panel, `base` has all that are not in it at its end."""
    share = base * np.exp(np.pad(log_fold, ((0, 0), (0, 1))))
    return np.exp(log_library)[:, None] * share / share.sum(axis=1, keepdims=True)


def recovered(truth: KnownSection, k: int = 50, n_draws: int = 10, seed: int = 0) -> pd.DataFrame:
    """Parts as this page finds them on one draw of counts beside the true ones, for the same k genes.

    True parts are means over `n_draws` other draws, by `Known.given`; the true ceiling is the root of the correlation
    of two draws. Columns of (a target, or gap), part, found, true, and made: with the waves alone as place.
    """
    rng, genes = np.random.default_rng(seed), list(truth.section.var_names[:-1])
    drawn, *others = (truth.draw(rng) for _ in range(n_draws + 1))
    sides: dict[str, dict[str, pd.DataFrame]] = {"found": {}, "true": {}, "made": {}}
    for target in (LOG, RESIDUAL):
        predicted = truth.values(truth.believed, target)
        pieces = take_apart(drawn, genes, target, predicted)
        sides["found"][target] = of_genes(pieces, predicted, judge.ceilings(drawn, target, genes))
        measured = [judge.measured(other, target, genes) for other in others]
        ceiling = np.sqrt(np.maximum(np.mean([pearson(*pair) for pair in pairwise(measured)], axis=0), 0))
        for side, smooth in (("true", True), ("made", False)):
            given = truth.given(target, smooth)
            parts = [of_genes(in_parts(values, given), predicted, ceiling) for values in measured]
            sides[side][target] = sum(parts) / n_draws
    sets = {target: best(table, k) for target, table in sides["found"].items()}
    of = {target: {side: of_score(tables[target], sets[target]) for side, tables in sides.items()} for target in sets}
    of["gap"] = {side: of_gap(*tables.values(), list(sets.values())) for side, tables in sides.items()}
    tables = [pd.DataFrame(table).rename_axis("part").reset_index().assign(of=name) for name, table in of.items()]
    return pd.concat(tables, ignore_index=True)[["of", "part", "found", "true", "made"]]


def recovered_sections(sections: Mapping[str, AnnData], k: int, lengths: Sequence[float] = (1.0, 3.0)) -> pd.DataFrame:
    """`recovered` on places, depths and nuclei of the shallowest and the deepest section; also section and length."""
    by_depth = sorted(sections, key=lambda name: np.median(normalization.library_size(sections[name])))
    tables = []
    for name, length in product(dict.fromkeys([by_depth[0], by_depth[-1]]), lengths):
        section = sections[name]
        depth, nuclei = normalization.library_size(section), cellularity(section)
        truth = known_section(section.obsm[LATTICE], depth, nuclei, length)
        tables.append(recovered(truth, k).assign(section=name, length=length))
    return pd.concat(tables, ignore_index=True)


# Tables and sentences -------------------------------------------------------------------------------------------


def parts_by_section(scores: pd.DataFrame) -> pd.DataFrame:
    """Parts in columns, with the PCC-k that they sum to: a row each backbone, target and section, and their means."""
    means = scores.groupby(["backbone", "target", "part"], sort=False)["value"].mean().reset_index()
    wide = pd.concat([scores, means.assign(section="mean")])
    wide = wide.pivot_table("value", ["backbone", "target", "section"], "part", sort=False)[list(TO_ONE)]
    wide.insert(0, "PCC", wide[list(PARTS)].sum(axis=1))
    blocks = [part for _, part in wide.groupby(level=["backbone", "target"], sort=False)]
    return pd.concat(blocks).rename_axis(columns=None)


def over(table: pd.DataFrame) -> str:
    """What means are over: sections and patients, by name where they are few."""
    patients = sorted(table["patient"].unique())
    names = f" ({', '.join(patients)})" if len(patients) <= FEW else ""
    return f"{counted(table['section'].nunique(), 'sections')} of {counted(len(patients), 'patients')}{names}"


def answer(scores: pd.DataFrame, gaps: pd.DataFrame, k: int) -> str:
    """Library and composition in the PCC-k of each model in both targets, and in the gap between them (Markdown).

    Takes what `score_fits` returns, of one split; means, as parts sum in means only.
    """
    lines, largest = [], []
    for backbone, part in scores[scores["backbone"].isin(MODELS)].groupby("backbone", sort=False):
        words, first = [], not lines
        for target in (name for name in (LOG, RESIDUAL) if name in set(part["target"])):
            mean = part[part["target"] == target].groupby("part")[["value", "chance_95"]].mean()
            parts = (f"{name} {_two(mean['value'][name])} [{_two(mean['chance_95'][name])}]" for name in OF_ANSWER)
            whole = mean["value"][list(PARTS)].sum()
            words.append(f"**{_two(whole)}** in {label(target)}, of it {', '.join(parts)}")
            over_chance = (mean["value"] - mean["chance_95"])[list(PARTS)]
            most = over_chance.idxmax()
            value, chance = map(_two, mean.loc[most])
            largest += [f"{most} in {label(target)} ({value} of {_two(whole)}, chance {chance})"] * first
        own = gaps[gaps["backbone"] == backbone].groupby("part")["value"].mean()
        made = ", ".join(f"{name} {_two(own[name])}" for name in (NOISE, *OF_ANSWER)) if len(own) else ""
        words += [f"of the gap of **{_two(own.sum())}**, {made}"] * bool(made)
        lines.append(f"with `{backbone}` {'; '.join(words)}")
    return (
        f"**Furthest above its chance is {' and '.join(largest)}.** PCC-{k}, means over {over(scores)}, in "
        f"brackets the 95 % point of chance: {'; '.join(lines)}. "
        "With the parts not named here they sum to the score and to the gap; a part taken out earlier has what it "
        "shares with later ones, place with composition."
    )


def score_sentences(scores: pd.DataFrame, k: int) -> str:
    """What the PCC-k of each model in each target is made of, beside chance: a line (Markdown) each."""
    lines = [f"Means over {over(scores)}; in brackets the 95 % point of chance.\n"]
    for (backbone, target), part in scores[scores["backbone"].isin(MODELS)].groupby(["backbone", "target"], sort=False):
        mean = part.groupby("part", sort=False)[["value", "chance_95"]].mean()
        value = mean["value"]
        terms = [f"{name} {_two(value[name])} [{_two(mean['chance_95'][name])}]" for name in PARTS[:-1]]
        own = part[part["part"] == COMPOSITION]
        above = (own["value"] > own["chance_95"]).sum()
        lines.append(
            f"- `{backbone}`, {label(target)}: PCC-{k} **{_two(value[list(PARTS)].sum())}** is {', '.join(terms)} and "
            f"{REST} {_two(value[REST])}. To 1 it lacks {_two(value[NOT_PREDICTED])} that was not predicted and "
            f"{_two(value[NOISE])} that is counting noise. Composition is above chance in {above} of "
            f"{counted(len(own), 'sections')}."
        )
    return "\n".join(lines)


def gap_sentences(gaps: pd.DataFrame, k: int) -> str:
    """What the gap between log2 and residual is made of: a line (Markdown) a model."""
    lines = []
    for backbone, part in gaps[gaps["backbone"].isin(MODELS)].groupby("backbone", sort=False):
        mean = part.groupby("part", sort=False)["value"].mean()
        whole = part.groupby(["patient", "section"])["value"].sum()
        patients = whole.groupby("patient").mean()
        named = f"; patients {', '.join(f'{name} {_two(v)}' for name, v in patients.items())}"
        lines.append(
            f"- `{backbone}`, means over {over(part)}: the gap in PCC-{k} is **{_two(mean.sum())}** (sections "
            f"{_two(whole.min())} to {_two(whole.max())}{named if len(patients) <= FEW else ''}), of which "
            f"{', '.join(f'{name} {_two(mean[name])}' for name in GAP)}."
        )
    return "\n".join(lines) or "No model was trained both on logs and on residuals in this run."


def control_sentence(control: pd.DataFrame) -> str:
    """What a prediction that knows nothing but depth scores, and how much of it is besides library."""
    scores = control.groupby(["error", "section"], sort=False)["value"].sum().groupby("error", sort=False).mean()
    terms = [f"{_two(score)} with an error of {error:.0%}" for error, score in scores.items()]
    besides = control.loc[control["part"] != LIBRARY, "value"].abs().max()
    return (
        f"In {label(LOG)}, mean over {counted(control['section'].nunique(), 'sections')}, it scores {', '.join(terms)} "
        f"in its log depth (standard deviation); in no section is a part besides library further than {besides:.2f} "
        "from 0."
    )


def known_sentences(table: pd.DataFrame) -> str:
    """How far found parts lie from true ones, what composition is worth in either target, what place takes of it."""
    noise, apart = table["part"] == NOISE, (table["found"] - table["true"]).abs()
    lines = [
        f"On {counted(table['section'].nunique(), 'sections')} of known truth, {(~noise).sum()} parts of scores and of "
        f"gaps lie at most **{apart[~noise].max():.3f}** from the true ones, counting noise {apart[noise].max():.3f}. "
        "The composition left to one and the same model, by how far it is smooth:\n"
    ]
    mean = table[table["part"] == COMPOSITION].groupby(["length", "of"])[["true", "made"]].mean()
    for length, of in mean.groupby(level="length"):
        log, residual = of.loc[length, LOG], of.loc[length, RESIDUAL]
        lines.append(
            f"- over {counted(int(length), 'lattice steps')}: a part of {_two(log['true'])} in {label(LOG)} and of "
            f"{_two(residual['true'])} as a residual; place took {1 - residual['true'] / residual['made']:.0%} of the "
            "latter."
        )
    return "\n".join(lines)


def _two(value: float) -> str:
    """Two decimals, no minus before a zero."""
    return f"{round(value, 2) + 0:.2f}"
