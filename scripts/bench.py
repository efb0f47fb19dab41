"""Speed and memory side by side with plain implementations of the same thing: `make bench`.

    python scripts/bench.py --spots 700 5000 20000 60000    the audit alone, of one section of each size
    python scripts/bench.py --sections 6 12 24              the book with ridge of so many simulated sections, by rule

Each side runs in a fresh process, three times, in turns with the other; the table gives the median time, the ratio, and
the peak of memory above the process after its imports and input.
"""

import argparse
import functools
import multiprocessing
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

REPEATS = 3
GENES, SPOTS = 15_000, 700


@functools.cache
def counts():
    """SPOTS x GENES whole numbers, of uneven depth, no gene without one."""
    rng = np.random.default_rng(0)
    drawn = rng.poisson(np.outer(rng.lognormal(0, 1, SPOTS), rng.lognormal(-2, 2, GENES))).astype(np.float32)
    drawn[0] += 1  # no gene without a count
    return drawn


@functools.cache
def section():
    """A section of `counts`, sparse."""
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    made = AnnData(obs=pd.DataFrame(index=map(str, range(SPOTS))), var=pd.DataFrame(index=map(str, range(GENES))))
    made.layers["counts"] = csr_matrix(counts())
    return made


def draw_slide(root):
    """A JPEG as large as a section's, 92 MP: simulated tissue side by side."""
    from PIL import Image

    from helpers.cohort import simulate

    simulate.write_cohort(root, sections={"A1": 3000})
    tissue = np.asarray(Image.open(root / "data/ST-imgs/A/A1/toy_HE_A1.jpg"))
    side = np.array([9936, 9270])
    whole = np.tile(tissue, (*-(-side // tissue.shape[:2]), 1))[: side[0], : side[1]]
    Image.fromarray(whole).save(root / "slide.jpg", quality=85)


@functools.cache
def slide():
    """The file and 200 spots on it; drawn in a process of its own, whose memory is not that of what is measured."""
    root = Path(tempfile.mkdtemp())
    process = multiprocessing.get_context("spawn").Process(target=draw_slide, args=(root,))
    process.start()
    process.join()
    at = 1500 + np.arange(20) * 200 / 0.688
    return root / "slide.jpg", np.stack(np.meshgrid(at, at[:10]), axis=-1).reshape(-1, 2)


def spearman_vectorized():
    """Every gene with depth, as the project has it."""
    from helpers.columns import spearman

    return spearman(counts(), counts().sum(1))


def spearman_loop():
    """The same, gene by gene with scipy."""
    from scipy.stats import spearmanr

    depth = counts().sum(1)
    return np.array([spearmanr(gene, depth).statistic for gene in counts().T])


def residuals_of_a_panel():
    """Pearson residuals of 300 genes, with the library of all."""
    from helpers.targets import normalization

    return normalization.target(section(), "pearson_residual", [str(i) for i in range(300)])


def residuals_of_scanpy():
    """Those of all genes by scanpy, of which the same 300 are kept."""
    import scanpy as sc
    from anndata import AnnData

    whole = AnnData(section().layers["counts"].copy())
    sc.experimental.pp.normalize_pearson_residuals(whole)
    return whole.X[:, :300]


def imported_slide():
    """`slide`, with what reads it imported before the clock runs."""
    from tiatoolbox.wsicore import wsireader  # noqa: F401  imports count on neither side

    return slide()


def nuclei_of_a_section():
    """Nuclei under the spots of a slide, read tile by tile."""
    from helpers.cohort import images
    from helpers.tissue import classical

    path, spots = slide()
    read = functools.partial(images.region, images.open(path, 0.688))
    return classical.detect_section(read, spots, 0.688)


def stains_of_the_whole_image():
    """The stains of a slide read whole: the first step of counting nuclei without tiles."""
    from PIL import Image
    from skimage.color import rgb2hed

    Image.MAX_IMAGE_PIXELS = None
    return rgb2hed(np.asarray(Image.open(slide()[0])).astype(np.float32) / 255)


def ridge_over_penalties():
    """A fold of ridge as the project has it: one decomposition for all penalties."""
    from helpers.models import backbones

    return backbones.ridge(*fold())


def ridge_of_scikit_learn():
    """The same fold by a grid search of scikit-learn."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from helpers.models import backbones

    x, y, labels, x_new = fold()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": backbones.ALPHAS}, cv=LeaveOneGroupOut()
    )
    return search.fit(x, y, groups=labels).predict(x_new)


@functools.cache
def fold():
    """Features and targets of 800 training spots of four sections, and features of 200 others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 200))
    y = x @ rng.normal(size=(200, 300)) + rng.normal(size=(1000, 300))
    return x[:800], y[:800], np.repeat(list("abcd"), 200), x[800:]


@functools.cache
def maps():
    """Measured and predicted maps of a section on its lattice, and the basis of its nulls."""
    from helpers.scores import spatial

    rng = np.random.default_rng(0)
    xy = np.array([(i, j) for i in range(28) for j in range(25)], float)
    measured, predicted = rng.normal(size=(2, SPOTS, 300))
    return measured, predicted, rng.poisson(20, SPOTS).astype(float), spatial.moran_basis(xy)


def moran_null(n_draws=999):
    """300 genes against `n_draws` random maps as smooth as the nuclei, by the project."""
    from helpers.scores import spatial

    measured, _, nuclei, basis = maps()
    return spatial.null_correlations(measured, nuclei, basis, rank=True, n_draws=n_draws)


def moran_null_of_few():
    """The same of as few maps as the loop can take."""
    return moran_null(19)


def moran_null_loop():
    """The same of those few, gene by gene and map by map with scipy."""
    from scipy.stats import rankdata, spearmanr

    from helpers.scores import spatial

    measured, _, nuclei, basis = maps()
    drawn = spatial.moran_randomize(rankdata(nuclei), basis, 19)
    return np.array([[spearmanr(gene, draw).statistic for draw in drawn.T] for gene in measured.T])


def partial_vectorized():
    """Partial r of 300 genes given nuclei, by the project."""
    from helpers.scores import partial

    measured, predicted, nuclei, _ = maps()
    return partial.partial_scores(measured, predicted, [str(i) for i in range(300)], {"nuclei": [nuclei]})


def partial_loop():
    """The same, gene by gene with pingouin."""
    import pingouin

    measured, predicted, nuclei, _ = maps()
    tables = (pd.DataFrame({"m": m, "p": p, "n": nuclei}) for m, p in zip(measured.T, predicted.T, strict=True))
    return [pingouin.partial_corr(table, "m", "p", "n")["r"].iloc[0] for table in tables]


@functools.cache
def predicted_section():
    """Three sections of a cohort with nuclei and places, and what was predicted of 300 genes."""
    from helpers.audit import assess  # noqa: F401  imports count on neither side

    rng, names = np.random.default_rng(0), [str(i) for i in range(SPOTS)]
    made = section().copy()
    made.obs_names = names
    made.obs["n_nuclei"] = rng.poisson(20, SPOTS).astype(float)
    made.obsm["spatial"] = np.array([(i, j) for i in range(28) for j in range(25)], float)
    common = made.var_names[np.argsort(-counts().sum(0))[:300]]
    predicted = np.log2(1 + np.asarray(made[:, common].layers["counts"].todense())) + rng.normal(size=(SPOTS, 300))
    table = pd.DataFrame(np.maximum(predicted, 0), names, common)
    return {name: made.copy() for name in "abc"}, dict.fromkeys("abc", table)


def audit_of_three_sections():
    """The audit of predictions of three small sections."""
    from helpers.audit import assess

    return assess.assess(*predicted_section(), "log2")


@functools.cache
def sized_section(n_spots, n_genes=2000, n_predicted=300):
    """A section of that size with smooth depth and composition, and what was predicted of its highest genes."""
    from anndata import AnnData
    from scipy.sparse import csr_matrix, vstack

    from helpers.audit import assess  # noqa: F401  imports count on neither side

    rng, side, names = np.random.default_rng(0), int(np.ceil(np.sqrt(n_spots))), [str(i) for i in range(n_spots)]
    xy = np.argwhere(np.ones((side, side)))[:n_spots].astype(float)
    waves = np.sin(xy / side @ rng.normal(0, 8, (2, 20)) + rng.uniform(0, 6, 20))
    level, follows = np.sort(rng.lognormal(-2, 1.5, n_genes))[::-1], rng.normal(0, 0.15, (20, n_genes))
    depth = np.exp(0.3 * waves[:, 0] + 0.3 * rng.normal(size=n_spots))
    parts = np.array_split(np.arange(n_spots), 1 + n_spots // 1000)
    drawn = (rng.poisson(depth[p, None] * level * np.exp(waves[p] @ follows)).astype(np.float32) for p in parts)
    made = AnnData(obs=pd.DataFrame(index=names), var=pd.DataFrame(index=[str(i) for i in range(n_genes)]))
    made.layers["counts"], made.obsm["spatial"] = vstack([csr_matrix(part) for part in drawn]).tocsr(), xy
    made.obs["n_nuclei"] = rng.poisson(20 * depth).astype(float)
    predicted = np.log2(1 + made.layers["counts"][:, :n_predicted].toarray()) + rng.normal(size=(n_spots, n_predicted))
    return {"a": made}, {"a": pd.DataFrame(np.maximum(predicted, 0), names, made.var_names[:n_predicted])}


def audit_of_size(n_spots):
    """The audit of one section of `n_spots` spots."""
    from helpers.audit import assess

    return assess.assess(*sized_section(n_spots), "log2")


def size_table(sizes):
    """Seconds and MB that an audit took, beside those that it foretells (those of its data are not in the MB taken)."""
    from helpers.audit import size

    rows = []
    for n in sizes:
        prepare, task = (functools.partial(one, n) for one in (sized_section, audit_of_size))
        [(seconds, memory)] = run(prepare, task, repeats=1)
        before = rows[-1] if rows else {"spots": np.nan, "seconds": np.nan}
        exponent = np.log(seconds / before["seconds"]) / np.log(n / before["spots"])
        foretold = size.need(*sized_section(n))
        sized_section.cache_clear()
        taken = {"spots": n, "seconds": seconds, "MB": memory, "exponent": exponent}
        rows.append(taken | {"seconds foretold": foretold.seconds, "MB foretold": foretold.bytes / 1e6})
    return pd.DataFrame(rows)


def book_of(n_sections):
    """Make the book with ridge of so many small simulated sections, two a patient, anew: where its benchmarks lie."""
    names = [f"{letter}{number}" for letter in string.ascii_uppercase for number in (1, 2)][:n_sections]
    cohort, build = f"growth_{n_sections}", Path(f"build/growth_{n_sections}")
    depths = {name: 3000.0 + 500 * (k % 6) for k, name in enumerate(names)}
    config = yaml.safe_load(Path("config/toy.yaml").read_text())
    config |= {"cohort": cohort, "root": f"{build}/raw", "sections": names, "backbones": ["ridge"]}
    config["simulation"] |= {"sections": depths, "lattice": [8, 7]}
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    Path(build, "config.yaml").write_text(yaml.safe_dump(config))
    # Not by make, whose warm interpreter starts pages where Snakemake does not measure them.
    command = [Path(sys.executable).with_name("snakemake"), "book", "--profile", "profiles/local", "--cores", "2"]
    subprocess.run([*command, "--config", f"file={build}/config.yaml"], check=True)
    return build / "benchmarks"


def growth_table(sizes):
    """CPU seconds of all runs of a rule and the highest MB of one, by number of sections; the steepest rule first.

    `seconds` and `MB` of a name are of the largest cohort; exponents are of the number of sections, from the two
    largest: 1 is in step with it, and start and imports, which do not grow, bring them down.
    """
    taken = {}
    for n in sizes:
        runs = [(path, pd.read_csv(path, sep="\t").iloc[-1]) for path in book_of(n).rglob("*.tsv")]
        rules = [path.stem if path.parent.name == "benchmarks" else path.parent.name for path, _ in runs]
        figures = pd.DataFrame([{"seconds": run["cpu_time"], "MB": run["max_rss"]} for _, run in runs], index=rules)
        taken[n] = figures.astype(float).groupby(level=0).agg({"seconds": "sum", "MB": "max"})
        taken[n].loc["all"] = taken[n]["seconds"].sum(), taken[n]["MB"].max()
    table = pd.concat(taken, axis=1).swaplevel(axis=1).sort_index(axis=1)
    before, last = sizes[-2:]
    for what in ("seconds", "MB"):
        steps = np.log(table[what][last] / table[what][before]) / np.log(last / before)
        table[what, "exponent"] = steps
    return table.sort_values(("seconds", "exponent"), ascending=False)


def depth_only_twin():
    """The twin in which only depth varies, on sparse counts."""
    from helpers.targets import twins

    return twins.depth_only(section().layers["counts"], np.random.default_rng(0))


def depth_only_dense():
    """The same, spot by spot on a dense array."""
    rng, share = np.random.default_rng(0), counts().sum(0, dtype=float) / counts().sum(dtype=float)
    return np.array([rng.multinomial(int(total), share) for total in counts().sum(1)])


def equal_depth_twin():
    """Every spot thinned to the median depth, on sparse counts."""
    from helpers.targets import twins

    depth = int(np.median(counts().sum(1)))
    return twins.equal_depth(section().layers["counts"], depth, np.random.default_rng(0))


def equal_depth_of_scanpy():
    """The same by scanpy."""
    import scanpy as sc

    thinned = section().copy()
    thinned.X = thinned.layers["counts"].astype(int)
    return sc.pp.downsample_counts(thinned, counts_per_cell=int(np.median(counts().sum(1))), copy=True).X


# STEM: whole fits (two steps of the published size), beside the same mathematics as one would first write it.
# On a CPU a step of the published batch takes minutes, so it is measured on 4 spots and counted as 4 / 256 of a step.
FITS = {
    "quick": ("quick", {"steps": 200}),
    "cpu": ("cpu", {"steps": 400}),
    "paper": ("paper", {"steps": 2}),
    "paper, in bfloat16, compiled": ("paper", {"steps": 2, "precision": "bfloat16", "compile": True}),
}
FOLDS, SPOTS_OF_A_FOLD = 35 * 2, 350


def stem_size(fit):
    """The recipe of one of FITS; the published size in batches of 4 where there is no GPU."""
    import torch

    from helpers.models.stem import recipes

    profile, changes = FITS[fit]
    small = profile == "paper" and not torch.cuda.is_available()
    return recipes.recipe(profile, **changes, **({"batch_size": 4} if small else {}))


@functools.cache
def stem_data(profile="cpu"):
    """Conditions and targets of 800 spots, float32, as wide as the profile has them; imports are done before."""
    import torch  # noqa: F401
    from timm.models import vision_transformer  # noqa: F401

    rng, width = np.random.default_rng(0), 1536 if profile == "paper" else 244
    return rng.normal(size=(800, width)).astype("f4"), rng.normal(size=(800, 300)).astype("f4")


def stem_fit(fit):
    """A fit of STEM as the project has it."""
    from dataclasses import asdict

    from helpers.models.stem import training

    return training.fit(*stem_data(FITS[fit][0]), **asdict(stem_size(fit)))


def stem_fit_plain(fit):
    """Published layout: timm's attention and MLP, a module per norm, AdamW as it comes, averages one by one."""
    from copy import deepcopy

    import torch
    from timm.layers import Mlp
    from timm.models.vision_transformer import Attention
    from torch import nn

    from helpers.models import devices
    from helpers.models.stem import diffusion, network

    hyper, device = stem_size(fit), devices.kind()
    width = hyper.hidden_size

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(2))
            self.attn = Attention(width, hyper.n_heads, qkv_bias=True)
            self.mlp = Mlp(width, 4 * width, act_layer=lambda: nn.GELU(approximate="tanh"))
            self.adaLN_modulation = network.modulation(width, 6)

        def forward(self, x, c):
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.adaLN_modulation(c)[:, None].chunk(6, dim=2)
            x = x + gate_a * self.attn(self.norm1(x) * (1 + scale_a) + shift_a)
            return x + gate_m * self.mlp(self.norm2(x) * (1 + scale_m) + shift_m)

    y, x0 = (torch.from_numpy(values).to(device) for values in stem_data(FITS[fit][0]))
    model = network.build(hyper, x0.shape[1], y.shape[1], seed=0)
    model.blocks = nn.ModuleList(Block() for _ in model.blocks)
    model.to(device)
    ema, optimizer = deepcopy(model), torch.optim.AdamW(model.parameters(), hyper.learning_rate, weight_decay=0)
    for _ in range(hyper.steps):
        rows = torch.randint(len(x0), (hyper.batch_size,), device=device)
        t = torch.randint(1000, (len(rows),), device=device)
        noise = torch.randn(len(rows), 1, x0.shape[1], device=device)
        output = model(diffusion.noised(x0[rows, None], t, noise), t, y[rows])
        loss = sum(diffusion.losses(output, x0[rows, None], t, noise, hyper.prediction)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, new in zip(ema.parameters(), model.parameters(), strict=True):
                kept.mul_(hyper.ema).add_(new, alpha=1 - hyper.ema)
    return loss.item()


def stem_sample(fit):
    """Two calls for each of 32 samples."""
    from helpers.models.stem import network
    from helpers.models.stem.sampling import sample

    profile, hyper = FITS[fit][0], stem_size(fit)
    y, x0 = stem_data(profile)
    weights = network.build(hyper, x0.shape[1], y.shape[1], seed=0).state_dict()
    fitted = network.from_weights(weights, profile, precision=hyper.precision)
    return sample(fitted, y[:8], sampler="ddim", calls=2, n_samples=4)


def stem_table():
    """Seconds of each of FITS here, by the project and plainly, and what a whole fit would take."""
    from helpers.models.stem import recipes

    rows = []
    for fit, (profile, _) in FITS.items():
        hyper, measured, prepare = recipes.recipe(profile), stem_size(fit), functools.partial(stem_data, profile)
        share = measured.steps * measured.batch_size / hyper.batch_size
        tasks = (functools.partial(task, fit) for task in (stem_fit, stem_fit_plain, stem_sample))
        (seconds, memory), (plain, plain_memory), (sampling, _) = run(prepare, *tasks)
        per_sample = sampling / 64 * {"ancestral": 1000, "mean": 1}.get(hyper.sampler, hyper.calls)
        fits = FOLDS * hyper.steps * seconds / share / 3600
        samples = FOLDS * SPOTS_OF_A_FOLD * hyper.n_samples * per_sample / 3600
        rows.append(
            {
                "STEM": fit,
                "steps/s": share / seconds,
                "plain steps/s": share / plain,
                "times faster": plain / seconds,
                "MB": memory,
                "plain MB": plain_memory,
                "samples/s": 1 / per_sample,
                "35 folds x 2 targets, hours": fits + samples,
            }
        )
    return pd.DataFrame(rows)


PAIRS = [
    ("Spearman, 15,000 genes x 700 spots", spearman_vectorized, spearman_loop, counts),
    ("Pearson residuals, 300 of 15,000 genes", residuals_of_a_panel, residuals_of_scanpy, section),
    ("nuclei of a 92 MP section | its stains alone", nuclei_of_a_section, stains_of_the_whole_image, imported_slide),
    ("ridge, 800 x 200 -> 300 genes, 11 penalties", ridge_over_penalties, ridge_of_scikit_learn, fold),
    ("Moran null, 300 genes x 700 spots x 999 draws", moran_null, None, maps),
    ("Moran null, the same x 19 draws", moran_null_of_few, moran_null_loop, maps),
    ("partial scores, 300 genes x 700 spots", partial_vectorized, partial_loop, maps),
    ("depth-only twin, 15,000 genes x 700 spots", depth_only_twin, depth_only_dense, section),
    ("audit, 3 sections x 700 spots x 300 genes", audit_of_three_sections, None, predicted_section),
    ("equal-depth twin, the same", equal_depth_twin, equal_depth_of_scanpy, section),
]


def measure(task, prepare, pipe):
    """Run the task once for each message that asks for it; in the end tell the peak of memory."""
    if prepare is not None:
        prepare()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while pipe.recv():
        start = time.perf_counter()
        task()
        pipe.send(time.perf_counter() - start)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        peak = max(peak, sys.modules["torch"].cuda.max_memory_allocated() / 2**20)
    pipe.send(peak)


def run(prepare, *tasks, repeats=REPEATS):
    """Median seconds and peak MB of each task, each in a process of its own, in turns: a busy moment hits all alike."""
    context = multiprocessing.get_context("spawn")
    sides = []
    for task in filter(None, tasks):
        pipe, theirs = context.Pipe()
        process = context.Process(target=measure, args=(task, prepare, theirs))
        process.start()
        theirs.close()  # so that a side that fails is heard of
        sides.append((task, pipe, process))
    seconds = {task: [] for task, *_ in sides}
    for task, pipe, _ in sides * repeats:
        pipe.send(True)
        seconds[task].append(pipe.recv())
    found = {}
    for task, pipe, process in sides:
        pipe.send(False)
        found[task] = statistics.median(seconds[task]), pipe.recv()
        process.join()
    return [found.get(task, (np.nan, np.nan)) for task in tasks]


def main(spots, sections):
    """Print what was asked for: audits by `spots`, books by number of `sections`, else all comparisons."""
    if spots:
        print(size_table(spots).to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    if sections:
        print(growth_table(sections).to_string(float_format="{:.2f}".format, na_rep=""))
    if spots or sections:
        return
    rows = []
    for name, ours, plain, prepare in PAIRS:
        (seconds, memory), (plain_seconds, plain_memory) = run(prepare, ours, plain)
        rows.append((name, seconds, plain_seconds, plain_seconds / seconds, memory, plain_memory))
        columns = ["", "seconds", "plain", "times faster", "MB", "plain MB"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    print()
    print(stem_table().to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--spots", type=int, nargs="*", default=[], help="sizes of sections to audit, and nothing else")
    parser.add_argument("--sections", type=int, nargs="*", default=[], help="two numbers of sections or more")
    asked = parser.parse_args()
    main(asked.spots, asked.sections)
