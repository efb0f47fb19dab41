import signal
from types import SimpleNamespace

import pytest
import torch
from tasks import fail, rank_and_sum

from helpers.models import devices

several = pytest.mark.skipif(torch.cuda.device_count() == 1, reason="two processes need two GPUs, or none")


@several
def test_one_device_is_this_process_and_several_are_processes_that_talk():
    assert devices.run(rank_and_sum, 10) == (0, 1, 10)
    interrupt = signal.getsignal(signal.SIGINT)
    assert devices.run(rank_and_sum, 10, n_devices=2) == (0, 2, 21)
    assert signal.getsignal(signal.SIGINT) is interrupt


@several
def test_what_one_of_several_processes_raises_is_said():
    with pytest.raises(ValueError, match="^lower learning_rate"):
        devices.run(fail)
    with pytest.raises(ValueError, match="one of 2 processes failed: ValueError: lower learning_rate"):
        devices.run(fail, n_devices=2)


@pytest.fixture
def three_gpus(monkeypatch, tmp_path):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid="abc"[i]))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: ([5, 9, 2][i], 10))


def test_programs_side_by_side_take_a_gpu_each_and_give_it_back(three_gpus):
    """The one with the most free memory first; where all are taken, they are shared."""
    with devices.free_gpus(1) as first, devices.free_gpus(1) as second:
        with devices.free_gpus(1) as third, devices.free_gpus(1) as fourth:
            assert (first, second, third, fourth) == ([1], [0], [2], [1])
        with devices.free_gpus(2) as two:
            assert two == [2, 1]
    with devices.free_gpus(3) as all_of_them:
        assert all_of_them == [1, 0, 2]


def test_without_a_gpu_there_is_none_to_take(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with devices.free_gpus(1) as none, devices.claimed() as fabric:
        assert none == [] and fabric.device.type == "cpu"


def test_a_job_of_a_cluster_s_scheduler_is_one_process_all_the_same(monkeypatch):
    for name, value in {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "fit"}.items():
        monkeypatch.setenv(name, value)
    with devices.claimed() as fabric:
        assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_more_gpus_than_there_are_is_refused(three_gpus):
    for n in (0, 4):
        with pytest.raises(ValueError, match=f"n_devices is {n}: set it to one"):
            devices.run(rank_and_sum, 0, n_devices=n)


@pytest.mark.parametrize(
    ("knows", "found"),
    [({"avx512_bf16": True}, "bfloat16"), ({"amx_bf16": True}, "bfloat16"), ({"avx2": True}, "float32")],
)
def test_bfloat16_is_used_where_the_processor_computes_in_it(monkeypatch, knows, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: knows)
    assert devices.usable_precision("bfloat16") == found
    assert devices.usable_precision("float32") == "float32"


def test_a_full_device_is_met_with_advice():
    with (
        pytest.raises(ValueError, match="memory is too small: set batch_size=8"),
        devices.enough_memory("set batch_size=8"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
