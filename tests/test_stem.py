import multiprocessing
import pickle
import time

import numpy as np
import pytest
import torch

from helpers import devices, diffusion, stem


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
    x_t = diffusion.noised(p["x0"], p["t"], p["noise"])
    close(x_t, p["x_t"])
    with torch.no_grad():
        close(model(x_t, p["t"], p["y"]), p["model_output"])


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
    return stem.fit(y[:200], x[:200], seed=1, **TINY, steps=400, condition_noise=0.3)


def mean_r(predicted, true):
    return np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, true.T, strict=True)])


def test_learns_a_linear_function_of_the_conditions(linear, fitted):
    y, x, signal = linear
    samples = stem.sample(fitted, y[200:])
    assert samples.shape == (20, 40, 8)
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


@pytest.mark.parametrize("sampler", ["ddim", "dpm", "sde"])
def test_few_calls_draw_from_what_a_thousand_do(linear, fitted, published_samples, sampler):
    """Over spots and samples, per gene: same mean, same spread."""
    few = stem.sample(fitted, linear[0][:16], n_samples=8, calls=20, sampler=sampler).reshape(-1, 8)
    np.testing.assert_allclose(few.mean(0), published_samples.mean(0), atol=0.4)
    np.testing.assert_allclose(few.std(0).mean(), published_samples.std(0).mean(), rtol=0.15)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_same_numbers_other_seed_other_numbers(linear, precision):
    y, x, _ = linear
    runs = [stem.fit(y, x, seed=seed, **TINY | {"precision": precision}, steps=5) for seed in (3, 3, 4)]
    assert all(torch.equal(a, b) for a, b in zip(*(r["weights"].values() for r in runs[:2]), strict=True))
    assert not torch.equal(runs[0]["loss"], runs[2]["loss"])
    for settings in ({"sampler": "ddim", "calls": 3}, {"sampler": "sde", "calls": 3}, {"sampler": "ancestral"}):
        draw = [stem.sample(runs[0], y[:2], seed=seed, n_samples=2, **settings) for seed in (5, 5, 6)]
        np.testing.assert_array_equal(draw[0], draw[1])
        assert np.abs(draw[0] - draw[2]).max() > 0.1


def test_training_leaves_the_global_random_state_alone(linear):
    y, x, _ = linear
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stem.sample(stem.fit(y, x, **TINY, steps=2), y[:2], calls=2)
    assert torch.equal(before, torch.get_rng_state())


def draws(n_steps, n_spots=10, n_views=1, seed=0, **changes):
    hyper = stem.recipe("quick", **changes)
    generator = torch.Generator()
    return [stem.draw(step, n_spots, n_views, 2, 3, hyper, seed, generator) for step in range(n_steps)]


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


def test_stratified_times_fall_one_in_each_part_of_the_schedule():
    [(_, _, t, *_)] = draws(1, batch_size=10, stratified=True)
    assert (t // 100).tolist() == list(range(10))


def test_each_arm_and_target_sees_the_same_batches_times_and_noise(linear, monkeypatch):
    y, x, _ = linear
    seen = []
    monkeypatch.setattr(stem, "draw", lambda *arguments, draw=stem.draw: seen.append(draw(*arguments)) or seen[-1])
    for arm, targets in (("as_is", x), ("standardized", x), ("clipped", x), ("as_is", np.exp(-x))):
        stem.fit(y, targets, arm=arm, **TINY, steps=3)
    for run in range(1, 4):
        for ours, first in zip(seen[3 * run : 3 * run + 3], seen[:3], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, first, strict=True))


def test_arms_scale_targets_as_they_say():
    """Two sections of 4 and 9 spots; the limit of each is the root of its size."""
    x = np.outer(np.arange(13.0), [1, 10]).astype("f4")
    sections, learned = ["a"] * 4 + ["b"] * 9, np.ones(13, bool)

    def seen(**changes):
        data, undo = stem.prepared(np.zeros((13, 1)), x, sections, None, stem.recipe("paper", **changes), learned)
        return data["targets"].numpy(), undo

    np.testing.assert_array_equal(seen()[0], x)
    clipped = seen(arm="clipped")[0]
    assert clipped[:4].max() == 2 and clipped[4:].max() == 3
    standardized, undo = seen(arm="standardized")
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
        fitted = stem.fit(y, x, sections=sections, within_sections=within, **TINY, steps=150)
        r.append(mean_r(stem.sample(fitted, y[:100], sampler="mean", n_samples=2).mean(0), x[:100]))
    assert r[0] > 0.6 > 0 > r[1], r


