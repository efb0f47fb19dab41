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


def test_ancestral_step_is_the_closed_form_for_a_network_that_says_zero():
    """Output 0: x_0 is x_t / signal, the mean q(x_{t-1} | x_t, x_0), the log variance midway in its range."""
    t, beta = 700, 1e-4 + 700 * (0.02 - 1e-4) / 999
    betas = np.linspace(1e-4, 0.02, 1000)
    now, before = np.prod(1 - betas[:701]), np.prod(1 - betas[:700])
    x_t = torch.full((1, 1, 3), 2.0)
    mean, log_variance, x0 = stem.posterior(x_t, torch.tensor([t]), torch.zeros(1, 2, 3))
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
    x_t, v = stem.noised(x0, t, noise), stem.velocity(x0, t, noise)
    for prediction, first in (("epsilon", noise), ("v", v)):
        output = torch.cat([first, share], dim=1)
        close(stem.estimate_x0(x_t, t, output, prediction), x0, atol=1e-3)
        mse, _ = stem.losses(output, x0, t, noise, prediction)
        close(mse, torch.zeros(4))
    by_noise, by_v = (
        stem.losses(torch.cat([first, share], dim=1), x0, t, noise, p)[1] for p, first in (("epsilon", noise), ("v", v))
    )
    close(by_noise, by_v, atol=1e-4)


def test_variational_term_trains_the_variance_alone():
    output = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    x0 = torch.zeros(3, 1, 5)
    _, vb = stem.losses(output, x0, torch.tensor([0, 10, 500]), torch.ones_like(x0))
    vb.sum().backward()
    assert (output.grad[:, 0] == 0).all()
    assert (output.grad[:, 1] != 0).any()


TINY = {"hidden_size": 16, "depth": 1, "n_heads": 2, "batch_size": 16}


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
    return stem.fit(y[:200], x[:200], seed=1, **TINY, steps=400)


def mean_r(predicted, true):
    return np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, true.T, strict=True)])


def test_learns_a_linear_function_of_the_conditions(linear, fitted):
    y, x, signal = linear
    samples = stem.sample(fitted, y[200:])
    assert samples.shape == (8, 40, 8)
    r = mean_r(samples.mean(0), signal[200:])
    assert r > 0.8, r
    # Samples are draws, not copies of the mean: their spread is that of the targets.
    np.testing.assert_allclose(samples[0].std(0).mean(), x.std(0).mean(), rtol=0.25)
    np.testing.assert_allclose(samples.mean((0, 1)), x[:200].mean(0), atol=0.5)
    assert fitted["loss"][-10:, 1].mean() < 0.8 * fitted["loss"][0, 1]


def test_conditions_of_other_spots_predict_nothing(linear, fitted):
    y, _, signal = linear
    wrong = np.random.default_rng(1).permutation(y[200:])
    assert abs(mean_r(stem.sample(fitted, wrong, n_samples=2).mean(0), signal[200:])) < 0.3


@pytest.fixture(scope="module")
def published_samples(linear, fitted):
    return stem.sample(fitted, linear[0][:16], n_samples=8, sampler="ancestral", antithetic=False).reshape(-1, 8)


@pytest.mark.parametrize("sampler", ["ddim", "dpm"])
def test_few_calls_draw_from_what_a_thousand_do(linear, fitted, published_samples, sampler):
    """Over spots and samples, per gene: same mean, same spread."""
    few = stem.sample(fitted, linear[0][:16], n_samples=8, calls=20, sampler=sampler).reshape(-1, 8)
    np.testing.assert_allclose(few.mean(0), published_samples.mean(0), atol=0.4)
    np.testing.assert_allclose(few.std(0).mean(), published_samples.std(0).mean(), rtol=0.15)


