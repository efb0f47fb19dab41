"""HoVer-Net's way through tiatoolbox: against drawn truth nuclei are found once, where they are, as large as they are.

No weights can be fetched where tests run. Tests make them: a network of the real architecture with random parameters;
for the drawn truth its maps are replaced by those that a perfect network would give.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from helpers.tissue import hovernet, nuclei_files

MODEL = "hovernet_fast-pannuke"
COLOURS = {"Neoplastic": (200, 0, 0), "Inflammatory": (0, 200, 0), "Connective": (0, 0, 200)}
RADIUS_UM = 4.0


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(hovernet._architecture(MODEL).state_dict(), path)
    return path


@pytest.fixture
def perfect(monkeypatch):
    """A forward pass that gives the maps of what is drawn: nuclei against white, hover distances, types by colour."""
    import torch
    from tiatoolbox.models.architecture.hovernet import HoVerNet

    def maps(image):
        nucleus = (255 - image).max(axis=2) > 127
        labels, _ = ndimage.label(nucleus)
        hover, kind = np.zeros((2, *labels.shape)), np.zeros((6, *labels.shape))
        for label, box in enumerate(ndimage.find_objects(labels), 1):
            y, x = np.nonzero(labels[box] == label)
            y, x = y + box[0].start, x + box[1].start
            for axis, at in enumerate((x, y)):
                hover[axis, y, x] = (at - at.mean()) / max(np.abs(at - at.mean()).max(), 1)
            kind[1 + image[y, x].mean(axis=0).argmax(), y, x] = 20  # in the order of COLOURS
        return {"tp": kind, "np": np.stack([~nucleus, nucleus]) * 20.0, "hv": hover}

    def forward(self, batch):
        found = [maps(image) for image in batch.permute(0, 2, 3, 1).numpy()]
        return {key: torch.tensor(np.stack([m[key] for m in found])[..., 46:210, 46:210]).float() for key in found[0]}

    monkeypatch.setattr(HoVerNet, "forward", forward)


def drawn(mpp, um):
    """Discs of three colours, 13 um apart, each moved by up to 1 um: image, centres in pixels, types."""
    image, truth, kinds = np.full((round(um / mpp),) * 2 + (3,), 255.0), [], []
    y, x = np.indices(image.shape[:2])
    rng = np.random.default_rng(0)
    for at in np.stack(np.meshgrid(*[np.arange(7, um - 6, 13)] * 2), axis=-1).reshape(-1, 2):
        truth.append((at + rng.uniform(-1, 1, 2)) / mpp)
        kinds.append(rng.choice(list(COLOURS)))
        left, top = (truth[-1] - RADIUS_UM / mpp - 2).astype(int).clip(0)
        box = np.s_[top : top + int(2 * RADIUS_UM / mpp + 6), left : left + int(2 * RADIUS_UM / mpp + 6)]
        share = np.clip(RADIUS_UM / mpp + 0.5 - np.hypot(x[box] - truth[-1][0], y[box] - truth[-1][1]), 0, 1)[..., None]
        image[box] = image[box] * (1 - share) + np.array(COLOURS[kinds[-1]]) * share
    return image.round().astype(np.uint8), np.array(truth), np.array(kinds)


def reader_of(image, native):
    """`read(centre, size_um, mpp)` over an array of `native` um per pixel, white outside it."""
    from tiatoolbox.utils.transforms import imresize

    def read(centre, size_um, mpp):
        side = round(size_um / native)
        left, top = np.rint(np.asarray(centre) + 0.5 - side / 2).astype(int)
        padded = np.pad(image, ((side, side), (side, side), (0, 0)), constant_values=255)
        return imresize(
            padded[top + side : top + 2 * side, left + side : left + 2 * side], output_size=(round(size_um / mpp),) * 2
        )

    return read


@pytest.mark.parametrize(("mpp", "together"), [(0.25, True), (0.688, True), (0.688, False)])
def test_each_drawn_nucleus_is_found_once_where_it_is(perfect, weights, tmp_path, monkeypatch, mpp, together):
    """Squares overlap, borders of windows and patches cut through nuclei, one square reaches over the image's edge.

    Once all spots share a window, once each has its own.
    """
    cover = hovernet._cover
    monkeypatch.setattr(hovernet, "_cover", lambda spots, width: cover(spots, width if together else 0))
    image, truth, kinds = drawn(mpp, 260)
    spatial = np.array([[95, 95], [165, 100], [100, 170], [215, 215]]) / mpp
    engine = hovernet.engine(MODEL, weights, "cpu")
    found = hovernet.detect_section(reader_of(image, mpp), spatial, mpp, engine, size_um=100, folder=tmp_path)
    here = (np.abs(truth[:, None] - spatial) <= 50 / mpp).all(axis=2).any(axis=1)
    off, which = cKDTree(truth[here]).query(found[["x", "y"]])
    assert len(hovernet._windows(spatial * mpp, 100, 0.25, 164, 86)[1]) == (1 if together else 4)
    assert sorted(which) == list(range(here.sum()))
    assert off.max() * mpp < 0.15
    np.testing.assert_allclose(found["area_um2"], np.pi * RADIUS_UM**2, rtol=0.06)
    assert found["area_um2"].mean() == pytest.approx(np.pi * RADIUS_UM**2, rel=0.01)
    assert (found["type"].to_numpy() == kinds[here][which]).all()
    assert (found["probability"] > 0.99).all()
    reach = [
        np.hypot(*(outline - centre).T) * mpp
        for outline, centre in zip(found["outline"], found[["x", "y"]].to_numpy(), strict=True)
    ]
    assert np.concatenate(reach).min() > RADIUS_UM - 0.6
    assert np.concatenate(reach).max() < RADIUS_UM + 0.5
    assert not list(tmp_path.iterdir())


def test_glass_has_no_nuclei(perfect, weights):
    glass = np.full((300, 300, 3), 255, np.uint8)
    engine = hovernet.engine(MODEL, weights, "cpu")
    found = hovernet.detect_section(reader_of(glass, 0.688), np.array([[150, 150]]), 0.688, engine)
    assert len(nuclei_files.as_table(found, "A1", "hovernet")) == 0


@pytest.mark.parametrize("pitch_um", [40, 100, 200])
def test_windows_hold_every_square_and_its_margin_and_share_patches_where_spots_are_dense(pitch_um):
    spots = np.stack(np.meshgrid(np.arange(12), np.arange(9)), axis=-1).reshape(-1, 2) * float(pitch_um)
    spots += np.random.default_rng(0).normal(0, 1, spots.shape)
    n_steps, centres, window_of = hovernet._windows(spots, 100, 0.25, 164, 86)
    inside = (n_steps * 164 / 2 - 86) * 0.25 - 50
    assert np.abs(spots - centres[window_of]).max() <= inside
    share = n_steps**2 * len(centres) / (4**2 * len(spots))  # of the patches that a window per spot would cost
    assert share == 1 if pitch_um == 200 else share < 0.7


def test_pixels_are_counted_from_the_outline_through_their_middles():
    """Pick's theorem: boxes, single rows, and what cv2 outlines."""
    import cv2

    disc = np.hypot(*np.indices((40, 40)) - 20) < 13
    comb = np.zeros((40, 40), bool)
    comb[5:8, 5:30], comb[8:20, 10], comb[8:25, 20:22] = True, True, True
    for mask in (disc, comb, np.eye(9, dtype=bool), np.ones((1, 7), bool)):
        [outline], _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        assert hovernet._n_pixels(outline[:, 0]) == mask.sum()


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_file_that_carries_code_is_refused_and_its_code_not_run(tmp_path):
    for name in ("plain.pth", "torch.pth"):
        path, trace = tmp_path / name, tmp_path / f"{name}.ran"
        if name == "plain.pth":
            path.write_bytes(pickle.dumps(Malicious(trace)))
        else:
            import torch

            torch.save({"conv0": Malicious(trace)}, path)
        with pytest.raises(ValueError, match=f"{name}: not a state dict that can be read without running code"):
            hovernet.engine(MODEL, path, "cpu")
        assert not trace.exists()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda state: {"desc": state}, "not a state dict but a dict of desc"),
        (lambda state: list(state.values()), "not a state dict but list"),
        (
            lambda state: {key: value for key, value in state.items() if key != "conv_bot.weight"},
            "no parameter 'conv_bot.weight'",
        ),
        (lambda state: state | {"fc.weight": state["conv_bot.weight"]}, "parameter 'fc.weight' is unknown to"),
        (
            lambda state: state | {"decoder.tp.u0.conv.bias": state["decoder.tp.u0.conv.bias"][:5]},
            r"parameter 'decoder.tp.u0.conv.bias' has shape \(5,\), not \(6,\)",
        ),
    ],
)
def test_weights_of_something_else_are_refused_by_parameter(weights, tmp_path, spoil, reason):
    import torch

    torch.save(spoil(torch.load(weights, weights_only=True)), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=f"other.pth: {reason}"):
        hovernet.check_weights(tmp_path / "other.pth", MODEL)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>404</html>"])
