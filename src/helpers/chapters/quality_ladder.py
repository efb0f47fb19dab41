"""A quality ladder: how scores and rankings move where fewer molecules are counted and where the picture is coarser.

Training and test are thinned by the same factor, the panel stays, and so do the spots: one that was kept at full depth
is no failed spot, and with other spots at each rung a score would move for two reasons. Predictions are also scored
against the target of all molecules, which tells what a model knows from what the measurement shows of it.
`scripts/quality_ladder.py` makes the committed table.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, product

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import labels
from helpers.chapters.patches import with_features
from helpers.cohort import images, pictures
from helpers.columns import pearson
from helpers.labels import counted, label
from helpers.models.backbones import BACKBONES
from helpers.schema import COUNTS, PATCH, SPATIAL, patients_of
from helpers.scores import judge, predictability, top_genes
from helpers.targets import twins
from helpers.targets.normalization import LOG, LOG_CP10K, RESIDUAL, library_size
from helpers.tissue import patches
from helpers.tissue.haematoxylin import MAX_MPP, haematoxylin

TARGETS = (LOG, RESIDUAL, LOG_CP10K)
FACTORS = (1, 2, 4, 8, 16, 32, 64)
PIXELS_UM = (3.2, 12.7)  # besides the picture's own
SIDES_UM = (100, 200, 400, 800)
K = 50
N_DRAWS = 499  # of chance
LEAST = 100  # molecules of a spot, as `qc.min_spot_counts` of the config; what is below is said, not left out
ENCODER, SIDE_UM = "efficientnet_lite0", 200  # the learned encoder, and its one square
RIDGE, SHARED = "ridge", "ridge, shared features"
LEARNED, BESIDE = (f"ridge, {encoder} of {SIDE_UM} µm" for encoder in (ENCODER, "morphology"))
FLOORS = ("nuclei", "haematoxylin", "place")
KEYS = ["section", "patient", "mpp", "factor", "target", "model"]
COLUMNS = [*KEYS, "median_counts", "below", "pcc", "ceiling", "chance_95", "unthinned"]
COLUMNS += ["library", "library_chance_95", "composition", "composition_chance_95"]

Sections = Mapping[str, AnnData]
Looks = Mapping[str, tuple[str, Mapping[str, np.ndarray]]]  # model -> backbone, and what it looks at in each section


# Rungs ----------------------------------------------------------------------------------------------------------


def with_fewer_molecules(section: AnnData, factor: float, seed: int = 0) -> AnnData:
    """The section with one molecule in `factor` counted, by chance."""
    counts = predictability.thinned(section.layers[COUNTS], 1 / factor, np.random.default_rng(seed))
    return twins.as_twin(section, counts)


def seen_at(section: AnnData, mpp: float) -> AnnData:
    """The section as its picture shows it at pixels of `mpp` um: morphology of the patches, and the stain of the discs.

    Nuclei stay those of the picture itself. A side of SIDES_UM that is under eight pixels wide is left out.
    """
    picture, placement = pictures.reduce(images.whole(section.uns["image"]), float(section.uns["mpp"]) / mpp)
    seen = section.copy()
    pictures.move_spots(seen, placement)
    read, spatial = functools.partial(images.region, images.on_picture(picture, mpp)), seen.obsm[SPATIAL]
    spot_um = float(seen.uns["spot_um"])
    seen.obs["haematoxylin"] = haematoxylin(read, spatial, mpp, spot_um)
    sides = patches.sides([side for side in SIDES_UM if side >= 8 * mpp], mpp, spot_um)
    return with_features(seen, *patches.embed(read, spatial, "morphology", sides, mpp))


def shared_features(views: Sequence[Sections]) -> list[str]:
    """Names of the features that the sections have in every one of several pictures, in the order of the first."""
    names = [next(iter(sections.values())).uns["patch_names"] for sections in views]
    return [name for name in names[0] if all(name in other for other in names[1:])]


def learned(section: AnnData) -> np.ndarray:
    """Features of the squares of SIDE_UM by ENCODER; spots x features."""
    read, sides = images.reader_of(section), {f"{SIDE_UM}um": float(SIDE_UM)}
    return patches.embed(read, section.obsm[SPATIAL], ENCODER, sides, float(section.uns["mpp"]))[0].astype(float)


def on_features(seen: Sections, chosen: Sequence[str]) -> tuple[str, dict[str, np.ndarray]]:
    """Ridge, and the features of those names that it looks at."""
    columns = np.isin(next(iter(seen.values())).uns["patch_names"], chosen)
    return "ridge", {name: np.asarray(section.obsm[PATCH], float)[:, columns] for name, section in seen.items()}


def models_on_picture(seen: Sections, shared: Sequence[str] = ()) -> Looks:
    """Ridge on the features of a picture, on those that are `shared` where any are, and floors.

    The floor of nuclei is left out where the picture is too coarse for them.
    """
    first = next(iter(seen.values()))
    found = {RIDGE: on_features(seen, first.uns["patch_names"])}
    if len(shared):
        found[SHARED] = on_features(seen, shared)
    for floor in FLOORS if first.uns["mpp"] <= MAX_MPP else FLOORS[1:]:
        look = BACKBONES[floor].look
        found[floor] = (floor, {name: np.asarray(look(section), float) for name, section in seen.items()})
    return found


# Scores ---------------------------------------------------------------------------------------------------------


def score_rung(models: Looks, whole: Sections, fewer: Sections, panel: Sequence[str], k: int) -> Iterator[dict]:
    """Every model fitted without a section and scored on it: a row each, with target, model and section.

    Models see and are scored against the counts of `fewer`, of which `whole` has all. Besides `judge.pcc`
    a row has `unthinned`, PCC-k against the target of all molecules, and for ridge in logs both `judge.skills`.
    """
    unthinned, values = (_measured(sections, panel) for sections in (whole, fewer))
    spots = {name: judge.basis(section) for name, section in fewer.items()}
    ceilings = {(name, target): judge.ceilings(fewer[name], target, panel) for name, target in product(fewer, TARGETS)}
    for model, (backbone, looked) in models.items():
        for target, name in product(TARGETS, fewer):
            predicted = judge.floor(backbone, looked, values[target], name)
            row = {"section": name, "target": target, "model": model}
            row |= judge.pcc(values[target][name], predicted, spots[name], k, N_DRAWS, ceilings[name, target])
            row["unthinned"] = top_genes.pcc_at_k(pearson(unthinned[target][name], predicted), k)
            if (target, model) == (LOG, RIDGE):
                row |= judge.skills(predicted, target, fewer[name], panel, spots[name], k, N_DRAWS)
            yield row


def _measured(sections: Sections, panel: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    return {
        target: {name: judge.measured(section, target, panel) for name, section in sections.items()}
        for target in TARGETS
    }


def climb(sections: Sections, panel: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Every rung scored, COLUMNS: thinned counts under the picture as it is, then all counts under coarser pictures.

    `median_counts` is of a spot, `below` the share of spots under LEAST.
    """
    names = next(iter(sections.values())).uns["patch_names"]
    one_square = {
        BESIDE: on_features(sections, [name for name in names if name.startswith(f"{SIDE_UM}um:")]),
        LEARNED: ("ridge", {name: learned(section) for name, section in sections.items()}),
    }
    coarse = {mpp: {name: seen_at(section, mpp) for name, section in sections.items()} for mpp in PIXELS_UM}
    shared = shared_features([sections, *coarse.values()])
    own = float(np.mean([section.uns["mpp"] for section in sections.values()]))
    patients = patients_of(sections)
    for mpp, factor in [*product([own], FACTORS), *product(PIXELS_UM, [1])]:
        seen = coarse.get(mpp, sections)
        fewer = seen if factor == 1 else {name: with_fewer_molecules(section, factor) for name, section in seen.items()}
        models = models_on_picture(seen, shared if factor == 1 else ())
        models |= one_square if (mpp, factor) == (own, 1) else {}
        table = pd.DataFrame(score_rung(models, seen, fewer, panel, K)).assign(mpp=mpp, factor=factor)
        depths = {name: library_size(section) for name, section in fewer.items()}
        of = {"median_counts": np.median, "below": lambda depth: np.mean(depth < LEAST)}
        for column, number in of.items():
            table[column] = table["section"].map({name: number(depth) for name, depth in depths.items()})
        yield table.assign(patient=table["section"].map(patients))[COLUMNS]