def test_same_seed_same_numbers_other_seed_other_numbers(linear):
    y, x, _ = linear
    runs = [stem.fit(y, x, seed=seed, **TINY, steps=5) for seed in (3, 3, 4)]
    assert all(torch.equal(a, b) for a, b in zip(*(r["weights"].values() for r in runs[:2]), strict=True))
    assert not torch.equal(runs[0]["loss"], runs[2]["loss"])
    for settings in ({"sampler": "ddim", "calls": 3}, {"sampler": "ancestral"}):
        draw = [stem.sample(runs[0], y[:2], seed=seed, n_samples=2, **settings) for seed in (5, 5, 6)]
        np.testing.assert_array_equal(draw[0], draw[1])
        assert np.abs(draw[0] - draw[2]).max() > 0.1


def test_training_leaves_the_global_random_state_alone(linear):
    y, x, _ = linear
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stem.sample(stem.fit(y, x, **TINY, steps=2), y[:2], calls=2)
    assert torch.equal(before, torch.get_rng_state())


def test_every_spot_comes_once_before_any_comes_again():
    hyper = stem.recipe("quick", steps=5, batch_size=4)
    rows = torch.cat([rows for rows, *_ in stem.batches(10, 3, 2, hyper, seed=0)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))


def test_stratified_times_fall_one_in_each_part_of_the_schedule():
    hyper = stem.recipe("quick", steps=1, batch_size=10, stratified=True)
    _, t, *_ = next(stem.batches(10, 3, 2, hyper, seed=0))
    assert (t // 100).tolist() == list(range(10))


def test_antithetic_samples_start_from_opposite_noise():
    noise = stem.starts(5, 3, 4, True, torch.Generator().manual_seed(0)).view(5, 3, 4)
    close(noise[2:4], -noise[:2])
    assert (noise[4].abs() != noise[0].abs()).all()


def test_gene_that_does_not_vary_is_predicted_as_it_is(linear):
    y, x, _ = linear
    x = np.column_stack([x, np.full(len(x), 7.0)])
    samples = stem.sample(stem.fit(y, x, **TINY, steps=60), y[:20])
    np.testing.assert_allclose(samples[..., -1].mean(), 7.0, atol=0.5)


def test_profiles_state_every_hyperparameter_and_the_paper_is_as_published():
    assert all(profile.keys() == stem.PAPER.keys() for profile in stem.PROFILES.values())
    paper = stem.PROFILES["paper"]
    published = {"hidden_size": 384, "depth": 12, "n_heads": 6, "learning_rate": 1e-4, "weight_decay": 0.0}
    published |= {"batch_size": 256, "ema": 0.9999, "n_samples": 20, "sampler": "ancestral", "standardize": False}
    assert {name: paper[name] for name in published} == published
    size = sum(p.numel() for p in stem.Stem(300, 384, 12, 6, 1536).parameters())
    assert size == pytest.approx(35.7e6, rel=0.005)


def test_refusals_say_what_to_do(linear, fitted):
    y, x, _ = linear
    hole = x.copy()
    hole[3, 1] = np.nan
    with pytest.raises(ValueError, match="targets are not finite in 1 of 240 spots"):
        stem.fit(y, hole, **TINY, steps=1)
    with pytest.raises(ValueError, match="239 spots have conditions and 240 have targets"):
        stem.fit(y[1:], x, **TINY, steps=1)
    with pytest.raises(ValueError, match="at least one spot"):
        stem.fit(y[:0], x[:0], **TINY, steps=1)
    with pytest.raises(ValueError, match="no profile 'big': choose from quick, cpu, paper"):
        stem.fit(y, x, profile="big")
    with pytest.raises(ValueError, match="no hyperparameter stepz"):
        stem.fit(y, x, stepz=3)
    with pytest.raises(ValueError, match="sampler is 'euler': choose from ancestral, ddim, dpm"):
        stem.sample(fitted, y, sampler="euler")
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of n_heads 4"):
        stem.Stem(3, 10, 1, 4, 2)
    with pytest.raises(ValueError, match=r"label_embed.0.bias is \(16,\) in the weights, \(3,\) in the network"):
        stem.sample(fitted, y[:, :3])


def test_loss_that_is_no_longer_finite_stops_with_advice(linear):
    y, x, _ = linear
    with pytest.raises(ValueError, match="not finite at step .* lower learning_rate"):
        stem.fit(y, 1e30 * x, **TINY, steps=20, standardize=False)
