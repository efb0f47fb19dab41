import numpy as np
import pytest
import torch

from helpers import stem


@pytest.fixture(scope="module")
def published(stem_parity):
    """Inputs and outputs of the published code at a toy size, and our network with its weights."""
    stored = np.load(stem_parity)
    weights = {k.removeprefix("param/"): torch.tensor(stored[k]) for k in stored.files if k.startswith("param/")}
    values = {k: torch.tensor(stored[k]) for k in stored.files if not k.startswith("param/")}
    model = stem.Stem(n_genes=24, hidden_size=32, depth=2, n_heads=4, condition_size=20)
    model.load_state_dict(weights, strict=True)
    return model.eval(), values


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_network_agrees_with_the_published_one(published):
    model, p = published
    x_t = stem.noised(p["x0"], p["t"], p["noise"])
    close(x_t, p["x_t"])
    with torch.no_grad():
        close(model(x_t, p["t"], p["y"]), p["model_output"])


def test_losses_agree_with_the_published_ones(published):
    _, p = published
    mse, vb = stem.losses(p["model_output"], p["x0"], p["t"], p["noise"])
    close(mse, p["loss_mse"])
    close(vb, p["loss_vb"])
    close(mse + vb, p["loss"])


def test_posterior_agrees_with_the_published_one(published):
    _, p = published
    mean, log_variance, x0 = stem.posterior(p["x_t"], p["t"], p["model_output"])
    close(mean, p["posterior_mean"])
    close(log_variance, p["posterior_log_variance"])
    close(x0, p["pred_x0"])


def test_schedule_agrees_with_the_published_one(published):
    _, p = published
    close(stem.schedule()["alphas_cumprod"], p["alphas_cumprod"], atol=1e-12)


def test_untrained_network_says_zero_whatever_it_is_given():
    torch.manual_seed(0)
    model = stem.Stem(n_genes=7, hidden_size=16, depth=2, n_heads=2, condition_size=5)
    with torch.no_grad():
        output = model(torch.randn(3, 1, 7), torch.tensor([0, 500, 999]), torch.randn(3, 5))
    assert output.shape == (3, 2, 7)
    assert (output == 0).all()


def test_genes_have_no_order(published):
    """Permute the genes' embeddings and values: the output is permuted and not otherwise changed."""
    model, p = published
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = stem.Stem(24, 32, 2, 4, 20)
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
