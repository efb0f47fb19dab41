"""What a model knows is what is raised: known models of known sections, in every space, and no flag besides.

Three lattices, three seeds, two sections a cohort. What CASES say is raised or untold is written by hand.
"""

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made import GENES, GEOMETRIES, PANEL, Truth, as_predicted

from helpers.audit import assess
from helpers.audit.flags import sentence
from helpers.scores import judge, spatial
from helpers.targets import normalization

LIBRARY = ("log2", "counts")  # spaces that hold one
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


def guessed(noise):
    return lambda world: expected(world) * world.rng.lognormal(0, noise, len(world.truth.xy))


def of_nuclei(world):
    return 175.0 * world.truth.nuclei()


def of_place(world):
    """Where in the section a gene is, more smoothly than the floor can say it."""
    xy, values = np.asarray(world.section.obsm["spatial"], float), truth(world)
    x, y = ((xy - xy.mean(axis=0)) / xy.std()).T
    at = np.column_stack([np.ones(len(xy)), x, y, x * y, x**2, y**2])
    return at @ np.linalg.lstsq(at, values, rcond=None)[0]


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
FAR = "no_composition own_library beaten_by_nuclei chance"
DOUBT = "no_composition own_library"  # untold: no library is made of values that are no logs

CASES = [  # name, spaces, model, raised, untold, either
    ("truth", LIBRARY + NONE, truth, "", "", ""),
    ("truth and noise", LIBRARY[:1] + NONE, noised, "", "", ""),
    ("expected depth", LIBRARY, depth_alone(expected), DEPTH, "", ""),
    ("measured depth", LIBRARY, depth_alone(measured_depth), DEPTH, "", ""),
    ("guessed depth", [LOG], depth_alone(guessed(0.15)), DEPTH, "", ""),
    # Without a library there is nothing to know of depth but the little that a CP10k keeps of it.
    ("measured depth", [RESIDUAL], on_counts_of_depth, NOTHING, "", ""),
    # Its zeros leak depth: a score about as high as chance, and as that of nuclei, which leak as much.
    ("measured depth", ["log1p_cp10k"], on_counts_of_depth, "no_composition", "", "chance beaten_by_nuclei"),
    ("gene means", [LOG], means, NO_MODEL, "misplaced", ""),
    ("gene means", NONE, means, NOTHING, "misplaced", ""),
    ("nuclei", [LOG], depth_alone(of_nuclei), f"{DEPTH} beaten_by_nuclei", "", ""),
    ("composition, library of nuclei", [LOG], composed(of_nuclei), "", "", ""),
    ("composition, noisy library", [LOG], composed(guessed(0.35)), "", "", ""),
    # What is known at a spot of what lies a few steps away is for the widest fields of a section to decide.
    ("moved by 1", [LOG, RESIDUAL], moved(1), "misplaced", "", ""),
    ("moved by 2", [LOG, RESIDUAL], moved(2), "misplaced", "", ""),
    ("moved by 5", [LOG, RESIDUAL], moved(5), "misplaced", "", FAR),
    ("shuffled", [LOG], shuffled, NO_MODEL, "", ""),
    ("shuffled", [RESIDUAL], shuffled, NOTHING, "", ""),
    ("negated", [LOG], negated, "space chance beaten_by_nuclei", DOUBT, ""),
    ("negated", [RESIDUAL], negated, NOTHING, "", ""),
    ("the measurement", [LOG, *NONE], measurement, "impossible", "", ""),
    ("half the measurement", [LOG, RESIDUAL], half_measured, "impossible", "", ""),
    # Correlations do not see a gene's level and scale, so the score stands, whatever the space is.
    ("z-scores", [LOG, RESIDUAL], z_scores, "space", DOUBT, ""),
    ("counts", [LOG], said_to_be_logs("counts"), "space", DOUBT, ""),
    ("residuals", [LOG], said_to_be_logs(RESIDUAL), "space", DOUBT, ""),
]
# Each lattice and each seed once, and by `make test-full` all of them with all.
COHORTS = [
    pytest.param(*where, id=" ".join(map(str, where)), marks=[pytest.mark.full] * bool(i % 4))
    for i, where in enumerate(itertools.product(GEOMETRIES, range(3)))
]
ROWS = [pytest.param(space, *rest, id=f"{name}, {space}") for name, chosen, *rest in CASES for space in chosen]
NOT_GIVEN = "panel_leak smoothed_target panel_library"


@functools.cache
def cohort(geometry, seed, serial=None):
    """Two sections: their truth, and what was measured."""
    truths = {f"S{i}": Truth(GEOMETRIES[geometry](), 10 * seed + i, serial) for i in range(2)}
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
        remembered(patch, judge, "ceilings_in", lambda targets, section, genes, *n: (of(section), *targets, *genes))
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
        remembered(patch, judge, "measured", lambda section, target, genes: (of(section), target, *genes))
        # What decides no flag: scores in other spaces, on the twin, and given nuclei and depth.
        patch.setattr(assess, "SCORED_IN", ())
        remembered(patch, assess, "score_on_twin", lambda one, judged, k, n: (of(one.section), *judged, k))
        remembered(patch, assess, "partial_scores", lambda one, space: (of(one.section), space, *one.genes))
        remembered(patch, assess, "what_is_left", lambda one, genes, judged, n: (of(one.section), *judged, *one.genes))
        yield


