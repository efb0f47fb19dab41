"""Fit on some sections, predict another: STEM, ridge, and the one-feature floors beside which they are read.

A backbone is what it looks at and how it is fitted: two functions of arrays. The fitting one gets the training
sections and the inputs of the held-out spots, never their target, so nothing measured there can reach what is fitted;
only the shape of a floor is the one that scores highest there (`strongest`).
To add a model, write the two and enter them in BACKBONES, the one list of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.columns import pearson
from helpers.models.stem.recipes import PAPER
from helpers.schema import MEASURED, PATCH, PATCH_AUGMENTED, PREDICTED, SPATIAL, common_measure, measure, patients_of

if TYPE_CHECKING:
    from anndata import AnnData

SPLITS = ("section", "patient")
K = 50  # of PCC-k, the score that is printed: a floor's shape is chosen by it
SMOOTH = 3  # degree in x and in y of what a place alone may say
DEFAULTS = {"seed": 0, "profile": "quick"}  # kept with every prediction, also where they do not matter
ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 5, 11))
N_FOLDS = 10  # at most, by which ridge's penalty is chosen
NO_PENALTY = 1e-6
RAW = "01_data"  # the page that leaves behind what is known without an image
# Of one number per spot, which is no less than zero: monotone, and steep where it is small or everywhere alike.
SHAPES = {
    "as it is": np.asarray,
    "root": lambda x: np.sqrt(np.maximum(x, 0)),
    "log": lambda x: np.log1p(np.maximum(x, 0)),
}


def predict(
    sections: Mapping[str, AnnData],
    held_out: str,
    target: str,
    backbone: str = "ridge",
    split: str = "section",
    genes: Sequence[str] | None = None,
    prepare: Callable[[np.ndarray, str], np.ndarray] | None = None,
    **settings,
) -> AnnData:
    """One fold: fit `backbone` without `held_out`, predict it.

    `sections` maps names to AnnData with `layers[target]` and what the backbone looks at; `genes` is the panel, by
    default the genes of the held-out section. `prepare(values, target)` is applied to each section's target before
    anything else (`normalization.clip`: models see clipped residuals). `settings` are those of any backbone, which
    takes its own: one call serves all. Returns the held-out spots x genes with `layers["measured"]` and
    `layers["predicted"]`; in `uns` the choices above and `info`, what the fit left behind (loss curve and samples,
    alpha).
    ValueError, naming the section, for an unknown name or setting, no section left to train on, a held-out section
    that is also in training, and for genes, features or targets that are absent, not finite or of unlike width.
    """
    model = _chosen(backbone, settings)
    training = training_sections(sections, held_out, split)
    genes = list(sections[held_out].var_names if genes is None else genes)
    inputs = _inputs({name: sections[name] for name in [*training, held_out]}, backbone)
    measured = _targets({name: sections[name] for name in inputs}, target, genes, prepare)
    _check_held_out(sections, measured, held_out)
    given = {name: value for name, value in settings.items() if name in model.settings}
    if model.views and all(model.views in sections[name].obsm for name in training):
        given["augmented"] = np.vstack([sections[name].obsm[model.views] for name in training])
    x, y = (np.vstack([values[name] for name in training]) for values in (inputs, measured))
    labels = np.repeat(training, [len(inputs[name]) for name in training])
    predicted, info = model.fit(x, y, labels, inputs[held_out], **given)
    predicted = strongest(predicted, measured[held_out])
    prediction = _beside(sections[held_out], genes, measured[held_out], predicted)
    prediction.uns = {"section": held_out, "backbone": backbone, "target": target, "split": split, "held_out": held_out}
    prediction.uns |= {name: settings.get(name, default) for name, default in DEFAULTS.items()}
    prediction.uns |= {"trained_on": training, "info": info}
    return prediction


def training_sections(sections: Mapping[str, AnnData], held_out: str, split: str = "section") -> list[str]:
    """Names of the sections to train on: all but the held-out one, or all of other patients.

    ValueError for an unknown split or section, and when no spot is left.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    if held_out not in sections:
        raise ValueError(f"section {held_out} is not among {', '.join(sections)}: hold out one of these")
    names = [name for name in sections if name != held_out]
    if split == "patient":
        patients = patients_of(sections)
        names = [name for name in names if patients[name] != patients[held_out]]
    if not sum(sections[name].n_obs for name in names):
        raise ValueError(f"section {held_out}: no spot of another {split} to train on; add sections")
    return names


def different(names: Sequence[str], sections: Mapping[str, AnnData]) -> list[str]:
    """Of these backbones, those that differ: where the stain measures cellularity, it is the floor called nuclei."""
    return [name for name in names if name != common_measure(sections)]


# What a backbone looks at: section -> spots x features.