@pytest.mark.parametrize("arm", ["as_is", "standardized"])
def test_gene_that_does_not_vary_stays_where_it_is(linear, arm):
    y, x, _ = linear
    samples = stem.sample(stem.fit(y, np.column_stack([x, np.full(len(x), 7.3)]), **TINY, steps=5, arm=arm), y[:20])
    np.testing.assert_array_equal(samples[..., -1], np.float32(7.3))
    assert samples[..., :-1].std(0).min() > 0


def test_profiles_state_every_hyperparameter_and_the_paper_is_as_published():
    assert all(profile.keys() == stem.PAPER.keys() for profile in stem.PROFILES.values())
    paper = stem.PROFILES["paper"]
    published = {"hidden_size": 384, "depth": 12, "n_heads": 6, "learning_rate": 1e-4, "weight_decay": 0.0}
    published |= {"batch_size": 256, "ema": 0.9999, "n_samples": 20, "sampler": "ancestral", "arm": "as_is"}
    published |= {"steps": 250_000, "prediction": "epsilon", "rate": "constant", "augment": True}
    assert {name: paper[name] for name in published} == published
    size = sum(p.numel() for p in stem.Stem(300, 384, 12, 6, 1536).parameters())
    assert size == pytest.approx(35.7e6, rel=0.005)


def test_refusals_say_what_to_do(linear, fitted):
    y, x, _ = linear
    hole = x.copy()
    hole[3, 1] = np.nan
    with pytest.raises(ValueError, match="targets are not finite in 1 of 240 spots"):
        stem.fit(y, hole, **TINY, steps=1)
    with pytest.raises(ValueError, match="239 spots have conditions, 240 have targets"):
        stem.fit(y[1:], x, **TINY, steps=1)
    with pytest.raises(ValueError, match="at least one spot"):
        stem.fit(y[:0], x[:0], **TINY, steps=1)
    with pytest.raises(ValueError, match="no profile 'big': choose from quick, cpu, paper"):
        stem.fit(y, x, profile="big")
    with pytest.raises(ValueError, match="no hyperparameter stepz"):
        stem.fit(y, x, stepz=3)
    with pytest.raises(ValueError, match="sampler is 'euler': choose from ancestral, sde, ddim, dpm, mean"):
        stem.sample(fitted, y, sampler="euler")
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of n_heads 4"):
        stem.Stem(3, 10, 1, 4, 2)
    with pytest.raises(ValueError, match=r"label_embed.0.bias is \(16,\) in the weights, \(3,\) in the network"):
        stem.sample(fitted, y[:, :3])


def test_departures_are_those_of_the_profile_and_each_has_its_reason():
    assert stem.departures("paper").empty
    for profile in ("quick", "cpu"):
        table = stem.departures(profile).set_index("setting")
        assert (table["published"] != table["here"]).all() and (table["why"] != "").all()
        assert table.loc["prediction", ["published", "here"]].tolist() == ["epsilon", "v"]
    assert stem.departures(stem.recipe("paper", steps=10))["setting"].tolist() == ["steps"]


def test_without_turned_patches_the_fit_says_that_it_did_not_augment(linear):
    y, x, _ = linear
    views = np.repeat(y[:, None], 8, axis=1)
    for augmented, used in ((views, True), (None, False)):
        fitted = stem.fit(y, x, augmented=augmented, augment=True, **TINY, steps=2)
        assert fitted["hyper"]["augment"] is used


def test_views_of_a_patch_are_drawn_in_turn(linear):
    """All of what can be learned is in one view of eight: only a fit that draws the views can learn it."""
    y, x, signal = linear
    views = np.zeros((240, 8, 16), "f4")
    views[:, 5] = y
    fitted = stem.fit(np.zeros_like(y), x, augmented=views, augment=True, condition_noise=0.0, **TINY, steps=200)
    assert mean_r(stem.sample(fitted, y, sampler="mean", n_samples=2).mean(0), signal) > 0.3


# --- weights ---


