"""Ways to sample STEM, and what each costs and scores."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.models.stem import diffusion
from helpers.models.stem.sampling import sample
from helpers.scores import calibration


def ladder(
    fitted: dict,
    conditions: np.ndarray,
    measured: np.ndarray,
    rungs: Sequence[dict],
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Ways to sample: what each costs in calls of the network, and how its predictions score.

    `measured` is spots x genes; each of `rungs` holds arguments of `sample`, and the first is what the others are
    compared with. Columns: sampler, calls, n_samples, starts, network_calls per spot, times_fewer, seconds; pcc (mean
    over genes) and pcc_50 (of the 50 best) of the mean of the samples; pcc_difference, the median over genes of how
    far a gene's PCC is from the first rung's; rvd, the relative variation distance of that mean, mean over genes of
    (var - var_measured)^2 / var_measured^2 (Zhu et al. 2025, arXiv 2501.15598), rvd_expectation, the same without the
    noise that is left in a mean of few (NaN below two independent samples or pairs), and rvd_samples, that of all
    samples together; spread, the standard deviation of the samples of a spot, mean over spots and genes. Genes that do
    not vary in `measured` are left out.
    """
    measured = np.asarray(measured, float)
    varies = measured.std(0) > 1e-6
    measured, rows, reference = measured[:, varies], [], None
    variance = measured.var(0)
    for rung in rungs:
        settings = {"seed": seed, "antithetic": False, "shared": False} | rung
        begin = time.perf_counter()
        samples = sample(fitted, conditions, progress=progress, **settings)[..., varies].astype(float)
        seconds, mean = time.perf_counter() - begin, samples.mean(0)
        half = len(samples) // 2
        independent = (samples[:half] + samples[half : 2 * half]) / 2 if settings["antithetic"] else samples
        pcc = correlations(measured, mean)
        reference = pcc if reference is None else reference
        hyper = fitted["hyper"] | rung
        calls = {"ancestral": diffusion.N_TIMES, "mean": 1}.get(hyper["sampler"], hyper["calls"])
        starts = [name for name in ("antithetic", "shared") if settings[name]] or ["independent"]
        rows.append(
            {
                "sampler": hyper["sampler"],
                "calls": calls,
                "n_samples": len(samples),
                "starts": ", ".join(starts),
                "network_calls": calls * len(samples),
                "seconds": seconds,
                "pcc": pcc.mean(),
                "pcc_50": np.sort(pcc)[-50:].mean(),
                "pcc_difference": np.median(np.abs(pcc - reference)),
                "rvd": calibration.rvd(variance, mean.var(0)),
                "rvd_expectation": calibration.rvd(variance, calibration.variance_of_expectation(independent)),
                "rvd_samples": calibration.rvd(variance, samples.var((0, 1))),
                "spread": samples.std(0).mean(),
            }
        )
    table = pd.DataFrame(rows)
    table.insert(5, "times_fewer", table["network_calls"][0] / table["network_calls"])
    return table


def correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson r of each column of a with that of b; 0 where b does not vary."""
    a, b = a - a.mean(0), b - b.mean(0)
    norm = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    return np.divide((a * b).sum(0), norm, out=np.zeros_like(norm), where=norm > 0)
