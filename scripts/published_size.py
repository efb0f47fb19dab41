"""STEM at its published size on one fold: loss and scores over its steps. For a GPU; all else runs on a processor.

    python scripts/published_size.py prepare build/her2st C3 fold.npz
    python scripts/published_size.py fit fold.npz log2.npz --target log2 --predict C3 --steps 5000
    python scripts/published_size.py score build/her2st C3 data/results/stem_published_size log2.npz

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
K = 50
N_SCORES = 12  # how often, over the steps, the section is predicted


@app.command()
def prepare(build: Path, held_out: str, out: Path) -> None:
    """Write features and targets of the sections with features, for the panel of the fold, into one file of arrays."""
    from helpers import schema, store
    from helpers.targets import normalization
    from helpers.targets.genes import panel_of

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
    with devices.claimed(devices.usable(hyper.precision)) as fabric:
        name = torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu"
        about = asdict(hyper) | {"target": target, "predict": predict, "leave": leave, "training": training}
        for kept in _followed(fabric, arrays, training, predict, target, hyper):
            about |= {"seconds": time.perf_counter() - start, "device": name}
            np.savez_compressed(out, about=json.dumps(about), **kept)  # each time: a machine may be lent for minutes


def _followed(fabric, arrays, training, predict, target, hyper) -> Iterator[dict[str, np.ndarray]]:
    """The steps of a fit: after every twelfth of them, what its averaged weights have predicted of the section."""
    import torch

    from helpers.models.stem import training as stem

    sections = np.repeat(training, [len(arrays[f"{name}/conditions"]) for name in training])
    x, y = (np.vstack([arrays[f"{name}/{what}"] for name in training]) for what in ("conditions", target))
    held = np.zeros(len(y), bool)
    tensors, undo = stem.prepared(x, y, sections, None, replace(hyper, augment=False), ~held)
    parts, history = stem.assembled(fabric, tensors, hyper, seed=0), stem.History()
    task = stem.on_device(fabric, tensors, held, hyper, 0, stem.Run())
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
def score(build: Path, held_out: str, out: Path, fits: list[Path]) -> None:
    """Write losses.csv, scores.csv (over the steps; ridge and the profile's STEM beside) and fits.json (what ran)."""
    import json

    import pandas as pd

    from helpers import schema, store
    from helpers.targets.genes import panel_of

    genes = panel_of(held_out, store.read_table(build / "results/panel.csv", ["panel", "gene"]))
    section = store.read_section(build / f"sections/{held_out}.h5ad")
    losses, rows, provenance = [], [], {}
    for path in fits:
        kept = np.load(path, allow_pickle=False)
        about = json.loads(str(kept["about"]))
        if about["predict"] != held_out:
            raise ValueError(f"{path} predicts {about['predict']}, not {held_out}: give fits of one fold")
        target = about["target"]
        losses.append(pd.DataFrame(kept["loss"], columns=["step", "mse", "vb"]).assign(target=target))
        for step, predicted in zip(kept["step"], kept["predicted"], strict=True):
            row = {"model": "published size", "step": step, "spot_views": step * about["batch_size"], "target": target}
            rows.append(row | _scores(predicted, target, section, genes))
        for model, fit_name in {"ridge": "linear", "stem": f"stem.{target}"}.items():
            prediction = store.read_section(
                build / f"predictions/section.{held_out}.{fit_name}/{model}.{target}.0.h5ad"
            )
            hyper = prediction.uns["info"].get("hyper", {})
            row = {"model": model, "step": hyper.get("steps"), "target": target}
            row |= {"spot_views": hyper["steps"] * hyper["batch_size"] if hyper else None}
            rows.append(row | _scores(prediction.layers[schema.PREDICTED], target, section, genes))
        provenance[target] = about | {"parameters": int(kept["parameters"])}
    store.write_table(pd.concat(losses), out / "losses.csv")
    store.write_table(pd.DataFrame(rows).assign(held_out=held_out), out / "scores.csv")
    store.write_json(provenance, out / "fits.json")


def _scores(predicted, target: str, section, genes: list[str]) -> dict[str, float]:
    """PCC-k and the two skills of a prediction of a section, spots x genes."""
    from helpers.columns import pearson
    from helpers.scores import judge

    measured = judge.measured(section, target, genes)
    skills = judge.skills(predicted, target, section, genes, judge.basis(section), K)
    return {"pcc": judge.pcc_at_k(pearson(measured, predicted), K)} | skills


if __name__ == "__main__":
    app()