@pytest.fixture
def checkpoint(published, tmp_path):
    """A checkpoint as the published code writes it, with a parallel wrapper's names."""
    weights = {f"module.{name}": value for name, value in published[0].state_dict().items()}
    trained = {name: value + 1 for name, value in weights.items()}
    torch.save({"model": trained, "ema": weights, "opt": {"state": {}, "param_groups": []}}, tmp_path / "0300000.pt")
    return tmp_path / "0300000.pt"


def test_published_checkpoint_and_bare_weights_are_read_alike(published, checkpoint, tmp_path):
    torch.save(published[0].state_dict(), tmp_path / "bare.pt")
    wanted = published[0].state_dict()
    for path, use, shift in ((checkpoint, "ema", 0), (checkpoint, "model", 1), (tmp_path / "bare.pt", "ema", 0)):
        read = stem.read_weights(path, use)
        assert read.keys() == wanted.keys()
        assert all(torch.equal(read[name], wanted[name] + shift) for name in wanted)


def test_samples_come_from_published_weights(checkpoint):
    fitted = stem.from_weights(
        stem.read_weights(checkpoint), hidden_size=32, depth=2, n_heads=4, sampler="ddim", calls=3
    )
    assert stem.sample(fitted, np.zeros((2, 20)), n_samples=3).shape == (3, 2, 24)
    with pytest.raises(ValueError, match=r"adaLN_modulation.1.bias is \(192,\) in the weights, \(96,\) in the network"):
        stem.from_weights(stem.read_weights(checkpoint), hidden_size=16, depth=2, n_heads=4)


class Malicious:
    def __reduce__(self):
        return print, ("run",)


def test_no_file_of_weights_is_run_as_code(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save({"ema": Malicious()}, path)
    with pytest.raises(ValueError, match="weights.pt: damaged, or holds more than tensors"):
        stem.read_weights(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="weights.pt: damaged, or holds more than tensors"):
        stem.read_weights(path)
    assert capsys.readouterr().out == ""


def test_files_that_are_no_weights_are_named(tmp_path):
    path = tmp_path / "notes.pt"
    for content in ({"model": 3}, [1, 2], {"ema": {"a": "b"}}, {}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="notes.pt: not weights"):
            stem.read_weights(path)
    path.write_text("hello")
    with pytest.raises(ValueError, match="notes.pt: damaged"):
        stem.read_weights(path)
    with pytest.raises(FileNotFoundError, match="absent.pt: no such file"):
        stem.read_weights(tmp_path / "absent.pt")


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
    context.set_forkserver_preload(["helpers.stem"])
    for _ in range(3):
        process = context.Process(target=stem.fit, args=(y, x), kwargs={**TINY, "steps": 300, "checkpoint": path})
        process.start()
        time.sleep(rng.uniform(0, 1))
        process.kill()
        process.join()
        steps.append(torch.load(path, weights_only=True)["state"]["step"] if path.exists() else 0)
    assert steps == sorted(steps)
    same(stem.fit(y, x, checkpoint=path, **TINY, steps=300), stem.fit(y, x, **TINY, steps=300))
    torch.set_num_threads(threads)


def test_a_finished_fit_is_not_trained_again(linear, tmp_path, monkeypatch):
    y, x, _ = linear
    first = stem.fit(y, x, checkpoint=tmp_path / "fit.pt", **TINY, steps=3)
    monkeypatch.setattr(stem, "training_loss", None)
    same(stem.fit(y, x, checkpoint=tmp_path / "fit.pt", **TINY, steps=3), first)


def test_a_checkpoint_of_another_fit_is_refused_by_what_differs(linear, tmp_path):
    y, x, _ = linear
    path = tmp_path / "fit.pt"
    stem.fit(y, x, checkpoint=path, **TINY, steps=2)
    with pytest.raises(ValueError, match="fit.pt: checkpoint of another fit, its seed is 0 and this one's 1"):
        stem.fit(y, x, checkpoint=path, seed=1, **TINY, steps=2)
    with pytest.raises(ValueError, match="its steps is 2 and this one's 4"):
        stem.fit(y, x, checkpoint=path, **TINY, steps=4)
    with pytest.raises(ValueError, match=r"its targets is \[240, 8\] and this one's \[240, 7\]"):
        stem.fit(y, x[:, 1:], checkpoint=path, **TINY, steps=2)
    with pytest.raises(ValueError, match="its data is "):
        stem.fit(y, x[::-1].copy(), checkpoint=path, **TINY, steps=2)
    torch.save({"ema": {}}, path)
    with pytest.raises(ValueError, match="fit.pt: not a checkpoint of this project"):
        stem.fit(y, x, checkpoint=path, **TINY, steps=2)


def test_a_fit_stops_when_the_watched_section_gains_no_more_and_keeps_its_best(tmp_path):
    """Targets that have nothing to do with the conditions: what is learned by heart is worse elsewhere."""
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(60, 30)).astype("f4"), rng.normal(size=(60, 5)).astype("f4")
    settings = {**TINY, "sections": ["a"] * 40 + ["b"] * 20, "steps": 1000, "patience": 10, "condition_noise": 0.0}
    fitted = stem.fit(y, x, checkpoint=tmp_path / "fit.pt", **settings)
    step, error = fitted["validation"].T
    assert 10 < len(step) < 100 and error.argmin() == len(step) - 11
    same(stem.fit(y, x, checkpoint=tmp_path / "fit.pt", **settings), fitted)
    with pytest.raises(ValueError, match="patience watches one of two or more training sections"):
        stem.fit(y, x, **TINY, patience=3)


