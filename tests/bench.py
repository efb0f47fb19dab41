"""Speed and memory side by side with plain implementations of the same thing: `make bench`.

Each side runs in a fresh process, three times; the table gives the median time, the ratio, and the peak of memory above
the process after its imports and input.
"""

import functools
import multiprocessing
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

REPEATS = 3
GENES, SPOTS = 15_000, 700


@functools.cache
def counts():
    rng = np.random.default_rng(0)
    drawn = rng.poisson(np.outer(rng.lognormal(0, 1, SPOTS), rng.lognormal(-2, 2, GENES))).astype(np.float32)
    drawn[0] += 1  # no gene without a count
    return drawn


@functools.cache
def section():
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    made = AnnData(obs=pd.DataFrame(index=map(str, range(SPOTS))), var=pd.DataFrame(index=map(str, range(GENES))))
    made.layers["counts"] = csr_matrix(counts())
    return made


@functools.cache
def toy():
    from helpers import sections, simulate

    root = Path(tempfile.mkdtemp())
    simulate.cohort(root, sections={"A1": 3000})
    return sections.read("her2st", root, "A1")


def spearman_vectorized():
    from helpers import scores

    return scores.spearman(counts(), counts().sum(1))


def spearman_loop():
    from scipy.stats import spearmanr

    depth = counts().sum(1)
    return np.array([spearmanr(gene, depth).statistic for gene in counts().T])


def residuals_of_a_panel():
    from helpers import normalization

    return normalization.pearson_residual(section(), [str(i) for i in range(300)])


def residuals_of_scanpy():
    import scanpy as sc
    from anndata import AnnData

    whole = AnnData(section().layers["counts"].copy())
    sc.experimental.pp.normalize_pearson_residuals(whole)
    return whole.X[:, :300]


def nuclei_in_windows():
    from helpers import images, nuclei

    read = functools.partial(images.region, images.open(toy().uns["image"], toy().uns["mpp"]))
    return nuclei.detect_section(read, toy().obsm["spatial"], float(toy().uns["mpp"]))


def nuclei_in_the_whole_image():
    from PIL import Image

    from helpers import nuclei

    return nuclei.detect(np.asarray(Image.open(toy().uns["image"])), float(toy().uns["mpp"]))


def ridge_over_penalties():
    from helpers import backbones

    return backbones.ridge(*fold())


def ridge_of_scikit_learn():
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from helpers import backbones

    x, y, labels, x_new = fold()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": backbones.ALPHAS}, cv=LeaveOneGroupOut()
    )
    return search.fit(x, y, groups=labels).predict(x_new)


@functools.cache
def fold():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 200))
    y = x @ rng.normal(size=(200, 300)) + rng.normal(size=(1000, 300))
    return x[:800], y[:800], np.repeat(list("abcd"), 200), x[800:]


def stem_fit():
    from helpers import stem

    rng = np.random.default_rng(0)
    return stem.fit(rng.normal(size=(800, 150)).astype("f4"), rng.normal(size=(800, 300)).astype("f4"), "cpu", steps=50)


PAIRS = [
    ("Spearman, 15,000 genes x 700 spots", spearman_vectorized, spearman_loop, counts),
    ("Pearson residuals, 300 of 15,000 genes", residuals_of_a_panel, residuals_of_scanpy, section),
    ("nuclei of a section, windows | whole image", nuclei_in_windows, nuclei_in_the_whole_image, toy),
    ("ridge, 800 x 200 -> 300 genes, 11 penalties", ridge_over_penalties, ridge_of_scikit_learn, fold),
    ("STEM, 50 steps of the cpu profile", stem_fit, None, None),
]


def measure(task, prepare, pipe):
    if prepare is not None:
        prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    pipe.send((statistics.median(seconds), peak / 1024))


def run(task, prepare):
    if task is None:
        return np.nan, np.nan
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(task, prepare, send))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{task.__name__} failed")
    return receive.recv()


def main():
    rows = []
    for name, ours, plain, prepare in PAIRS:
        (seconds, memory), (plain_seconds, plain_memory) = run(ours, prepare), run(plain, prepare)
        rows.append((name, seconds, plain_seconds, plain_seconds / seconds, memory, plain_memory))
        columns = ["", "seconds", "plain", "times faster", "MB", "plain MB"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.2f}".format, na_rep=""))


if __name__ == "__main__":
    main()