def test_a_damaged_file_of_weights_is_refused(tmp_path, content):
    (tmp_path / "cut.pth").write_bytes(content)
    with pytest.raises(ValueError, match="cut.pth: not a state dict"):
        hovernet.check_weights(tmp_path / "cut.pth", MODEL)
    with pytest.raises(FileNotFoundError, match="gone.pth"):
        hovernet.check_weights(tmp_path / "gone.pth", MODEL)


def test_without_a_file_tiatoolbox_downloads_its_own_and_a_missing_network_is_named(monkeypatch, weights):
    import tiatoolbox.models.architecture as tiatoolbox

    def no_network(model):
        raise ConnectionError("no route to huggingface.co")

    monkeypatch.setattr(tiatoolbox, "fetch_pretrained_weights", no_network)
    with pytest.raises(FileNotFoundError, match=f"weights of {MODEL} could not be downloaded .*no route"):
        hovernet.engine(MODEL, None, "cpu", 1)
    monkeypatch.setattr(tiatoolbox, "fetch_pretrained_weights", lambda model: {MODEL: str(weights)}[model])
    assert hovernet.engine(MODEL, None, "cpu", 1).ioconfig.patch_output_shape == [164, 164]


def test_each_model_of_tiatoolbox_has_its_licence_and_another_is_refused():
    from tiatoolbox import rcParam

    known = rcParam["pretrained_model_info"]
    assert set(hovernet.LICENCES) == {name for name in known if name.startswith("hovernet_")}
    with pytest.raises(ValueError, match="unknown model 'resnet18'"):
        hovernet.engine("resnet18")