def world_of(truth, section, space, *seed):
    """What a model may know; a step `along` the lattice is where the nearest spot lies."""
    away = truth.xy - truth.xy[0]
    along = away[np.argsort(np.hypot(*away.T))[1]]
    return SimpleNamespace(truth=truth, section=section, space=space, along=along, rng=np.random.default_rng(seed))


def audit(sections, model, space, seed=0, n_genes=PANEL, **more):
    """The report on a model of a cohort in a space; `target` is what it says it was scored against."""
    worlds = {name: world_of(*of, space, seed, i) for i, (name, of) in enumerate(sections.items())}

    def tables(of):
        return {
            name: pd.DataFrame(of(world), world.section.obs_names, GENES[:PANEL]).iloc[:, :n_genes]
            for name, world in worlds.items()
        }

    if "targets" in more:
        more["targets"] = tables(more["targets"])
    held = {name: world.section for name, world in worlds.items()}
    return assess.assess(held, tables(model), space, n_draws=499, n_splits=2, **more)


def check(report, raised="", untold="", either=""):
    """Every flag is as it must be: raised, untold, or else not raised; whatever is said has no NaN."""
    space = report["summary"]["space"]
    by_hand = dict.fromkeys(f"{untold} {NOT_GIVEN}".split() + ["own_library"] * (space in NONE))
    by_hand |= dict.fromkeys(raised.split(), True)
    found = {flag["id"]: flag["raised"] for flag in report["flags"] if flag["id"] not in either.split()}
    assert found == {name: by_hand.get(name, False) for name in found}
    assert not any("nan" in text for text in [sentence(report["summary"]), *(flag["says"] for flag in report["flags"])])


@pytest.mark.parametrize(("space", "model", "raised", "untold", "either"), ROWS)
@pytest.mark.parametrize(("geometry", "seed"), COHORTS)
def test_what_is_raised_is_what_the_model_knows(geometry, seed, space, model, raised, untold, either):
    check(audit(cohort(geometry, seed), model, space, seed), raised, untold, either)


@pytest.mark.parametrize(("geometry", "seed"), COHORTS)
class TestTheData:
    """What is said of counts, genes and targets, with a model that is right."""

    @pytest.mark.parametrize(
        ("n_genes", "space", "raised", "untold"),
        [(5, LOG, "few_genes", DOUBT), (20, LOG, "", ""), (5, RESIDUAL, "", "")],
    )
    def test_five_genes_are_no_library(self, geometry, seed, n_genes, space, raised, untold):
        check(audit(cohort(geometry, seed), truth, space, n_genes=n_genes), raised, untold)

    def test_multiples_are_no_molecules(self, geometry, seed):
        times = {name: (of, section.copy()) for name, (of, section) in cohort(geometry, seed).items()}
        for _, section in times.values():
            section.layers["counts"] = section.layers["counts"] * 7
        check(audit(times, truth, LOG), "not_umi")

    def test_a_place_that_says_as_much_beats(self, geometry, seed):
        """In sections cut one after the other, what lies where was seen in training.

        So smooth a map has a wide null: whether it is above it differs by seed.
        """
        sections = cohort(geometry, seed, serial=seed)
        check(audit(sections, of_place, RESIDUAL), "beaten_by_place", either="chance no_composition")
        check(audit(sections, truth, RESIDUAL))


def test_three_thousand_spots_in_one_section():
    """Alone: floors are fitted on blocks of the section itself."""
    of = Truth(np.argwhere(np.ones((60, 50))).astype(float), 5)
    one = {"S0": (of, of.section("S0"))}
    check(audit(one, truth, LOG))
    check(audit(one, depth_alone(expected), LOG), DEPTH)


def test_a_target_and_a_panel_are_judged_by_what_is_given():
    def smoothed(world):
        around = spatial.neighbours(world.truth.xy) + np.eye(len(world.truth.xy))
        return around / around.sum(axis=1, keepdims=True) @ measurement(world)

    def over_panel(world):
        counts = normalization.counts_of(world.section, GENES[:PANEL])
        return np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))

    found = [
        {flag["id"]: flag["raised"] for flag in audit(cohort("square", 0), truth, LOG, **given)["flags"]}
        for given in (
            {"targets": measurement, "panel_chosen_on": "training"},
            {"targets": smoothed, "panel_chosen_on": "all"},
            {"targets": over_panel},
        )
    ]
    assert [[flags[name] for name in ("panel_leak", "smoothed_target", "panel_library")] for flags in found] == [
        [False, False, False],
        [True, True, False],
        [None, False, True],
    ]


def test_the_doubt_comes_before_the_failure():
    """Counts said to be logs are powers that no float holds: the space is doubted, and the audit goes on."""
    report = audit(cohort("square", 0), lambda world: 100 * np.rint(measurement(world) + 10), LOG)
    assert {flag["id"]: flag["raised"] for flag in report["flags"]}["space"]
    assert any("far above" in remark for remark in report["remarks"]) and not len(report["skills"])
