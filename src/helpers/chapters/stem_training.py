"""One held-out section: fitted without it and predicted, as every score reads it.

The notebook that imports this trains for long, and an edit here trains again: nothing but the fit stands in it, and
the sentence that the page opens with.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema, store
from helpers.columns import pearson
from helpers.labels import counted, label
from helpers.models import backbones
from helpers.models.stem.recipes import PROFILE, SEED, WITHOUT_NUCLEI
from helpers.scores.pit import pit, within
from helpers.targets import normalization

CURVES = ["step", "mse", "vb", "backbone", "target", "split", "held_out", "seed"]


def fit_and_predict(
    sections: Mapping[str, AnnData],
    held_out: str,
    backbone: str,
    target: str,
    seed: int,
    stem_arm: str | None = None,
    **settings,
) -> AnnData:
    """One fit and its prediction of the held-out section, spots x genes; `settings` are those of `backbones.predict`.

    Models see residuals clipped at +-sqrt(spots) and are scored against the same. A `stem_arm` is the same fit with one
    thing changed, scored against the same as all others: another seed (`seed_1`), features without those of nuclei
    (`without_nuclei`), or the target prepared in another way (`Recipe.scaling`). Samples are not kept, but how
    they scatter is.
    """
    prepare = normalization.clip
    if stem_arm == WITHOUT_NUCLEI:
        sections = {name: without_nuclei(section) for name, section in sections.items()}
    elif stem_arm and stem_arm.startswith(SEED):
        seed = int(stem_arm.removeprefix(SEED))
    elif stem_arm:
        settings["scaling"], prepare = stem_arm, None
    prediction = backbones.predict(sections, held_out, target, backbone, prepare=prepare, seed=seed, **settings)
    prediction.layers[schema.MEASURED] = normalization.clip(prediction.layers[schema.MEASURED], target)
    prediction.uns |= {name: sections[held_out].uns[name] for name in ("mpp", "pitch_um")} | {
        "arm": stem_arm or PROFILE
    }
    samples = prediction.uns["info"].pop("samples", None)
    if samples is not None:
        keep_scatter(prediction, samples, prediction.uns["seed"])
    return prediction


def without_nuclei(section: AnnData) -> AnnData:
    """The section with the features of its patches that are not of nuclei: neither their number nor their shape.

    ValueError where no feature is named so, as those of published encoders are not.
    """
    names = np.asarray(section.uns["patch_names"], str)
    kept = ~np.char.startswith(np.char.rpartition(names, ":")[:, 2], "nuclei_")
    if kept.all():
        raise ValueError(
            f"section {section.uns['section']}: no feature is of nuclei; leave out the arm {WITHOUT_NUCLEI}"
        )
    part = section.copy()
    for slot in (schema.PATCH, schema.PATCH_AUGMENTED):
        if slot in part.obsm:
            part.obsm[slot] = part.obsm[slot][..., kept]
    return part


def keep_scatter(prediction: AnnData, samples: np.ndarray, seed: int = 0) -> None:
    """Layers `pit`, `pit_within` and `spread` of a prediction, from its independent samples (samples x spots x genes).

    Where the measured value falls among them, also once the level of each gene in the section is set right, and their
    standard deviation (n - 1). Chance, which decides among ties, is that of the seed.
    """
    measured = prediction.layers[schema.MEASURED]
    prediction.layers[schema.PIT] = pit(measured, samples, seed).astype("float32")
    prediction.layers[schema.PIT_WITHIN] = pit(within(measured), within(samples), seed).astype("float32")
    prediction.layers[schema.SPREAD] = samples.std(axis=0, ddof=1)


def fit_all(
    sections: Mapping[str, AnnData],
    held_out: str,
    fits: Iterable[tuple[str, str, int]],
    predictions: str | Path,
    checkpoints: str | Path,
    **settings,
) -> list[AnnData]:
    """Each fit (backbone, target, seed) in turn, written into the folder `predictions` as soon as it is done.

    A network's weights lie beside its prediction, and the state of an unfinished fit in `checkpoints`, from where it
    goes on. `settings` as in `fit_and_predict`.
    """
    done = []
    for backbone, target, seed in fits:
        name = f"{backbone}.{target}.{seed}"
        files = {"weights": f"{predictions}/{name}.pt", "checkpoint": f"{checkpoints}/{name}.pt"}
        prediction = fit_and_predict(sections, held_out, backbone, target, seed, **settings, **files)
        store.write_section(prediction, f"{predictions}/{name}.h5ad")
        done.append(prediction)
    return done


def answer(predictions: Sequence[AnnData], n_spots: int, training: Sequence[str], patients: Mapping[str, str]) -> str:
    """How the first backbone's prediction of a section follows the measured values; of seeds the last.

    `n_spots` are those of the sections it was trained on, `training`.
    """
    first = predictions[0]
    model, held_out = first.uns["backbone"], first.uns["section"]
    own = {one.uns["target"]: one for one in predictions if one.uns["backbone"] == model}
    r = {target: pearson(one.layers[schema.MEASURED], one.layers[schema.PREDICTED]) for target, one in own.items()}
    listed = ", ".join(f"**{np.nanmedian(values):z.2f}** in {label(target)}" for target, values in r.items())
    same = sum(patients[name] == patients[held_out] for name in training)
    committed = (
        "STEM was not trained here: what it scores on the HER2 cohort stands on {ref}`page 10 <published-size>`. "
    )
    return (
        f"What `{model}` predicts of the median gene follows its measured values with a Pearson's r of {listed}: "
        f"{counted(first.n_vars, 'genes')} at {counted(first.n_obs, 'spots')} of {held_out}, trained on "
        f"{counted(n_spots, 'spots')} of {counted(len(training), 'other sections')}, {same} of the same patient. "
        f"{committed * (model != 'stem')}One section is one fold: all stand on [page 10](10_training_check.ipynb), "
        "ceiling and floors on [page 13](13_predictability.ipynb), chance on [page 23](23_inference.ipynb)."
    )


def loss_curves(predictions: Sequence[AnnData]) -> pd.DataFrame:
    """Training losses of the fits that have one, stacked: step, squared error, variational term, and which fit."""
    curves = [
        pd.DataFrame(one.uns["info"]["loss"], columns=CURVES[:3]).assign(**{key: one.uns[key] for key in CURVES[3:]})
        for one in predictions
        if "loss" in one.uns["info"]
    ]
    return pd.concat(curves) if curves else pd.DataFrame(columns=CURVES)