def patch(section: AnnData) -> np.ndarray:
    """The features of the patch around each spot."""
    return section.obsm[PATCH]


def cells(section: AnnData) -> np.ndarray:
    """The cellularity of each spot, one column: as a rule the number of nuclei in its disc."""
    return section.obs[[measure(section.obs) or "n_nuclei"]].to_numpy()


def depth(section: AnnData) -> np.ndarray:
    """The total counts of each spot, one column: measured, not predicted."""
    return section.obs[["total_counts"]].to_numpy()


def haematoxylin(section: AnnData) -> np.ndarray:
    """The mean haematoxylin in each spot's disc, one column: the stain, before anyone counts nuclei."""
    return section.obs[["haematoxylin"]].to_numpy()


def place(section: AnnData) -> np.ndarray:
    """Smooth functions of the place in the section: products of Legendre polynomials of x and y, without the constant.

    Every section is stretched to the same square, so a place can only say what holds there in other sections too.
    """
    xy = np.asarray(section.obsm[SPATIAL], float)
    span = np.ptp(xy, axis=0)
    x, y = (2 * (xy - xy.min(axis=0)) / np.where(span > 0, span, 1) - 1).T
    return np.polynomial.legendre.legvander2d(x, y, (SMOOTH, SMOOTH))[:, 1:]


# How it is fitted: (x, y, section of each row, x of the held-out spots) -> their y (or several, for `strongest` to
# choose from), and what to keep of the fit.


def ridge(
    x: np.ndarray, y: np.ndarray, sections: np.ndarray, x_new: np.ndarray, alpha: float | None = None
) -> tuple[np.ndarray, dict]:
    """Ridge regression on standardized features, one penalty for all genes.

    The penalty is `alpha`, or the one of `ALPHAS` with the highest mean PCC when training sections are predicted from
    the others (`inner_folds`).
    """
    every, whole = _sums(x, y, sections), len(np.unique(sections)) > 1
    if alpha is None:
        scores = np.zeros(len(ALPHAS))
        for fit, check in inner_folds(x, sections):
            part = _sums(*(values[check if whole else fit] for values in (x, y, sections)))
            left = every - part if whole else part  # sums of whole sections add up
            scores += [mean_pcc(y[check], predicted) for predicted in _linear(left, x[check], ALPHAS)]
        alpha = ALPHAS[int(scores.argmax())]
    [predicted] = _linear(every, x_new, [alpha])
    return predicted, {"alpha": alpha}


def curve(x: np.ndarray, y: np.ndarray, sections: np.ndarray, x_new: np.ndarray) -> tuple[np.ndarray, dict]:
    """Monotone curves of one number for each gene, up or down by its slope: the floors.

    Least squares on the number in each of `SHAPES`: shapes x spots x genes, of which `strongest` takes one. A step
    function (isotonic regression) is monotone too, but learns noise and does not carry over to another patient.
    """
    fits = [_linear(_sums(shape(x), y, sections), shape(x_new), [NO_PENALTY]) for shape in SHAPES.values()]
    return np.concatenate(fits), {}


