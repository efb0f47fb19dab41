"""Twin of helpers/models/stem/network.py."""

import pickle

import numpy as np
import pytest
import torch

from helpers.models.stem import diffusion, network, sampling, training


@pytest.fixture(scope="module")
def published(stem_parity):
    """Inputs and outputs of the published code at a toy size, and our network with its weights."""
    stored = np.load(stem_parity)
    weights = {k.removeprefix("param/"): torch.tensor(stored[k]) for k in stored.files if k.startswith("param/")}
    values = {k: torch.tensor(stored[k]) for k in stored.files if not k.startswith("param/")}
    model = network.Stem(n_genes=24, hidden_size=32, depth=2, n_heads=4, condition_size=20)
    model.load_state_dict(weights, strict=True)
    return model.eval(), values


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_network_agrees_with_the_published_one(published):
    model, p = published
    x_t = diffusion.noised(p["x0"], p["t"], p["noise"])
    close(x_t, p["x_t"])
    with torch.no_grad():
        close(model(x_t, p["t"], p["y"]), p["model_output"])


def test_untrained_network_says_zero_whatever_it_is_given():
    torch.manual_seed(0)
    model = network.Stem(n_genes=7, hidden_size=16, depth=2, n_heads=2, condition_size=5)
    with torch.no_grad():
        output = model(torch.randn(3, 1, 7), torch.tensor([0, 500, 999]), torch.randn(3, 5))
    assert output.shape == (3, 2, 7)
    assert (output == 0).all()


def test_genes_have_no_order(published):
    """Permute the genes' embeddings and values: the output is permuted and not otherwise changed."""
    model, p = published
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = network.Stem(24, 32, 2, 4, 20)
    weights = model.state_dict()
    weights["gene_joint_embed.gene_name_ebd"] = weights["gene_joint_embed.gene_name_ebd"][order]
    shuffled.load_state_dict(weights)
    with torch.no_grad():
        close(shuffled(p["x_t"][..., order], p["t"], p["y"]), model(p["x_t"], p["t"], p["y"])[..., order])


def test_genes_inform_each_other(published):
    model, p = published
    other = p["x_t"].clone()
    other[..., 0] += 1
    with torch.no_grad():
        change = model(other, p["t"], p["y"]) - model(p["x_t"], p["t"], p["y"])
    assert (change[..., 1:].abs().amax(dim=(1, 2)) > 1e-4).all()


TINY = {"hidden_size": 16, "depth": 1, "n_heads": 2, "batch_size": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def linear():
    """240 spots whose 8 genes are a linear function of 2 of 16 conditions, plus noise."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(240, 16)).astype("float32")
    signal = y[:, :2] @ rng.normal(size=(2, 8))
    return y, (5 + signal + 0.5 * rng.normal(size=(240, 8))).astype("float32"), signal


@pytest.fixture(scope="module")
def fitted(linear):
    y, x, _ = linear
    return training.fit(y[:200], x[:200], seed=1, **TINY, steps=400, condition_noise=0.3)


# --- weights ---


@pytest.fixture
def checkpoint(published, tmp_path):
    """A checkpoint as the published code writes it, with a parallel wrapper's names."""
    weights = {f"module.{name}": value for name, value in published[0].state_dict().items()}
    trained = {name: value + 1 for name, value in weights.items()}
    torch.save({"model": trained, "ema": weights, "opt": {"state": {}, "param_groups": []}}, tmp_path / "0300000.pt")
    return tmp_path / "0300000.pt"


def test_samples_come_from_published_weights(checkpoint):
    fitted = network.from_weights(
        network.read_weights(checkpoint), hidden_size=32, depth=2, n_heads=4, sampler="ddim", calls=3
    )
    assert sampling.sample(fitted, np.zeros((2, 20)), n_samples=3).shape == (3, 2, 24)
    with pytest.raises(ValueError, match=r"adaLN_modulation.1.bias is \(192,\) in the weights, \(96,\) in the network"):
        network.from_weights(network.read_weights(checkpoint), hidden_size=16, depth=2, n_heads=4)


def test_published_checkpoint_and_bare_weights_are_read_alike(published, checkpoint, tmp_path):
    torch.save(published[0].state_dict(), tmp_path / "bare.pt")
    wanted = published[0].state_dict()
    for path, use, shift in ((checkpoint, "ema", 0), (checkpoint, "model", 1), (tmp_path / "bare.pt", "ema", 0)):
        read = network.read_weights(path, use)
        assert read.keys() == wanted.keys()
        assert all(torch.equal(read[name], wanted[name] + shift) for name in wanted)


class Malicious:
    def __reduce__(self):
        return print, ("run",)


def test_no_file_of_weights_is_run_as_code(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save({"ema": Malicious()}, path)
    with pytest.raises(ValueError, match="weights.pt: damaged, or holds more than tensors"):
        network.read_weights(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="weights.pt: damaged, or holds more than tensors"):
        network.read_weights(path)
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights_are_named(tmp_path):
    path = tmp_path / "notes.pt"
    for content in ({"model": 3}, [1, 2], {"ema": {"a": "b"}}, {}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="notes.pt: not weights"):
            network.read_weights(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="notes.pt: damaged"):
        network.read_weights(path)
    with pytest.raises(FileNotFoundError, match="absent.pt: no such file"):
        network.read_weights(tmp_path / "absent.pt")


@pytest.mark.full
def test_a_compiled_fit_learns_the_same(linear):
    y, x, _ = linear
    plain, compiled = (training.fit(y, x, **TINY, steps=20, compile=compile) for compile in (False, True))
    torch.testing.assert_close(plain["loss"], compiled["loss"], rtol=1e-3, atol=1e-4)
    assert plain["weights"].keys() == compiled["weights"].keys()


def test_attention_written_out_is_the_fused_one():
    q, k, v = torch.randn(3, 2, 3, 50, 8, generator=torch.Generator().manual_seed(0))
    ours = network.attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    torch.testing.assert_close(ours.float(), network.attention(q, k, v), atol=0.03, rtol=0)