@pytest.mark.full
def test_the_real_network_runs_with_weights_of_its_architecture(tmp_path):
    """Random parameters find nothing true, but shapes, types and places are those of a run.

    The bias is set so that half of a drawn patch is nucleus to it: a network without answer would test little.
    """
    import torch

    torch.manual_seed(0)
    network = hovernet._architecture(MODEL).eval()
    image, _, _ = drawn(0.25, 100)
    with torch.inference_mode():
        maps = network(torch.tensor(image[None, :256, :256]).permute(0, 3, 1, 2).float())["np"][0]
        network.decoder["np"].u0.conv.bias[0] += torch.median(maps[1] - maps[0])
    torch.save(network.state_dict(), tmp_path / "random.pth")
    spatial = np.array([[200.0, 200.0]])
    engine = hovernet.engine(MODEL, tmp_path / "random.pth", "cpu")
    found = hovernet.detect_section(reader_of(image, 0.25), spatial, 0.25, engine, size_um=30)
    assert len(found)
    assert (np.abs(found[["x", "y"]] - 200) <= 60).all(axis=None)
    assert (found["area_um2"] > 0).all()
    assert set(found["type"].dropna()) <= {*COLOURS, "Dead", "Non-Neoplastic Epithelial"}
    assert found["probability"].dropna().between(0, 1).all()
