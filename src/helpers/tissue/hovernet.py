"""Nuclei by HoVer-Net, through tiatoolbox: where they are, their outlines and their types. Meant for a GPU.

The network looks at windows under the spots, each handed to `MultiTaskSegmentor` as an image of its own, enlarged from
whole pixels of the slide and outlined as a whole. Given the whole slide, the engine of tiatoolbox 2.1.0 lost 1 to 2 %
of drawn nuclei, where its tiles meet, placed them up to 1.7 um off at 0.688 um per pixel, and keeps maps of the
square around all spots at 0.25 um per pixel: 12 GB for a section of 7 mm.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from tqdm.std import tqdm

from helpers import quiet
from helpers.weights import is_state_dict, misfits, read_tensors

# The dataset that the weights were trained on, and their licence, as tiatoolbox's documentation states them.
LICENCES = {
    "hovernet_fast-pannuke": ("PanNuke", "CC BY-NC-SA 4.0"),
    "hovernet_fast-monusac": ("MoNuSAC", "CC BY-NC-SA 4.0"),
    "hovernet_original-kumar": ("Kumar", "CC BY-NC-SA 4.0"),
    "hovernet_original-consep": ("CoNSeP", "Apache-2.0"),
}
NOT_READ = (
    "not a state dict that can be read without running code from it; save model.state_dict() with torch.save and give "
    "that file"
)
NUCLEUS_UM = 10.0  # a nucleus within its own part of a window reaches this far beyond it, and is seen whole


MODEL = "hovernet_fast-pannuke"


def engine(model: str = MODEL, weights: str | Path | None = None, device: str | None = None, batch_size: int = 16):
    """The network `model` with its weights, run by tiatoolbox: what `detect_section` takes.

    `weights` is a local file, else tiatoolbox downloads its own; `LICENCES` says under which terms. `device` is the GPU
    where there is one. FileNotFoundError for weights that are missing and cannot be downloaded, ValueError for a file
    that does not hold the weights of `model` and for an unknown model.
    """
    if model not in LICENCES:
        raise ValueError(f"unknown model {model!r}: choose one of {', '.join(LICENCES)}")
    with quiet.tiatoolbox():
        import torch
        from tiatoolbox import rcParam
        from tiatoolbox.models.architecture import fetch_pretrained_weights
        from tiatoolbox.models.engine.multi_task_segmentor import MultiTaskSegmentor

        if weights is None:
            try:
                weights = fetch_pretrained_weights(model)
            except Exception as error:  # no network, a proxy, a full disk: each library has errors of its own
                raise FileNotFoundError(
                    f"the weights of {model} could not be downloaded ({type(error).__name__}: {error}); "
                    "fetch them elsewhere and give the file as nuclei: weights"
                ) from error
        check_weights(weights, model)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        mode, rcParam["torch_compile_mode"] = rcParam["torch_compile_mode"], "disable"  # it needs a compiler on the GPU
        try:
            return MultiTaskSegmentor(model, batch_size=batch_size, weights=weights, device=device, verbose=False)
        finally:
            rcParam["torch_compile_mode"] = mode


def detect_section(
    read: Callable,
    spatial: np.ndarray,
    mpp: float,
    engine,
    size_um: float = 154.0,
    folder: str | Path | None = None,
) -> pd.DataFrame:
    """Nuclei with their centroid in the squares of `size_um` um around the spots, each once.

    `read(centre, size_um, mpp)` gives a region as RGB uint8, `spatial` is n x 2: x, y of the spots in
    full-resolution pixels of `mpp` um, `engine` is a network of `engine`. Work files lie in a fresh folder inside
    `folder`, which is removed. Returns x, y (full-resolution pixels), area_um2, type (None where the model has none),
    probability (share of the nucleus's pixels of that type) and outline (k x 2, full-resolution pixels).
    Graham et al. 2019, doi 10.1016/j.media.2019.101563.
    """
    resolution = engine.ioconfig.input_resolutions[0]["resolution"]
    (patch, _), (step, _) = engine.ioconfig.patch_input_shape, engine.ioconfig.patch_output_shape
    # What lies beyond a window is white to the network: a nucleus is outlined where its whole context is inside.
    margin = (patch - step) / 2 + NUCLEUS_UM / resolution
    n_steps, centres, window_of = _windows(np.asarray(spatial, float) * mpp, size_um, resolution, step, margin)

    # Whole pixels of the slide, enlarged to whole steps of the network: coordinates go back without rounding.
    native = round(n_steps * step * resolution / mpp)
    scale = native / (n_steps * step)
    nearest, found = cKDTree(spatial), []
    with quiet.tiatoolbox(), TemporaryDirectory(dir=folder) as fresh:
        for window, centre in enumerate(tqdm(centres / mpp, desc="HoVer-Net", unit="window")):
            corner = np.rint(centre - (native - 1) / 2)
            image = read(tuple(corner + (native - 1) / 2), native * mpp, scale * mpp)
            result = _run(engine, image, resolution, Path(fresh) / str(window))
            nuclei = _on_slide(_nuclei(result, engine.model.nuc_type_dict), scale, corner, mpp)
            away, spot = nearest.query(nuclei[["x", "y"]], p=np.inf)
            found.append(nuclei[(away <= size_um / 2 / mpp) & (window_of[spot] == window)])
    return pd.concat(found, ignore_index=True)


def check_weights(path: str | Path, model: str) -> None:
    """Refuse a file that does not hold the parameters of `model`, without running code that it may carry.

    FileNotFoundError for a missing file; ValueError, naming the file, for one that is no state dict and for the
    first parameter that the architecture lacks, misses or has in another shape.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights; give the path of a state dict of {model}")
    state = read_tensors(path, NOT_READ, NOT_READ)
    if not is_state_dict(state):
        holds = f"a dict of {', '.join(map(str, list(state)[:3]))}" if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"{path}: not a state dict but {holds}; give one that maps parameter names to tensors")
    with torch.device("meta"):  # shapes alone
        expected = _architecture(model).state_dict()
    for name, (theirs, ours) in misfits(state, expected).items():
        if theirs is None and name.endswith("num_batches_tracked"):
            continue  # counters of batches are of no use outside training
        if theirs is None:
            wrong = f"no parameter {name!r}, which {model} has"
        elif ours is None:
            wrong = f"parameter {name!r} is unknown to {model}"
        else:
            wrong = f"parameter {name!r} has shape {theirs}, not {ours} as in {model}"
        raise ValueError(f"{path}: {wrong}; give the weights of that model")


