"""STEM at its published size: loss and scores over its steps, fold by fold. For a GPU; all else runs on a processor.

    python scripts/published_size.py prepare build/her2st C3 C3.npz
    python scripts/published_size.py fit C3.npz C3.log2.npz --target log2 --predict C3 --steps 600
    python scripts/published_size.py score build/her2st data/results/her2st data/results/stem_published_size C3.log2.npz

`score` without a fit takes what stands beside them, ridge and the small STEM, from the reference run anew.
`fit` needs torch and Lightning Fabric alone, so it also runs where the rest is not installed. A section named by
`--leave` is in neither the training nor the prediction: that is how a recipe is chosen without the fold's own scores.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)
TARGETS = ("log2", "pearson_residual")
LARGE = "published size"
FOLD = ["held_out", "steps"]
OF = [*FOLD, "seed"]  # what a training is named by
K = 50
N_SCORES = 6  # how often, over the steps, the section is predicted


@app.command()
def prepare(build: Path, held_out: str, out: Path) -> None:
    """Write features and targets of the sections with features, for the panel of the fold, into one file of arrays."""
    from helpers import schema, store
    from helpers.targets import normalization
    from helpers.targets.panel import panel_of

    genes = panel_of(held_out, store.read_table(build / "results/panel.csv", ["panel", "gene"]))
    arrays = {}
    for path in sorted((build / "targets").glob("*.h5ad")):
        section = store.read_section(path)
        if schema.PATCH not in section.obsm:
            continue
        name, columns = section.uns["section"], section.var_names.get_indexer(genes)
        arrays[f"{name}/conditions"] = np.asarray(section.obsm[schema.PATCH], np.float32)
        for target in TARGETS:
            values = np.asarray(section.layers[target][:, columns], float)
            arrays[f"{name}/{target}"] = normalization.clip(values, target).astype(np.float32)
    np.savez_compressed(out, **arrays)


@app.command()
def fit(
    data: Path,
    out: Path,
    target: Annotated[str, typer.Option()],
    predict: Annotated[str, typer.Option()],
    steps: Annotated[int, typer.Option()],
    learning_rate: Annotated[float, typer.Option()] = 1e-4,
    leave: Annotated[str, typer.Option()] = "",
    seed: Annotated[int, typer.Option()] = 0,
    changes: Annotated[str, typer.Option(help="other hyperparameters that differ, as JSON")] = "{}",
) -> None:
    """Fit the published size by the short profiles' recipe; keep losses and the section as predicted over the steps."""
    import json

    import torch

    from helpers.models import devices
    from helpers.models.stem.recipes import PAPER, PROFILES, changed

    size = {name: PAPER[name] for name in ("hidden_size", "depth", "n_heads", "batch_size")}
    short = {"precision": "bfloat16", "compile": True, "ema": 0.995, "learning_rate": learning_rate, "steps": steps}
    hyper = changed(PROFILES["cpu"], size | short | json.loads(changes))
    arrays = np.load(data, allow_pickle=False)
    names = [key.split("/")[0] for key in arrays if key.endswith("/conditions")]
    training = [name for name in names if name not in (predict, leave)]
    start = time.perf_counter()
    with devices.claimed(devices.usable_precision(hyper.precision)) as fabric:
        name = torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu"
        about = asdict(hyper) | {
            "target": target,
            "predict": predict,
            "leave": leave,
            "seed": seed,
            "training": training,
        }
        for kept in _followed(fabric, arrays, training, predict, target, hyper, seed):
            about |= {"seconds": time.perf_counter() - start, "device": name}
            np.savez_compressed(out, about=json.dumps(about), **kept)  # each time: a machine may be lent for minutes


