"""Ways to sample STEM, and what each costs and scores: the sampling ladder."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import schema
from helpers.columns import pearson
from helpers.labels import counted, label, span
from helpers.models.stem import diffusion
from helpers.models.stem.sampling import sample
from helpers.scores import calibration

COLUMNS = ["target", "seed", "n_spots", "sampler", "calls", "n_samples", "starts", "profile"]
COLUMNS += ["network_calls", "seconds", "pcc", "rvd", "rvd_expectation", "rvd_samples", "spread"]


def ways(n_samples: int, hyper: Mapping) -> list[dict]:
    """The ways to sample a fit that are compared, as arguments of `sample`: the published one first.

    The mean in one call is among them where the network predicts the velocity, and the way of the fit's own profile
    stands last where it is not the published one.
    """
    few = {"sampler": "sde", "calls": 25}
    compared = [
        {"sampler": "ancestral"},
        {"sampler": "ancestral", "antithetic": True},
        *({"sampler": name, "calls": calls} for name in ("sde", "ddim", "dpm") for calls in (40, 20, 10)),
        few | {"antithetic": True},
        few | {"shared": True},
    ]
    if hyper["prediction"] == "v":
        compared.append({"sampler": "mean", "antithetic": True})
    if hyper["sampler"] != "ancestral":
        compared.append({name: hyper[name] for name in ("sampler", "calls", "antithetic", "shared")})
    return [way | {"n_samples": n_samples} for way in compared]


def sampler_ladder(
    fitted: dict,
    conditions: np.ndarray,
    measured: np.ndarray,
    compared: Sequence[dict],
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """What each way to sample costs in calls of the network, and how its predictions score.

    `conditions` is spots x features, `measured` spots x genes; each of `compared` holds arguments of `sample`. Columns
    sampler, calls (for one sample), n_samples, starts (kind of noise), network_calls (for all samples of a spot),
    seconds, and those of `scores`. Genes that do not vary in `measured` are left out.
    """
    measured = np.asarray(measured, float)
    varies = measured.std(axis=0) > 1e-6
    rows = []
    for way in compared:
        settings = {"seed": seed, "antithetic": False, "shared": False} | way
        begin = time.perf_counter()
        samples = sample(fitted, conditions, progress=progress, **settings)[..., varies].astype(float)
        seconds = time.perf_counter() - begin
        hyper = fitted["hyper"] | way
        calls = {"ancestral": diffusion.N_TIMES, "mean": 1}.get(hyper["sampler"], hyper["calls"])
        row = {"sampler": hyper["sampler"], "calls": calls, "n_samples": len(samples)}
        row["starts"] = ", ".join(n for n in ("antithetic", "shared") if settings[n]) or "independent"
        row |= {"network_calls": calls * len(samples), "seconds": seconds}
        rows.append(row | scores(measured[:, varies], samples, settings["antithetic"]))
    return pd.DataFrame(rows)


def scores(measured: np.ndarray, samples: np.ndarray, antithetic: bool = False) -> dict[str, float]:
    """How samples (samples x spots x genes) and their mean, the prediction, compare with what was measured.

    pcc, mean over genes, 0 for one whose prediction does not vary; rvd of the prediction, `calibration.rvd`;
    rvd_expectation, the same without the noise that is left in a mean of few (NaN below two independent samples or
    pairs); rvd_samples, of all samples together; spread, the standard deviation of the samples of a spot, mean over
    spots and genes. Of `antithetic` samples the second half has the opposite noise of the first.
    """
    mean, variance = samples.mean(axis=0), measured.var(axis=0)
    half = len(samples) // 2
    independent = (samples[:half] + samples[half : 2 * half]) / 2 if antithetic else samples
    return {
        "pcc": np.nan_to_num(pearson(measured, mean)).mean(),
        "rvd": calibration.rvd(variance, mean.var(axis=0)),
        "rvd_expectation": calibration.rvd(variance, calibration.variance_of_expectation(independent)),
        "rvd_samples": calibration.rvd(variance, samples.var(axis=(0, 1))),
        "spread": samples.std(axis=0).mean(),
    }


def ladder_of_fit(
    fitted: dict, prediction: AnnData, section: AnnData, n_spots: int, n_samples: int, progress: bool = False
) -> pd.DataFrame:
    """The ladder of one fit on some spots of its held-out section, evenly through their order.

    `fitted` is the kept network, `prediction` what it predicted of the spots of `section`, which has their features.
    Columns COLUMNS; `profile` marks the way of the fit's own profile, False throughout where that is the published one.
    """
    rows = np.linspace(0, section.n_obs - 1, min(n_spots, section.n_obs)).astype(int)
    arrays = section.obsm[schema.PATCH][rows], prediction.layers[schema.MEASURED][rows]
    table = sampler_ladder(fitted, *arrays, ways(n_samples, fitted["hyper"]), progress=progress)
    own = (table.index == len(table) - 1) & (fitted["hyper"]["sampler"] != "ancestral")
    fit = {name: prediction.uns[name] for name in ("target", "seed")}
    table = table.assign(**fit, n_spots=len(rows), profile=own)
    return table.drop_duplicates(["sampler", "calls", "starts"], keep="last")[COLUMNS]


def sampler_ladders(
    fits: Iterable[tuple[dict, AnnData]], section: AnnData, n_spots: int, n_samples: int, progress: bool = False
) -> pd.DataFrame:
    """The ladder of every fit with the section held out, stacked; each is a network and its prediction."""
    tables = [
        ladder_of_fit(fitted, prediction, section[prediction.obs_names], n_spots, n_samples, progress)
        for fitted, prediction in fits
    ]
    return pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS)


def answer(table: pd.DataFrame, committed: str = "") -> str:
    """How many calls the profile's own way saves, and its PCC beside that of the published sampler; takes a ladder.

    `committed` names the cohort of the committed run where the ladder is that run's. A profile that samples as
    published is set beside all faster ways.
    """
    first, pairs = table.iloc[0], list(_own_and_published(table))
    whose = f"STEM was not trained in this run: this is the committed run of {committed}. " if committed else ""
    if pairs:
        times = [slow["network_calls"] / own["network_calls"] for own, slow in pairs]
        values = ", ".join(f"**{own['pcc']:.2f}** ({slow['pcc']:.2f}) in {label(own['target'])}" for own, slow in pairs)
        words = (
            f"With {span(min(times), max(times), '.0f')} times fewer calls of the network than the published sampler, "
            f"the profile's own way has a PCC (in brackets that of all steps with the same kind of noise) of {values}"
        )
    else:
        slow, fast = (table[(table["sampler"] == "ancestral") == published] for published in (True, False))
        words = (
            f"The profile samples as published, with a PCC of {span(slow['pcc'].min(), slow['pcc'].max())}; ways of at "
            f"most {fast['calls'].max()} calls have {span(fast['pcc'].min(), fast['pcc'].max())}"
        )
    return (
        f"{whose}{words}. That is on {counted(first['n_spots'], 'spots')} of one section with "
        f"{counted(first['n_samples'], 'samples')} each, too few to test a difference."
    )


def _own_and_published(table: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.Series]]:
    """By target the profile's own way and the published sampler, with the same kind of noise where that was tried.

    None of a profile that samples as published.
    """
    for _, part in table.groupby("target", sort=False):
        published = part[part["sampler"] == "ancestral"].set_index("starts")
        for _, own in part[part["profile"].astype(bool)].iterrows():
            yield own, published.loc[own["starts"] if own["starts"] in published.index else "independent"]


def remark(table: pd.DataFrame) -> str:
    """How the profile's own way varies, beside the published sampler with the same kind of noise, a line a target."""
    lines = []
    for own, slow in _own_and_published(table):
        way = f"`{own['sampler']}`, {own['calls']} calls a sample"
        of_samples = f", of the samples {own['rvd_samples']:.2f} and {slow['rvd_samples']:.2f}"
        if own["sampler"] == "mean":
            way, of_samples = "`mean`, one call for each first noise and no samples", ""
        lines.append(
            f"- {label(own['target'])}, the profile's own way ({way}, {own['starts']} noise) and the published sampler "
            f"with the same kind of noise: relative variation distance of the mean {own['rvd']:.2f} and "
            f"{slow['rvd']:.2f}, of the expectation {own['rvd_expectation']:.2f} and "
            f"{slow['rvd_expectation']:.2f}{of_samples}."
        )
    return "\n".join(lines)