@pytest.mark.parametrize("within", [True, False])
def test_what_the_watched_section_measured_reaches_no_weight(linear, within):
    y, x, _ = linear
    sections, settings = np.repeat(["a", "b"], 120), {**TINY, "patience": 100, "steps": 5, "within_sections": within}
    other = x.copy()
    other[:120] += np.random.default_rng(0).normal(size=(120, 8))
    runs = [stem.fit(y, t, sections=sections, **settings) for t in (x, other)]
    assert torch.equal(runs[0]["loss"], runs[1]["loss"])
    assert not torch.equal(runs[0]["validation"], runs[1]["validation"])


def test_loss_that_is_no_longer_finite_stops_with_advice_and_keeps_the_last_good_state(linear, tmp_path, monkeypatch):
    y, x, _ = linear
    with pytest.raises(ValueError, match="not finite at step .* lower learning_rate .* arm='standardized'"):
        stem.fit(y, 1e30 * x, **TINY, steps=20, arm="as_is")

    steps, loss = iter(range(20)), stem.training_loss
    diverging = lambda *arguments: loss(*arguments) * (float("nan") if next(steps) == 7 else 1)  # noqa: E731
    monkeypatch.setattr(stem, "training_loss", diverging)
    with pytest.raises(ValueError, match="at step 8 of 20 .*fit.pt holds the last good state, step 7"):
        stem.fit(y, x, **TINY, steps=20, checkpoint=tmp_path / "fit.pt")
    assert all(value.isfinite().all() for value in stem.read_weights(tmp_path / "fit.pt").values())


def test_a_full_device_is_met_with_a_smaller_batch(linear, fitted, monkeypatch):
    y, x, _ = linear

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(stem, "evaluate", full)
    with pytest.raises(ValueError, match="memory is too small: set batch_size=8"):
        stem.fit(y, x, **TINY, steps=2)
    with pytest.raises(ValueError, match="memory is too small: predict fewer spots at a time"):
        stem.sample(fitted, y)


# --- precision, several devices ---

several = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need two GPUs, or none")


@pytest.mark.skipif(devices.usable("bfloat16") == "float32", reason="this processor does not compute in bfloat16")
def test_bfloat16_learns_and_predicts_what_float32_does(linear):
    y, x, signal = linear
    runs = [stem.fit(y[:200], x[:200], **TINY | {"precision": p}, steps=200) for p in ("float32", "bfloat16")]
    exact, fast = (stem.sample(fitted, y[200:], calls=5).mean(0) for fitted in runs)
    assert [fitted["hyper"]["precision"] for fitted in runs] == ["float32", "bfloat16"]
    assert all(value.dtype == torch.float32 for value in runs[1]["weights"].values())
    torch.testing.assert_close(runs[0]["loss"], runs[1]["loss"], rtol=0.01, atol=0.01)
    assert np.abs(exact - fast).max() > 0 and mean_r(exact, fast) > 0.995
    assert mean_r(fast, signal[200:]) > 0.7


