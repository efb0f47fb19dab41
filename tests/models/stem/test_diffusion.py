"""The diffusion is the published one, and each way back from noise ends where the mathematics says."""

import functools

import numpy as np
import pytest
import torch

from helpers.models.stem import diffusion


@pytest.fixture(scope="module")
def published(stem_parity):
    """Inputs and outputs of the published code at a toy size."""
    stored = np.load(stem_parity)
    return {k: torch.tensor(stored[k]) for k in stored.files if not k.startswith("param/")}


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_losses_agree_with_the_published_ones(published):
    p = published
    mse, vb = diffusion.losses(p["model_output"], p["x0"], p["t"], p["noise"])
    close(mse, p["loss_mse"])
    close(vb, p["loss_vb"])
    close(mse + vb, p["loss"])


def test_posterior_agrees_with_the_published_one(published):
    p = published
    mean, log_variance, x0 = diffusion.posterior(p["x_t"], p["t"], p["model_output"])
    close(mean, p["posterior_mean"])
    close(log_variance, p["posterior_log_variance"])
    close(x0, p["pred_x0"])


def test_schedule_agrees_with_the_published_one(published):
    p = published
    close(diffusion.schedule()["alphas_cumprod"], p["alphas_cumprod"], atol=1e-12)


def test_ancestral_step_is_the_closed_form_for_a_network_that_says_zero():
    """Output 0: x_0 is x_t / signal, the mean q(x_{t-1} | x_t, x_0), the log variance midway in its range."""
    t, beta = 700, 1e-4 + 700 * (0.02 - 1e-4) / 999
    betas = np.linspace(1e-4, 0.02, 1000)
    now, before = np.prod(1 - betas[:701]), np.prod(1 - betas[:700])
    x_t = torch.full((1, 1, 3), 2.0)
    mean, log_variance, x0 = diffusion.posterior(x_t, torch.tensor([t]), torch.zeros(1, 2, 3))
    assert x0[0, 0, 0].item() == pytest.approx(2 / np.sqrt(now), rel=1e-5)
    expected = (np.sqrt(before) * beta * 2 / np.sqrt(now) + np.sqrt(1 - beta) * (1 - before) * 2) / (1 - now)
    assert mean[0, 0, 0].item() == pytest.approx(expected, rel=1e-5)
    small = beta * (1 - before) / (1 - now)
    assert log_variance[0, 0, 0].item() == pytest.approx((np.log(beta) + np.log(small)) / 2, rel=1e-5)


def test_velocity_and_noise_are_the_same_statement():
    """From either, the true target comes back; and the variational term, which sees only x_0, is the same."""
    g = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(4, 1, 6, generator=g), torch.randn(4, 1, 6, generator=g)
    t, share = torch.tensor([3, 200, 600, 900]), torch.zeros(4, 1, 6)
    x_t, v = diffusion.noised(x0, t, noise), diffusion.velocity(x0, t, noise)
    for prediction, first in (("epsilon", noise), ("v", v)):
        output = torch.cat([first, share], dim=1)
        close(diffusion.estimate_x0(x_t, t, output, prediction), x0, atol=1e-3)
        mse, _ = diffusion.losses(output, x0, t, noise, prediction)
        close(mse, torch.zeros(4))
    by_noise, by_v = (
        diffusion.losses(torch.cat([first, share], dim=1), x0, t, noise, p)[1]
        for p, first in (("epsilon", noise), ("v", v))
    )
    close(by_noise, by_v, atol=1e-4)


def test_variational_term_trains_the_variance_alone():
    output = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x0 = torch.zeros(3, 1, 5)
    _, vb = diffusion.losses(output, x0, torch.tensor([0, 10, 500]), torch.ones_like(x0))
    vb.sum().backward()
    assert (output.grad[:, 0] == 0).all()
    assert (output.grad[:, 1] != 0).any()


def test_schedule_of_diffusers_is_ours():
    ours = diffusion.schedule()["alphas_cumprod"]
    for sampler in ("ddim", "dpm", "sde"):
        close(diffusion.scheduler(sampler, "v").alphas_cumprod.double(), ours, atol=1e-6)


def test_nothing_is_clipped():
    assert not diffusion.scheduler("ddim", "epsilon").config.clip_sample
    for sampler in ("dpm", "sde"):
        assert not diffusion.scheduler(sampler, "epsilon").config.thresholding


def noise(*settings):
    return diffusion.gaussian(5, 3, 4, torch.Generator().manual_seed(0), *settings).view(5, 3, 4)


def test_antithetic_samples_have_opposite_noise():
    close(noise(True)[2:4], -noise(True)[:2])
    assert (noise(True)[4].abs() != noise(True)[0].abs()).all()


def test_shared_noise_is_the_same_in_every_spot_and_another_in_every_sample():
    assert (noise(False, True) == noise(False, True)[:, :1]).all()
    assert len(torch.unique(noise(False, True)[:, 0])) == 20


MEAN, SD = 3.0, 0.5


def normal(prediction):
    """The perfect network for targets that are normal with mean y + 3 and standard deviation 0.5."""

    def network(x, t, y):
        signal, noise = diffusion.at("signal", t), diffusion.at("noise", t)
        centre = y[:, None, :1] + MEAN
        x0 = centre + signal * SD**2 / (signal**2 * SD**2 + noise**2) * (x - signal * centre)
        epsilon = (x - signal * x0) / noise
        first = epsilon if prediction == "epsilon" else signal * epsilon - noise * x0
        return torch.cat([first, torch.zeros_like(first)], dim=1)

    return network


def way_back(sampler, prediction, n_samples, y, **settings):
    generator = torch.Generator().manual_seed(0)
    drawn = functools.partial(diffusion.gaussian, n_samples, len(y) // n_samples, 10, generator, **settings)
    if sampler == "ancestral":
        return diffusion.ancestral(normal(prediction), y, prediction, drawn)
    return diffusion.few_calls(normal(prediction), y, prediction, drawn, sampler, 50)


@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm", "sde"])
def test_noise_cancels_in_the_mean_of_an_antithetic_pair(sampler):
    """As the perfect network of a normal target is linear in its input; whatever noise the steps add."""
    back = way_back(sampler, "v", 2, torch.arange(3.0).repeat(2)[:, None], antithetic=True).view(2, 3, 10)
    wanted = (torch.arange(3.0)[:, None] + MEAN).expand(3, 10)
    close(back.mean(0), wanted, atol=0.02)  # pure noise lacks the little of the target that the last time still holds
    assert (back[0] - back[1]).abs().mean() > 0.5 * SD


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm", "sde"])
def test_each_way_back_ends_in_the_distribution_that_the_network_knows(sampler, prediction):
    back = way_back(sampler, prediction, 400, torch.ones(400, 1))
    assert back.mean().item() == pytest.approx(MEAN + 1, abs=0.03)
    assert back.std().item() == pytest.approx(SD, rel=0.08)


def test_the_mean_is_reached_in_one_call():
    drawn = functools.partial(diffusion.gaussian, 2, 3, 10, torch.Generator().manual_seed(0), True)
    guess = diffusion.expected(normal("v"), torch.arange(6.0)[:, None], "v", drawn)
    close(guess[:, 0].mean(1), torch.arange(6.0) + MEAN, atol=0.01)