def _architecture(model: str):
    from tiatoolbox import rcParam
    from tiatoolbox.models.architecture.hovernet import HoVerNet

    return HoVerNet(**rcParam["pretrained_model_info"][model]["architecture"]["kwargs"])


def _windows(spots: np.ndarray, size_um: float, resolution: float, step: int, margin: float) -> tuple:
    """Steps per window, centres of the windows in um, and the window of each spot: the fewest patches in all."""
    least = int(np.ceil((size_um / resolution + 2 * margin) / step))
    plans = []
    for n_steps in range(least, least + 5):  # wider ones may hold several spots
        centres, window_of = _cover(spots, (n_steps * step - 2 * margin) * resolution - size_um)
        plans.append((n_steps**2 * len(centres), n_steps, centres, window_of))
    return min(plans, key=lambda plan: plan[0])[1:]


def _cover(spots: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Squares of `width` that hold all spots, in rows: their centres, and the square of each spot."""
    centres, window_of = [], np.empty(len(spots), int)
    rest = np.argsort(spots[:, 1], kind="stable")
    while len(rest):
        in_row = spots[rest, 1] <= spots[rest[0], 1] + width
        row, rest = rest[in_row], rest[~in_row]
        row = row[np.argsort(spots[row, 0], kind="stable")]
        while len(row):
            inside = spots[row, 0] <= spots[row[0], 0] + width
            window_of[row[inside]] = len(centres)
            centres.append((spots[row[inside]].min(axis=0) + spots[row[inside]].max(axis=0)) / 2)
            row = row[~inside]
    return np.array(centres), window_of


def _run(engine, image: np.ndarray, resolution: float, folder: Path) -> dict:
    """What the engine finds in one image, in pixels of that image."""
    import zarr
    from tiatoolbox.utils.misc import imwrite

    folder.mkdir()
    imwrite(folder / "window.png", image)
    engine.ioconfig.tile_shape = image.shape[:2]  # outlined as a whole
    results = engine.run(
        [folder / "window.png"],
        patch_mode=False,
        auto_get_mask=False,
        save_dir=folder / "results",
        output_type="zarr",
        wsireader_kwargs={"mpp": (resolution, resolution)},
    )
    stored = zarr.open(results[folder / "window.png"], mode="r")
    return {key: stored[key][:] for key in ("centroid", "contours", "type", "prob")}


def _nuclei(result: dict, type_names: dict | None) -> pd.DataFrame:
    outlines = [_unpadded(outline) for outline in result["contours"]]
    names = {number: name for number, name in (type_names or {}).items() if number > 0}  # 0 is the background
    types = [names.get(int(number)) for number in result["type"]]
    return pd.DataFrame(
        {
            "x": np.reshape(result["centroid"], (-1, 2))[:, 0].astype(float),
            "y": np.reshape(result["centroid"], (-1, 2))[:, 1].astype(float),
            "area_um2": [_n_pixels(outline) for outline in outlines],
            "type": pd.Series(types, dtype=object),
            "probability": [float(p) if t else np.nan for p, t in zip(result["prob"], types, strict=True)],
            "outline": pd.Series(outlines, dtype=object),
        }
    )


def _on_slide(nuclei: pd.DataFrame, scale: float, corner: np.ndarray, mpp: float) -> pd.DataFrame:
    """Nuclei of a window, in its pixels, each `scale` pixels of the slide wide, as they lie in the slide's."""
    nuclei["area_um2"] *= (scale * mpp) ** 2
    nuclei[["x", "y"]] = (nuclei[["x", "y"]] + 0.5) * scale - 0.5 + corner
    nuclei["outline"] = [(outline + 0.5) * scale - 0.5 + corner for outline in nuclei["outline"]]
    return nuclei


def _unpadded(outline: np.ndarray) -> np.ndarray:
    # tiatoolbox stacks outlines of unlike lengths, the end filled with the least number of the type.
    outline = np.asarray(outline)
    return outline[(outline != np.iinfo(outline.dtype).min).all(axis=1)]


def _n_pixels(outline: np.ndarray) -> float:
    """Pixels of a region whose outline runs through the middles of its outermost ones (Pick's theorem)."""
    step = np.roll(outline, -1, axis=0) - outline
    area = abs(np.sum(outline[:, 0] * step[:, 1] - outline[:, 1] * step[:, 0])) / 2
    return float(area + np.abs(step).max(axis=1).sum() / 2 + 1)
