"""Twin of helpers/models/stem/training.py."""

import multiprocessing
import time

import numpy as np
import pytest
import torch

from helpers.models import devices
from helpers.models.stem import diffusion, network, recipes, sampling, training
from helpers.models.stem.training import Run

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


def mean_r(predicted, true):
    return np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, true.T, strict=True)])


# --- draws ---


def draws(n_steps, n_spots=10, n_views=1, seed=0, **changes):
    hyper = recipes.recipe("quick", **changes)
    generator = torch.Generator()
    return [training.draw(step, (n_spots, n_views, 2, 3), hyper, seed, generator) for step in range(n_steps)]


def test_every_view_of_every_spot_comes_once_in_an_epoch():
    for epoch in (draws(10, n_views=8, batch_size=8), draws(20, n_views=8, batch_size=8)[10:]):
        pairs = [pair for rows, views, *_ in epoch for pair in zip(rows.tolist(), views.tolist(), strict=True)]
        assert sorted(pairs) == [(spot, view) for spot in range(10) for view in range(8)]
    incomplete = torch.cat([rows for rows, *_ in draws(2, batch_size=4)])
    assert len(torch.unique(incomplete)) == 8  # the last two of ten are dropped, and come in another epoch


def test_draws_of_a_step_depend_on_seed_and_step_alone():
    again, other = draws(4, batch_size=4), draws(4, batch_size=4, seed=1)
    for a, b, c in zip(draws(4, batch_size=4), again, other, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        assert not torch.equal(a[3], c[3])
    assert not torch.equal(again[0][3], again[1][3])


def test_the_rate_rises_for_a_twentieth_of_the_steps_and_falls_to_nothing():
    hyper = recipes.recipe("quick", steps=1000)
    rates = [training.rate_factor(step, hyper) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(1, abs=1e-3)
    assert np.argmax(rates) in (49, 50) and rates[-1] < 1e-4
    assert training.rate_factor(0, recipes.recipe("paper")) == 1


def test_patience_counts_the_rows_since_the_best():
    history = training.History(validation=[[1, 0.5], [2, 0.4], [3, 0.6], [4, 0.7]], best={"row": 1})
    assert [training.has_stopped_gaining(history, patience) for patience in (1, 2, 3)] == [True, True, False]
    assert not training.has_stopped_gaining(training.History(), 0)  # nothing is watched


def test_stratified_times_fall_one_in_each_part_of_the_schedule():
    [(_, _, t, *_)] = draws(1, batch_size=10, stratified=True)
    assert (t // 100).tolist() == list(range(10))


# --- numbers ---


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_same_numbers_other_seed_other_numbers(linear, precision, monkeypatch):
    y, x, _ = linear
    runs = [training.fit(y, x, seed=seed, **TINY | {"precision": precision}, steps=5) for seed in (3, 3, 4)]
    assert all(torch.equal(a, b) for a, b in zip(*(r["weights"].values() for r in runs[:2]), strict=True))
    assert not torch.equal(runs[0]["loss"], runs[2]["loss"])
    monkeypatch.setattr(diffusion, "N_TIMES", 20)  # the last of the published thousand
    for settings in ({"sampler": "ddim", "calls": 3}, {"sampler": "sde", "calls": 3}, {"sampler": "ancestral"}):
        draw = [sampling.sample(runs[0], y[:2], seed=seed, n_samples=2, **settings) for seed in (5, 5, 6)]
        np.testing.assert_array_equal(draw[0], draw[1])
        assert np.abs(draw[0] - draw[2]).max() > 0.1


def test_each_arm_and_target_sees_the_same_batches_times_and_noise(linear, monkeypatch):
    y, x, _ = linear
    seen = []
    monkeypatch.setattr(
        training, "draw", lambda *arguments, draw=training.draw: seen.append(draw(*arguments)) or seen[-1]
    )
    for scaling, targets in (("as_is", x), ("standardized", x), ("clipped", x), ("as_is", np.exp(-x))):
        training.fit(y, targets, scaling=scaling, **TINY, steps=3)
    for run in range(1, 4):
        for ours, first in zip(seen[3 * run : 3 * run + 3], seen[:3], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, first, strict=True))


def test_arms_scale_targets_as_they_say():
    """Two sections of 4 and 9 spots; the limit of each is the root of its size."""
    x = np.outer(np.arange(13.0), [1, 10]).astype("f4")
    sections, learned = ["a"] * 4 + ["b"] * 9, np.ones(13, bool)

    def seen(**changes):
        data, undo = training.prepared(
            np.zeros((13, 1)), x, sections, None, recipes.recipe("paper", **changes), learned
        )
        return data["targets"].numpy(), undo

    np.testing.assert_array_equal(seen()[0], x)
    clipped = seen(scaling="clipped")[0]
    assert clipped[:4].max() == 2 and clipped[4:].max() == 3
    standardized, undo = seen(scaling="standardized")
    np.testing.assert_allclose(standardized, (x - x.mean(0)) / x.std(0), atol=1e-5)
    np.testing.assert_allclose(standardized * undo["scale"].numpy() + undo["centre"].numpy(), x, atol=1e-4)
    within = seen(within_sections=True)[0]
    np.testing.assert_allclose([within[:4].mean(0), within[4:].mean(0)], np.zeros((2, 2)), atol=1e-5)


def test_differences_between_sections_are_not_taken_for_effects():
    """In each section the gene rises with the feature; the section with more of the feature has less of the gene."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 4)).astype("f4")
    x = y[:, :1] @ np.ones((1, 3), "f4") + 0.3 * rng.normal(size=(200, 3)).astype("f4")
    y[100:, 0] += 4
    x[100:] -= 12
    sections = np.repeat(["a", "b"], 100)
    r = []
    for within in (True, False):
        fitted = training.fit(y, x, sections=sections, within_sections=within, **TINY, steps=150)
        r.append(mean_r(sampling.sample(fitted, y[:100], sampler="mean", n_samples=2).mean(0), x[:100]))
    assert r[0] > 0.6 > 0 > r[1], r


def test_refusals_say_what_to_do(linear, fitted):
    y, x, _ = linear
    hole = x.copy()
    hole[3, 1] = np.nan
    with pytest.raises(ValueError, match="targets are not finite in 1 of 240 spots"):
        training.fit(y, hole, **TINY, steps=1)
    with pytest.raises(ValueError, match="239 spots have conditions, 240 have targets"):
        training.fit(y[1:], x, **TINY, steps=1)
    with pytest.raises(ValueError, match="at least one spot"):
        training.fit(y[:0], x[:0], **TINY, steps=1)
    with pytest.raises(ValueError, match="no profile 'big': choose from quick, cpu, paper"):
        training.fit(y, x, profile="big")
    with pytest.raises(ValueError, match="no hyperparameter stepz"):
        training.fit(y, x, stepz=3)
    with pytest.raises(ValueError, match="sampler is 'euler': choose from ancestral, sde, ddim, dpm, mean"):
        sampling.sample(fitted, y, sampler="euler")
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of n_heads 4"):
        network.Stem(3, 10, 1, 4, 2)
    with pytest.raises(ValueError, match=r"label_embed.0.bias is \(16,\) in the weights, \(3,\) in the network"):
        sampling.sample(fitted, y[:, :3])


def test_without_turned_patches_the_fit_says_that_it_did_not_augment(linear):
    y, x, _ = linear
    views = np.repeat(y[:, None], 8, axis=1)
    for augmented, used in ((views, True), (None, False)):
        fitted = training.fit(y, x, augmented=augmented, augment=True, **TINY, steps=2)
        assert fitted["hyper"]["augment"] is used


def test_views_of_a_patch_are_drawn_in_turn(linear):
    """All of what can be learned is in one view of eight: only a fit that draws the views can learn it."""
    y, x, signal = linear
    views = np.zeros((240, 8, 16), "f4")
    views[:, 5] = y
    fitted = training.fit(np.zeros_like(y), x, augmented=views, augment=True, condition_noise=0.0, **TINY, steps=200)
    assert mean_r(sampling.sample(fitted, y, sampler="mean", n_samples=2).mean(0), signal) > 0.3


# --- going on, stopping ---


def same(a, b):
    assert a["weights"].keys() == b["weights"].keys()
    assert all(torch.equal(a["weights"][name], b["weights"][name]) for name in a["weights"])
    assert torch.equal(a["loss"], b["loss"])


def test_a_killed_fit_goes_on_to_the_numbers_of_an_unbroken_one(linear, tmp_path, monkeypatch):
    y, x, _ = linear
    path, rng, steps = tmp_path / "fit.pt", np.random.default_rng(), []
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.models.stem.training"])
    settings = {**TINY, "steps": 300, "run": Run(checkpoint=path)}
    for _ in range(3):
        process = context.Process(target=training.fit, args=(y, x), kwargs=settings)
        process.start()
        time.sleep(rng.uniform(0, 1))
        process.kill()
        process.join()
        steps.append(torch.load(path, weights_only=True)["state"]["step"] if path.exists() else 0)
    assert steps == sorted(steps)
    same(training.fit(y, x, run=Run(checkpoint=path), **TINY, steps=300), training.fit(y, x, **TINY, steps=300))
    torch.set_num_threads(threads)


def test_a_finished_fit_is_not_trained_again(linear, tmp_path, monkeypatch):
    y, x, _ = linear
    first = training.fit(y, x, run=Run(checkpoint=tmp_path / "fit.pt"), **TINY, steps=3)
    monkeypatch.setattr(training, "training_loss", None)
    same(training.fit(y, x, run=Run(checkpoint=tmp_path / "fit.pt"), **TINY, steps=3), first)


def test_a_checkpoint_holds_tensors_and_plain_values_by_the_published_names(linear, tmp_path):
    y, x, _ = linear
    fitted = training.fit(y, x, run=Run(checkpoint=tmp_path / "fit.pt"), seed=3, **TINY, steps=2)
    saved = torch.load(tmp_path / "fit.pt", weights_only=True)
    assert saved.keys() == {"model", "ema", "opt", "about", "state"}
    assert saved["about"] | fitted["hyper"] | {"seed": 3, "targets": [240, 8]} == saved["about"]
    assert saved["state"].keys() == {"step", "loss", "validation", "best"}
    assert type(saved["about"]) is type(fitted["hyper"]) is dict


def test_a_checkpoint_of_another_fit_is_refused_by_what_differs(linear, tmp_path):
    y, x, _ = linear
    path = tmp_path / "fit.pt"
    training.fit(y, x, run=Run(checkpoint=path), **TINY, steps=2)
    with pytest.raises(ValueError, match="fit.pt: checkpoint of another fit, its seed is 0 and this one's 1"):
        training.fit(y, x, run=Run(checkpoint=path), seed=1, **TINY, steps=2)
    with pytest.raises(ValueError, match="its steps is 2 and this one's 4"):
        training.fit(y, x, run=Run(checkpoint=path), **TINY, steps=4)
    with pytest.raises(ValueError, match=r"its targets is \[240, 8\] and this one's \[240, 7\]"):
        training.fit(y, x[:, 1:], run=Run(checkpoint=path), **TINY, steps=2)
    with pytest.raises(ValueError, match="its data is "):
        training.fit(y, x[::-1].copy(), run=Run(checkpoint=path), **TINY, steps=2)
    torch.save({"ema": {}}, path)
    with pytest.raises(ValueError, match="fit.pt: not a checkpoint of this project"):
        training.fit(y, x, run=Run(checkpoint=path), **TINY, steps=2)


def test_a_fit_stops_when_the_watched_section_gains_no_more_and_keeps_its_best(tmp_path):
    """Targets that have nothing to do with the conditions: what is learned by heart is worse elsewhere."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(60, 30)).astype("f4"), rng.normal(size=(60, 5)).astype("f4")
    settings = {**TINY, "sections": ["a"] * 40 + ["b"] * 20, "steps": 1000, "patience": 10, "condition_noise": 0.0}
    fitted = training.fit(y, x, run=Run(checkpoint=tmp_path / "fit.pt"), **settings)
    step, error = fitted["validation"].T
    assert 10 < len(step) < 100 and error.argmin() == len(step) - 11
    same(training.fit(y, x, run=Run(checkpoint=tmp_path / "fit.pt"), **settings), fitted)
    with pytest.raises(ValueError, match="patience watches one of two or more training sections"):
        training.fit(y, x, **TINY, patience=3)


@pytest.mark.parametrize("within", [True, False])
def test_what_the_watched_section_measured_reaches_no_weight(linear, within):
    y, x, _ = linear
    sections, settings = np.repeat(["a", "b"], 120), {**TINY, "patience": 100, "steps": 5, "within_sections": within}
    other = x.copy()
    other[:120] += np.random.default_rng(0).normal(size=(120, 8))
    runs = [training.fit(y, t, sections=sections, **settings) for t in (x, other)]
    assert torch.equal(runs[0]["loss"], runs[1]["loss"])
    assert not torch.equal(runs[0]["validation"], runs[1]["validation"])


def test_loss_that_is_no_longer_finite_stops_with_advice_and_keeps_the_last_good_state(linear, tmp_path, monkeypatch):
    y, x, _ = linear
    with pytest.raises(ValueError, match="not finite at step .* lower learning_rate .* scaling='standardized'"):
        training.fit(y, 1e30 * x, **TINY, steps=20, scaling="as_is")

    steps, loss = iter(range(20)), training.training_loss
    diverging = lambda *arguments: loss(*arguments) * (float("nan") if next(steps) == 7 else 1)  # noqa: E731
    monkeypatch.setattr(training, "training_loss", diverging)
    with pytest.raises(ValueError, match="at step 8 of 20 .*fit.pt holds the last good state, step 7"):
        training.fit(y, x, **TINY, steps=20, run=Run(checkpoint=tmp_path / "fit.pt"))
    assert all(value.isfinite().all() for value in network.read_weights(tmp_path / "fit.pt").values())


def test_a_full_device_is_met_with_a_smaller_batch(linear, fitted, monkeypatch):
    y, x, _ = linear

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    for module in (training, sampling):
        monkeypatch.setattr(module, "evaluate", full)
    with pytest.raises(ValueError, match="memory is too small: set batch_size=8"):
        training.fit(y, x, **TINY, steps=2)
    with pytest.raises(ValueError, match="memory is too small: predict fewer spots at a time"):
        sampling.sample(fitted, y)


# --- precision, several devices ---

several = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need two GPUs, or none")


@pytest.mark.skipif(
    devices.usable_precision("bfloat16") == "float32", reason="this processor does not compute in bfloat16"
)
def test_bfloat16_learns_and_predicts_what_float32_does(linear):
    y, x, signal = linear
    runs = [training.fit(y[:200], x[:200], **TINY | {"precision": p}, steps=200) for p in ("float32", "bfloat16")]
    exact, fast = (sampling.sample(fitted, y[200:], calls=5).mean(0) for fitted in runs)
    assert [fitted["hyper"]["precision"] for fitted in runs] == ["float32", "bfloat16"]
    assert all(value.dtype == torch.float32 for value in runs[1]["weights"].values())
    torch.testing.assert_close(runs[0]["loss"], runs[1]["loss"], rtol=0.01, atol=0.01)
    assert np.abs(exact - fast).max() > 0 and mean_r(exact, fast) > 0.995
    assert mean_r(fast, signal[200:]) > 0.7


def test_where_the_processor_lacks_bfloat16_the_fit_says_that_it_took_float32(linear, monkeypatch):
    monkeypatch.setattr(devices, "usable_precision", lambda precision: "float32")
    y, x, _ = linear
    assert training.fit(y, x, **TINY | {"precision": "bfloat16"}, steps=1)["hyper"]["precision"] == "float32"


@several
def test_a_batch_shared_by_two_processes_gives_what_one_makes_of_it(linear, tmp_path):
    """An odd batch, a watched section; a finished fit is found by its checkpoint."""
    y, x, _ = linear
    settings = {**TINY, "batch_size": 33, "steps": 12, "patience": 100, "sections": ["a"] * 120 + ["b"] * 120}
    one = training.fit(y, x, **settings)
    two = training.fit(y, x, **settings, run=Run(checkpoint=tmp_path / "fit.pt", n_devices=2))
    for name in ("loss", "validation"):
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    for name, value in one["weights"].items():
        torch.testing.assert_close(value, two["weights"][name], rtol=1e-3, atol=1e-4)
    same(training.fit(y, x, **settings, run=Run(checkpoint=tmp_path / "fit.pt", n_devices=2)), two)
    with pytest.raises(ValueError, match="34 devices cannot share a batch of 33"):
        training.fit(y, x, **settings, run=Run(n_devices=34))