# Summaries ------------------------------------------------------------------------------------------------------


def ladders(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The two ladders, by the column that they climb: thinned counts in the finest picture, coarser pictures."""
    return {"factor": table[table["mpp"] == table["mpp"].min()], "mpp": table[table["factor"] == 1]}


def medians(table: pd.DataFrame, by: str, value: str = "pcc") -> pd.DataFrame:
    """Medians over sections: rungs and targets x models, and `floor`, the strongest of FLOORS there."""
    wide = table.pivot_table(value, [by, "target"], "model", "median", sort=False)
    return wide.assign(floor=wide[[floor for floor in FLOORS if floor in wide]].max(axis=1))


def lines(table: pd.DataFrame, by: str, value: str = "pcc") -> pd.DataFrame:
    """What a figure of one ladder draws: columns report (a target), line, x (the rung) and y, medians over sections.

    Lines are ridge and the strongest floor; of what was measured on that rung chance too; over pictures also ridge on
    the features that all of them have.
    """
    wide = medians(table, by, value).rename(columns={SHARED: "shared"})
    if value == "pcc":
        wide["chance"] = table[table["model"] == RIDGE].groupby([by, "target"])["chance_95"].median()
    drawn = [RIDGE, *["shared"] * (by == "mpp"), "floor", "chance"]
    long = wide.reindex(columns=drawn).stack().rename("y")
    return long.rename_axis(["x", "report", "line"]).reset_index()


def skill_lines(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """The same of library and composition skill of ridge's log predictions, each with its chance."""
    ridge = table[(table["model"] == RIDGE) & (table["target"] == LOG)].groupby(by)
    parts = [
        ridge[column].median().rename("y").rename_axis("x").reset_index().assign(report=report, line=line)
        for report in ("library", "composition")
        for line, column in ((RIDGE, report), ("chance", f"{report}_chance_95"))
    ]
    return pd.concat(parts, ignore_index=True)


def order(table: pd.DataFrame, by: str, value: str = "pcc") -> dict[float, tuple[tuple[str, ...], int]]:
    """The order of the targets that most sections have on each rung, highest score of ridge first, and how many do."""
    wide = table[table["model"] == RIDGE].pivot(index=[by, "section"], columns="target", values=value)
    found = {}
    for rung, part in wide.groupby(by):
        orders = [tuple(row.sort_values(ascending=False, kind="stable").index) for _, row in part.iterrows()]
        [found[rung]] = Counter(orders).most_common(1)
    return found


def excess(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Ridge less the nearest floor, median over sections: rung, target, floor, excess.

    `below` are the sections in which ridge is not above the highest of its floors there.
    """
    wide = table.pivot_table("pcc", [by, "target", "section"], "model", sort=False)
    rows = []
    for (rung, target), part in wide.groupby([by, "target"], sort=False):
        over = {floor: part[RIDGE] - part[floor] for floor in FLOORS if floor in part and part[floor].notna().all()}
        floor = min(over, key=lambda name: over[name].median())
        below = part.index.get_level_values("section")[pd.DataFrame(over).min(axis=1) <= 0]
        rows.append((rung, target, floor, over[floor].median(), ", ".join(below)))
    return pd.DataFrame(rows, columns=[by, "target", "floor", "excess", "below"])


# Sentences ------------------------------------------------------------------------------------------------------

RUNGS = {"factor": lambda factor: "all molecules" if factor == 1 else f"one in {factor:g}", "mpp": "{:.1f} µm".format}


def turns(table: pd.DataFrame, by: str, value: str = "pcc") -> str:
    """In which order the targets stand in most sections, and from which rung on in another one."""
    n, parts = table["section"].nunique(), []
    runs = groupby(sorted(order(table, by, value).items()), key=lambda rung: rung[1][0])
    for targets, rungs in runs:
        (first, (_, holds)), *more = rungs
        last = f" to {RUNGS[by](more[-1][0])} ({more[-1][1][1]})" if more else ""
        parts.append(f"{' > '.join(map(label, targets))} with {RUNGS[by](first)} ({holds} of {n}){last}")
    return ", ".join(parts)


def first_and_last(table: pd.DataFrame, by: str) -> str:
    """Ridge's score in each target with its chance, on the first and the last rung; medians over sections."""
    ridge = table[table["model"] == RIDGE].groupby(["target", by], sort=False)[["pcc", "chance_95"]].median()
    parts = []
    for target, part in ridge.groupby(level="target", sort=False):
        scores = part.droplevel("target").sort_index().iloc[[0, -1]].itertuples()
        parts.append(f"{label(target)} {' to '.join(f'{row.pcc:.2f} ({row.chance_95:.2f})' for row in scores)}")
    return ", ".join(parts)


def by_patient(table: pd.DataFrame, by: str, value: str = "pcc") -> str:
    """The orders of the targets, patient by patient where they differ, and the scores that were measured (Markdown)."""
    alike: dict[tuple, list[str]] = {}
    for name, part in table.groupby("patient"):
        alike.setdefault(tuple(targets for targets, _ in order(part, by, value).values()), []).append(name)
    parts = []
    for names in alike.values():
        own = table[table["patient"].isin(names)]
        who = "" if len(alike) == 1 else f"*{', '.join(map(labels.patient, names))}*, "
        parts.append(f"{who}{turns(own, by, value)}" + (f"; {first_and_last(own, by)}" if value == "pcc" else ""))
    return ". ".join(parts)


def against_floors(table: pd.DataFrame, by: str) -> str:
    """How far ridge stands above the nearest floor on the first and the last rung; where it is not above them all."""
    parts = []
    for target, part in excess(table, by).sort_values(by, kind="stable").groupby("target", sort=False):
        ends = " to ".join(
            f"{row.excess:+.2f} ({labels.FLOORS.get(row.floor, row.floor)}"
            + (f", not above all in {row.below})" if row.below else ")")
            for row in part.iloc[[0, -1]].itertuples()
        )
        sunk = ", ".join(map(RUNGS[by], part.loc[part["excess"] <= 0, by]))
        parts.append(f"{label(target)} {ends}" + (f", not above it with {sunk}" if sunk else ""))
    return "; ".join(parts)


def skills_sentence(table: pd.DataFrame) -> str:
    """Both skills of ridge's log predictions on the first and the last rung of thinned counts, with their chance."""
    ridge = table[(table["model"] == RIDGE) & (table["target"] == LOG)].groupby("factor")
    names = ("library", "composition")
    skills = ridge[[*names, *(f"{name}_chance_95" for name in names)]].median().iloc[[0, -1]]
    parts = [
        f"{name} "
        + ", ".join(f"{row[name]:.2f} (chance {row[f'{name}_chance_95']:.2f})" for _, row in skills.iterrows())
        for name in names
    ]
    return f"with {' and '.join(map(RUNGS['factor'], skills.index))}: {'; '.join(parts)}"


def answer(table: pd.DataFrame) -> str:
    """Where rankings turn over on both ladders, with n, patients and null (Markdown)."""
    by_factor, by_mpp = ladders(table).values()
    last = by_factor[by_factor["factor"] == by_factor["factor"].max()].drop_duplicates("section")
    of = counted(table["section"].nunique(), "sections"), counted(table["patient"].nunique(), "patients")
    return (
        f"Of {' of '.join(of)}, one section held out; chance is the 95 % point of {N_DRAWS} maps as smooth.\n\n"
        f"- **Targets by PCC-{K} of ridge, fewer molecules**: the order that most sections have, and the scores on the "
        f"first and the last rung with their chance. {by_patient(by_factor, 'factor')}.\n"
        f"- **The same predictions, scored against all molecules**: {by_patient(by_factor, 'factor', 'unthinned')}.\n"
        f"- **Coarser pictures**: {by_patient(by_mpp, 'mpp')}.\n"
        f"- **Ridge less the nearest floor**, medians on the first and the last rung, and the sections in which it is "
        f"not above all; in coarse pictures no floor of nuclei is left. Fewer molecules: "
        f"{against_floors(by_factor, 'factor')}. Coarser pictures: "
        f"{against_floors(by_mpp, 'mpp')}.\n"
        f"- **Skills of ridge's log predictions**, medians {skills_sentence(by_factor)}.\n\n"
        f"With {RUNGS['factor'](last['factor'].iloc[0])}, {last['below'].median():.0%} of the spots of a section have "
        f"fewer than {LEAST} molecules; all stay, so that every rung has the same spots."
    )


def learned_sentence(table: pd.DataFrame) -> str:
    """Ridge on a learned encoder beside ridge on morphology, with all molecules and the finest picture (Markdown)."""
    first = ladders(table)["factor"]
    first = first[(first["factor"] == 1) & first["model"].isin((LEARNED, BESIDE, RIDGE))]
    scores = first.groupby(["target", "model"], sort=False)[["pcc", "chance_95"]].median()
    parts = []
    for target in first["target"].unique():
        own = scores.loc[target].loc[[LEARNED, BESIDE, RIDGE]].itertuples()
        one, beside, every = (f"{row.pcc:.3f} ({row.chance_95:.3f})" for row in own)
        parts.append(f"{label(target)} {one}, {beside} and {every}")
    of = counted(table["section"].nunique(), "sections"), counted(table["patient"].nunique(), "patients")
    return (
        f"Medians over {' of '.join(of)}, one section held out: PCC-{K} of ridge on `{ENCODER}`, a small network "
        f"trained on ImageNet, on `morphology` of the same squares of {SIDE_UM} µm, and of all squares, with chance: "
        f"{'; '.join(parts)}."
    )