def strongest(predicted: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """The prediction, spots x genes; of several (candidates x spots x genes) the one with the highest PCC-`K`.

    A shape chosen on training sections need not carry over to another patient; for this one choice a floor looks at
    what was measured, so that no model stands above it by the floor's own bad luck.
    """
    if predicted.ndim == 2:
        return predicted
    return max(predicted, key=lambda candidate: mean_pcc(measured, candidate, best=K))


def inner_folds(x: np.ndarray, sections: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and to check on: each training section in turn, blocks of consecutive spots where there is one.

    Of more than `N_FOLDS` sections groups are left out, neighbours by name: those of one patient as a rule, and the
    fits of a cohort grow with its sections, not with their square.
    """
    rows, names = np.arange(len(x)), np.unique(sections)
    blocks = np.array_split(rows, min(5, len(x))) if len(x) > 1 else []
    groups = np.array_split(names, min(N_FOLDS, len(names)))
    checked = [rows[np.isin(sections, group)] for group in groups] if len(names) > 1 else blocks
    return [(np.setdiff1d(rows, check), check) for check in checked]


def mean_pcc(measured: np.ndarray, predicted: np.ndarray, best: int | None = None) -> float:
    """Mean PCC over genes, or over the `best` of them; one without a PCC (constant) counts as zero, alike for all."""
    pcc = np.nan_to_num(pearson(measured, predicted))
    return float(np.sort(pcc)[-best:].mean() if best else pcc.mean())


def stem(
    x: np.ndarray,
    y: np.ndarray,
    sections: np.ndarray,
    x_new: np.ndarray,
    augmented: np.ndarray | None = None,
    weights: str | Path | None = None,
    keep_samples: bool = True,
    **settings,
) -> tuple[np.ndarray, dict]:
    """STEM conditioned on the features; the prediction is the mean of its samples, or its mean in one call.

    `weights` is a file to keep the fitted network in, `augmented` as in `training.fit`; `settings` are seed, profile,
    hyperparameters and those of `training.Run`. Kept beside the prediction are independent samples (samples x spots x
    genes): of antithetic pairs, the first of each. The mean in one call has none: as many are drawn by `sde`, where
    they are to be kept.
    """
    import torch

    from helpers import store
    from helpers.models.stem.sampling import sample
    from helpers.models.stem.training import Run, fit

    run = Run(**{name: settings.pop(name) for name in Run._fields if name in settings})
    fitted = fit(x, y, sections=sections, augmented=augmented, run=run, **settings)
    if weights is not None:
        with store.atomic(weights) as partial:
            torch.save(fitted, partial)
    hyper, drawing = dict(fitted["hyper"]), {"seed": settings.get("seed", 0), "progress": run.progress}
    samples = sample(fitted, x_new, **drawing)
    predicted = samples.mean(0)
    kept = {name: np.asarray(fitted[name]) for name in ("loss", "validation")} | {"hyper": hyper}
    if keep_samples:
        if hyper["sampler"] == "mean":
            samples = sample(fitted, x_new, sampler="sde", **drawing)
        kept["samples"] = samples[: max(1, len(samples) // 2)] if hyper["antithetic"] else samples
    return predicted, kept


@dataclass(frozen=True)
class Backbone:
    """What a backbone looks at, how it is fitted, and what it is beside the others."""

    look: Callable[[AnnData], np.ndarray]
    fit: Callable[..., tuple[np.ndarray, dict]]
    settings: tuple[str, ...] = ()  # what `fit` takes besides arrays
    views: str | None = None  # where, in `obsm`, the training spots' features are turned and mirrored, for `augmented`
    page: str = "02_segmentation"  # leaves behind what it looks at
    floor: bool = False  # says what is there without a model of the image
    beside: bool = False  # of a floor: fitted where models are, its predictions kept; others are where a page asks
    oracle: bool = False  # is shown what was measured on the held-out spots themselves
    costly: bool = False  # a fit is a job of its own, for each target


BACKBONES = {
    "stem": Backbone(
        patch,
        stem,
        settings=("seed", "profile", "progress", "weights", "keep_samples", "checkpoint", "n_devices", *PAPER),
        views=PATCH_AUGMENTED,
        page="05_patches",
        costly=True,
    ),
    "ridge": Backbone(patch, ridge, settings=("alpha",), page="05_patches"),
    "nuclei": Backbone(cells, curve, floor=True, beside=True),
    "haematoxylin": Backbone(haematoxylin, curve, floor=True),
    "place": Backbone(place, ridge, page=RAW, floor=True),
    "depth": Backbone(depth, curve, page=RAW, floor=True, beside=True, oracle=True),
}
MODELS = tuple(name for name, model in BACKBONES.items() if not model.floor)
FLOORS = tuple(name for name, model in BACKBONES.items() if model.floor)
FLOORS_BESIDE = tuple(name for name in FLOORS if BACKBONES[name].beside)
WITHOUT_IMAGE = tuple(name for name, model in BACKBONES.items() if model.page == RAW)


@dataclass(frozen=True)
class _Sums:
    """All that a linear fit needs of its training spots: as many numbers, however many spots there are.

    Slopes come from deviations from each training section's own mean, so differences of stain or depth between
    sections are not mistaken for effects; level and scale are those of the training spots.
    """

    n: int
    x: np.ndarray  # features
    y: np.ndarray  # genes
    xx: np.ndarray  # features x features, of deviations
    xy: np.ndarray  # features x genes, of deviations
    rounding: np.ndarray  # features: below it a sum of squared deviations is what rounding leaves of none

    def __sub__(self, other: _Sums) -> _Sums:
        """What is left without some of the sections."""
        left = (getattr(self, name) - getattr(other, name) for name in ("n", "x", "y", "xx", "xy"))
        return _Sums(*left, self.rounding)


def _sums(x: np.ndarray, y: np.ndarray, sections: np.ndarray) -> _Sums:
    within, rounding = _within(x, sections), 1e-14 * np.square(x, dtype=float).sum(0)
    return _Sums(len(x), x.sum(0), y.sum(0, dtype=float), within.T @ within, within.T @ _within(y, sections), rounding)


_KEPT: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
N_KEPT = 40  # folds of a cohort: every target is fitted on the same features


def _linear(sums: _Sums, x_new: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """For each penalty, predictions: penalties x spots x genes."""
    varies = sums.xx.diagonal() > sums.rounding
    scale = np.sqrt(np.where(varies, sums.xx.diagonal() / sums.n, np.inf))  # of no use where constant in every section
    sizes, axes = _decomposed(sums.xx / np.outer(scale, scale))
    turned = axes.T @ (sums.xy / scale[:, None])
    new = (x_new - sums.x / sums.n) / scale @ axes
    return np.stack([sums.y / sums.n + new @ (turned / (sizes + alpha)[:, None]) for alpha in alphas])


def _decomposed(correlations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors, which cost most of a fit; the latest are kept."""
    key = hashlib.sha256(np.ascontiguousarray(correlations)).digest()
    if key not in _KEPT:
        if len(_KEPT) == N_KEPT:
            del _KEPT[next(iter(_KEPT))]
        sizes, axes = np.linalg.eigh(correlations)
        _KEPT[key] = np.maximum(sizes, 0.0), axes
    return _KEPT[key]


def _within(values: np.ndarray, sections: np.ndarray) -> np.ndarray:
    centred = values.astype(float)
    for section in np.unique(sections):
        rows = sections == section
        rows = slice(None) if rows.all() else rows  # of one section all: no copies
        centred[rows] -= centred[rows].mean(0)
    return centred


def _chosen(backbone: str, settings: Mapping) -> Backbone:
    """The entry of BACKBONES; ValueError for an unknown one, and for settings that none of them takes."""
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}: choose one of {', '.join(BACKBONES)}")
    known = dict.fromkeys(name for model in BACKBONES.values() for name in model.settings)
    if unknown := settings.keys() - known.keys():
        raise ValueError(f"no backbone takes {', '.join(sorted(unknown))}: choose from {', '.join(known)}")
    return BACKBONES[backbone]


def _inputs(sections: Mapping[str, AnnData], backbone: str) -> dict[str, np.ndarray]:
    """What the backbone looks at in each section, spots x features; alike in number and measure in all of them."""
    inputs = {}
    if BACKBONES[backbone].look is cells:
        common_measure(sections)
    for name, section in sections.items():
        try:
            values = inputs[name] = np.asarray(BACKBONES[backbone].look(section), float)
        except KeyError as error:
            what, page = error.args[0], BACKBONES[backbone].page
            raise ValueError(f"section {name}: {backbone} needs {what}; run {page} on it first") from error
        if not np.isfinite(values).all():
            raise ValueError(
                f"section {name}: what {backbone} looks at is missing or infinite for "
                f"{(~np.isfinite(values).all(1)).sum()} spots; encode or segment it again, or drop them"
            )
    widths = {name: values.shape[1] for name, values in inputs.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"sections have different numbers of features {widths}: encode all of them the same way")
    return inputs


def _targets(
    sections: Mapping[str, AnnData], target: str, genes: Sequence[str], prepare: Callable | None
) -> dict[str, np.ndarray]:
    """The target of each section as models see it, spots x genes."""
    targets = {}
    for name, section in sections.items():
        if target not in section.layers:
            raise ValueError(f"section {name}: no layers[{target!r}]; run 06_normalization on it first")
        columns = section.var_names.get_indexer(genes)
        if (columns < 0).any():
            absent = [gene for gene, column in zip(genes, columns, strict=True) if column < 0]
            raise ValueError(f"section {name}: no gene {', '.join(absent[:5])}; choose a panel that every section has")
        values = np.asarray(section.layers[target][:, columns], float)
        if not np.isfinite(values).all():
            raise ValueError(f"section {name}: layers[{target!r}] holds values that are missing or infinite")
        targets[name] = values if prepare is None else prepare(values, target)
    return targets


def _check_held_out(sections: Mapping[str, AnnData], measured: Mapping[str, np.ndarray], held_out: str) -> None:
    """Refuse a held-out section that is also trained on: a copy under another name is a leak too."""
    for name in [name for name in measured if name != held_out]:
        same = np.array_equal(measured[name], measured[held_out])
        if same or held_out in set(sections[name].obs.get("section", ())):
            raise ValueError(f"section {held_out} is held out and yet in training, as {name}: leave {name} out")


def _beside(held: AnnData, genes: list[str], measured: np.ndarray, predicted: np.ndarray) -> AnnData:
    """The held-out spots x genes with what was measured and predicted, and all else that is known of the spots."""
    from anndata import AnnData

    prediction = AnnData(obs=held.obs.copy(), var=held.var.loc[genes].copy())
    prediction.obsm = {slot: values.copy() for slot, values in held.obsm.items() if PATCH not in slot}
    prediction.layers[MEASURED] = measured.astype(np.float32)
    prediction.layers[PREDICTED] = predicted.astype(np.float32)
    return prediction
