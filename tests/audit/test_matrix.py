"""What a model knows is what is raised: known models of known sections, in every space, and no flag besides.

Three lattices and three seeds each, two sections a cohort. RAISED and UNTOLD are written by hand, with the reason.
"""

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made import GENES, GEOMETRIES, PANEL, Truth, as_predicted

from helpers.audit import assess
from helpers.audit.flags import FLAGS
from helpers.scores import judge
from helpers.targets import normalization, spaces

LIBRARY = ("log2", "log1p", "counts")  # spaces that hold one
NONE = ("log1p_cp10k", "pearson_residual")  # that hold none
LOG, RESIDUAL = "log2", "pearson_residual"


# Models: a world (truth, section, rng, space) -> spots x genes ---------------------------------------------------


def truth(world, shift=(0, 0)):
    return as_predicted(world.truth.library(shift), world.truth.composition(shift), world.space)


def moved(steps):
    return lambda world: truth(world, steps * world.along)


def depth_alone(library):
    """A library with the same composition in every spot."""

    def model(world):
        composition = np.tile(world.truth.composition().mean(axis=0), (len(world.truth.xy), 1))
        return as_predicted(library(world), composition, world.space)

    return model


def expected(world):
    return world.truth.library()


def measured_depth(world):
    return normalization.library_size(world.section)


def guessed(world):
    return expected(world) * world.rng.lognormal(0, 0.35, len(world.truth.xy))


def of_nuclei(world):
    return 175.0 * world.truth.nuclei()


def of_place(world):
    return 3500 * np.exp(world.truth.place * world.truth.middle())


def on_counts_of_depth(world):
    """What is expected of each gene where only depth varies: a CP10k of few counts follows it a little."""
    library, space = measured_depth(world), normalization.TARGETS[world.space]
    share = judge.levels(world.section, GENES)[0]
    drawn = (world.rng.poisson(np.outer(library, share)) for _ in range(20))
    return np.mean([space.values(counts, library, share) for counts in drawn], axis=0)[:, :PANEL]


def composed(library):
    """A perfect composition with a library that is not."""
    return lambda world: as_predicted(library(world), world.truth.composition(), world.space)


def noised(world):
    values = truth(world)
    return values + 0.5 * values.std(axis=0) * world.rng.normal(size=values.shape)


def means(world):
    return np.tile(truth(world).mean(axis=0), (len(world.truth.xy), 1))


def measurement(world):
    return judge.measured(world.section, world.space, GENES[:PANEL])


def half_measured(world):
    return (truth(world) + measurement(world)) / 2


def z_scores(world):
    values = truth(world)
    return (values - values.mean(axis=0)) / values.std(axis=0)


def negated(world):
    return -truth(world)


def shuffled(world):
    return world.rng.permutation(truth(world))


def said_to_be_logs(space):
    return lambda world: truth(SimpleNamespace(**vars(world) | {"space": space}))


# What must be raised, and what cannot be told, beside what was not given ------------------------------------------

DEPTH = "no_composition own_library"  # the same composition everywhere: divided by its library nothing is left
NO_MODEL = f"chance {DEPTH} beaten_by_nuclei"  # the nuclei score in logs, where the library is most of the score
NOTHING = "chance no_composition"  # as residuals, where nuclei score nothing either
DOUBT = "no_composition own_library"  # untold: no library is made of values that are no logs