def _followed(fabric, arrays, training, predict, target, hyper, seed) -> Iterator[dict[str, np.ndarray]]:
    """The steps of a fit: after every sixth of them, what its averaged weights have predicted of the section."""
    import torch

    from helpers.models.stem import training as stem

    sections = np.repeat(training, [len(arrays[f"{name}/conditions"]) for name in training])
    x, y = (np.vstack([arrays[f"{name}/{what}"] for name in training]) for what in ("conditions", target))
    held = np.zeros(len(y), bool)
    tensors, undo = stem.prepared(x, y, sections, None, replace(hyper, augment=False), ~held)
    parts, history = stem.assembled(fabric, tensors, hyper, seed), stem.History()
    task = stem.on_device(fabric, tensors, held, hyper, seed, stem.Run())
    new = (torch.from_numpy(arrays[f"{predict}/conditions"]) - undo["condition_centre"]) / undo["condition_scale"]
    sums, start, found = torch.zeros(2, device=fabric.device), time.perf_counter(), {"step": [], "seconds": []}
    predictions, n = [], sum(p.numel() for p in parts.model.parameters())
    for step in range(hyper.steps):
        sums += stem.one_step(task, parts, step)
        if (step + 1) % max(1, hyper.steps // 100) == 0 or step + 1 == hyper.steps:
            stem.add_row(task, parts, history, step + 1, sums)
            sums.zero_()
        if (step + 1) % max(1, hyper.steps // N_SCORES) == 0 or step + 1 == hyper.steps:
            mean = _mean(fabric, parts.ema, new.to(fabric.device), y.shape[1], hyper)
            predictions.append((mean * undo["scale"] + undo["centre"]).numpy())
            found["step"].append(step + 1)
            found["seconds"].append(time.perf_counter() - start)
            print(target, predict, hyper.learning_rate, step + 1, round(found["seconds"][-1], 1), history.loss[-1:])
            lists = {name: np.asarray(values) for name, values in found.items()} | {"loss": np.asarray(history.loss)}
            yield lists | {"predicted": np.stack(predictions), "parameters": np.asarray(n)}


def _mean(fabric, model, conditions, n_genes, hyper):
    """The mean of the section's targets in one call of the network, averaged over first noises; spots x genes."""
    import torch

    from helpers.models.stem.sampling import backwards

    with torch.no_grad():
        chunks = conditions.split(16)
        return torch.cat(
            [backwards(fabric, model, c, n_genes, hyper, seed).mean(0).cpu() for seed, c in enumerate(chunks)]
        )


@app.command()
def score(build: Path, reference: Path, out: Path, fits: Annotated[list[Path] | None, typer.Argument()] = None) -> None:
    """Write losses.csv, scores.csv (over the steps; ridge and the profile's STEM beside) and fits.json (what ran).

    `reference` holds the tables of the same cohort's reference run. What `out` has of fits of other lengths stays.
    """
    import json

    import pandas as pd

    from helpers import store
    from helpers.targets.panel import panel_of

    panels = store.read_table(build / "results/panel.csv", ["panel", "gene"])
    losses, rows, ran = [], [], {}
    for path in sorted(fits or []):
        kept = np.load(path, allow_pickle=False)
        about = json.loads(str(kept["about"]))
        fold = {"held_out": about["predict"], "target": about["target"]}
        fold |= {"steps": about["steps"], "seed": about["seed"]}
        section = store.read_section(build / f"sections/{fold['held_out']}.h5ad")
        losses.append(pd.DataFrame(kept["loss"], columns=["step", "mse", "vb"]).assign(**fold))
        fold["patient"] = str(section.obs["patient"].iloc[0])
        for step, predicted in zip(kept["step"], kept["predicted"], strict=True):
            row = fold | {"model": LARGE, "step": step, "spot_views": step * about["batch_size"]}
            rows.append(row | _scores(predicted, fold["target"], section, panel_of(fold["held_out"], panels)))
        ran["{held_out}.{target}.{steps}.{seed}".format(**fold)] = about | {"parameters": int(kept["parameters"])}
    old = {name: store.read_table(out / f"{name}.csv", OF) for name in ("losses", "scores")}
    large = _anew(old["scores"].query("model == @LARGE"), rows)
    folds = large[[*FOLD, "target", "patient"]].drop_duplicates().to_dict("records")
    beside = [row for fold in folds for row in _beside(reference, fold)]
    of_losses = [row for table in losses for row in table.to_dict("records")]
    for name, table in {
        "losses": _anew(old["losses"], of_losses),
        "scores": pd.concat([large, pd.DataFrame(beside)]),
    }.items():
        store.write_table(table.sort_values(FOLD, kind="stable"), out / f"{name}.csv")
    store.write_json(store.read_json(out / "fits.json") | ran, out / "fits.json")


def _anew(old, rows: list[dict]):
    """A table with the rows of folds (OF) that were computed anew in place of those that it had of them."""
    import pandas as pd

    if not rows:
        return old
    new = pd.DataFrame(rows)
    others = ~pd.MultiIndex.from_frame(old[OF]).isin(pd.MultiIndex.from_frame(new[OF]))
    return pd.concat([old[others], new])


def _scores(predicted, target: str, section, genes: list[str]) -> dict[str, float]:
    """PCC-k with its chance and the two skills of a prediction of a section, spots x genes."""
    from helpers.scores import judge

    spots = judge.basis(section)
    found = judge.pcc(judge.measured(section, target, genes), predicted, spots, K)
    skills = judge.skills(predicted, target, section, genes, spots, K)
    return {"pcc": found["pcc"], "pcc_chance_95": found["chance_95"]} | skills


def _beside(reference: Path, fold: dict) -> Iterator[dict]:
    """The same scores of ridge and of STEM as trained elsewhere in the project, of the reference run's tables."""
    from helpers import store

    by = ["section", "split", "backbone", "target"]
    scores = store.read_table(reference / "inference_scores.csv", [*by, "pcc", "chance_spatial"]).set_index(by)
    skills = store.read_table(reference / "skills.csv", [*by, "composition"]).set_index(by)
    for model in ("ridge", "stem"):
        of = (fold["held_out"], "section", model, fold["target"])
        pcc = {"pcc": scores.loc[of, "pcc"], "pcc_chance_95": scores.loc[of, "chance_spatial"]}
        yield fold | {"model": model} | pcc | skills.loc[of].drop("patient").to_dict()


if __name__ == "__main__":
    app()