@pytest.mark.full
def test_a_compiled_fit_learns_the_same(linear):
    y, x, _ = linear
    plain, compiled = (stem.fit(y, x, **TINY, steps=20, compile=compile) for compile in (False, True))
    torch.testing.assert_close(plain["loss"], compiled["loss"], rtol=1e-3, atol=1e-4)
    assert plain["weights"].keys() == compiled["weights"].keys()


def test_attention_written_out_is_the_fused_one():
    q, k, v = torch.randn(3, 2, 3, 50, 8, generator=torch.Generator().manual_seed(0))
    ours = stem.attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    torch.testing.assert_close(ours.float(), stem.attention(q, k, v), atol=0.03, rtol=0)


def test_where_the_processor_lacks_bfloat16_the_fit_says_that_it_took_float32(linear, monkeypatch):
    monkeypatch.setattr(devices, "usable", lambda precision: "float32")
    y, x, _ = linear
    assert stem.fit(y, x, **TINY | {"precision": "bfloat16"}, steps=1)["hyper"]["precision"] == "float32"


@several
def test_a_batch_shared_by_two_processes_gives_what_one_makes_of_it(linear, tmp_path):
    """An odd batch, a watched section; a finished fit is found by its checkpoint."""
    y, x, _ = linear
    settings = {**TINY, "batch_size": 33, "steps": 12, "patience": 100, "sections": ["a"] * 120 + ["b"] * 120}
    one = stem.fit(y, x, **settings)
    two = stem.fit(y, x, **settings, n_devices=2, checkpoint=tmp_path / "fit.pt")
    for name in ("loss", "validation"):
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-5)
    for name, value in one["weights"].items():
        torch.testing.assert_close(value, two["weights"][name], rtol=1e-3, atol=1e-4)
    same(stem.fit(y, x, **settings, n_devices=2, checkpoint=tmp_path / "fit.pt"), two)
    with pytest.raises(ValueError, match="34 devices cannot share a batch of 33"):
        stem.fit(y, x, **settings, n_devices=34)


# --- ladder ---


def test_the_ladder_counts_calls_and_compares_with_its_first_rung(linear, fitted):
    y, x, _ = linear
    table = stem.ladder(
        fitted, y[200:], x[200:], [{"sampler": "ddim", "calls": 20}, {"sampler": "mean", "n_samples": 2}]
    )
    assert table["network_calls"].tolist() == [400, 2] and table["times_fewer"].tolist() == [1, 200]
    assert table["pcc_difference"][0] == 0 < table["pcc_difference"][1]
    samples = stem.sample(fitted, y[200:], sampler="ddim", calls=20, antithetic=False)
    mean = samples.mean(0)
    assert table["pcc"][0] == pytest.approx(mean_r(mean, x[200:]), abs=1e-5)
    rvd = np.mean((mean.var(0) - x[200:].var(0)) ** 2 / x[200:].var(0) ** 2)
    assert table["rvd"][0] == pytest.approx(rvd, rel=1e-4)
    pairs = stem.ladder(fitted, y[200:], x[200:], [{"sampler": "sde", "calls": 5, "n_samples": 2, "antithetic": True}])
    assert pairs["rvd_expectation"].isna().all() and table["rvd_expectation"].notna().all()  # one pair says nothing
    pooled = samples.reshape(-1, 8).var(0)
    assert table["rvd_samples"][0] == pytest.approx(np.mean((pooled / x[200:].var(0) - 1) ** 2), rel=1e-4)
    assert table["spread"][0] == pytest.approx(samples.std(0).mean(), rel=1e-4)


def test_noise_shared_by_all_spots_is_shared_by_those_of_another_chunk(linear, fitted, monkeypatch):
    """Spots with one patch are one spot then, wherever they stand; with noise of their own they are not."""
    alike = np.repeat(linear[0][:1], 7, axis=0)
    monkeypatch.setitem(stem.ROWS, "cpu", 6)
    one = {"sampler": "sde", "calls": 3, "n_samples": 2}
    shared, own = (stem.sample(fitted, alike, shared=shared, **one) for shared in (True, False))
    np.testing.assert_allclose(shared, np.repeat(shared[:, :1], 7, axis=1), rtol=1e-4, atol=1e-5)
    assert np.abs(own - own[:, :1])[:, 1:].max(axis=(0, 2)).min() > 0.1