CASES = [  # name, spaces, model, raised, untold
    ("truth", LIBRARY + NONE, truth, "", ""),
    ("truth and noise", LIBRARY[:1] + NONE, noised, "", ""),
    ("expected depth", LIBRARY, depth_alone(expected), DEPTH, ""),
    ("measured depth", LIBRARY, depth_alone(measured_depth), DEPTH, ""),
    ("guessed depth", [LOG], depth_alone(guessed), DEPTH, ""),
    # Without a library there is no depth to know: what is left is the little that a CP10k keeps of it.
    ("measured depth", NONE, on_counts_of_depth, "no_composition", ""),
    ("gene means", [LOG], means, NO_MODEL, "misplaced"),
    ("gene means", NONE, means, NOTHING, "misplaced"),
    ("nuclei", [LOG], depth_alone(of_nuclei), f"{DEPTH} beaten_by_nuclei", ""),
    ("composition, library of nuclei", [LOG], composed(of_nuclei), "", ""),
    ("composition, noisy library", [LOG], composed(guessed), "", ""),
    # A score remains at every shift, as the widest fields are alike there; it is higher where they belong.
    ("moved by 1", [LOG, RESIDUAL], moved(1), "misplaced", ""),
    ("moved by 2", [LOG, RESIDUAL], moved(2), "misplaced", ""),
    ("moved by 5", [LOG, RESIDUAL], moved(5), "misplaced", ""),
    ("shuffled", [LOG], shuffled, NO_MODEL, ""),
    ("shuffled", [RESIDUAL], shuffled, NOTHING, ""),
    ("negated", [LOG], negated, "space chance beaten_by_nuclei", DOUBT),
    ("negated", [RESIDUAL], negated, NOTHING, ""),
    ("the measurement", [LOG, *NONE], measurement, "impossible", ""),
    ("half the measurement", [LOG, RESIDUAL], half_measured, "impossible", ""),
    # Correlations do not see a gene's level and scale, so the score stands, whatever the space is.
    ("z-scores", [LOG, RESIDUAL], z_scores, "space", DOUBT),
    ("counts", [LOG], said_to_be_logs("counts"), "space", DOUBT),
    ("residuals", [LOG], said_to_be_logs(RESIDUAL), "space", DOUBT),
]
ROWS = [(name, space, *rest) for name, chosen, *rest in CASES for space in chosen]
NOT_GIVEN = "panel_leak smoothed_target panel_library"


@functools.cache
def cohort(geometry, seed, place=0.0):
    """Two sections: their truth, and what was measured."""
    truths = {f"S{i}": Truth(GEOMETRIES[geometry](), 10 * seed + i, place) for i in range(2)}
    return {name: (of, of.section(name)) for name, of in truths.items()}


def remembered(monkeypatch, module, name, key):
    """A function that does not depend on the predictions is computed once for all of them."""
    kept, made = {}, getattr(module, name)

    def once(*args):
        at = key(*args)
        if at not in kept:
            kept[at] = made(*args)
        return kept[at]

    monkeypatch.setattr(module, name, once)


@pytest.fixture(scope="module", autouse=True)
def _once():
    def of(section):
        return float(section.layers["counts"].sum()), section.n_obs

    with pytest.MonkeyPatch.context() as patch:
        remembered(patch, judge, "basis", lambda section: section.obsm["spatial"].tobytes())
        remembered(patch, judge, "ceilings", lambda section, target, genes, *n: (of(section), target, *genes))
        remembered(
            patch,
            assess,
            "score_floors",
            lambda audited, space, floor, n: (
                *(of(one.section) for one in audited.values()),
                *next(iter(audited.values())).genes,
                space,
                floor,
            ),
        )
        patch.setattr(assess, "TARGETS", ())  # scores in other spaces decide no flag
        yield


def flags_of(sections, model, space, n_genes=PANEL, seed=0, **more):
    """What an audit raises, does not raise and cannot tell, of a model in a space, by id."""
    predicted = {}
    for i, (name, (of, section)) in enumerate(sections.items()):
        along = of.xy[np.argsort(np.hypot(*(of.xy - of.xy[0]).T))[1]] - of.xy[0]
        world = SimpleNamespace(
            truth=of, section=section, space=space, along=along, rng=np.random.default_rng([seed, i])
        )
        predicted[name] = pd.DataFrame(model(world), section.obs_names, GENES[:PANEL]).iloc[:, :n_genes]
    report = assess.assess(
        {name: section for name, (_, section) in sections.items()}, predicted, space, n_draws=499, n_splits=2, **more
    )
    assert not any("nan" in flag["says"] for flag in report["flags"])
    return {flag["id"]: flag["raised"] for flag in report["flags"]}


def wanted(space, raised="", untold=""):
    """Every flag as it must be: those named are raised or untold, the others are not raised."""
    untold = f"{untold} {NOT_GIVEN}" + " own_library" * (space in NONE)
    by_hand = dict.fromkeys(untold.split()) | dict.fromkeys(raised.split(), True)
    return {flag.id: by_hand.get(flag.id, False) for flag in FLAGS}
