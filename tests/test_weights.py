"""Twin of helpers/weights.py."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from helpers import weights


class Hostile:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("name", ["kept.pt", "kept.safetensors"])
def test_tensors_come_back_as_they_were_saved(tmp_path, name):
    saved = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}
    (save_file if name.endswith("safetensors") else torch.save)(saved, tmp_path / name)
    read = weights.read_tensors(tmp_path / name)
    assert read.keys() == saved.keys() and all(torch.equal(read[key], saved[key]) for key in saved)


def test_plain_values_are_read_with_the_tensors(tmp_path):
    torch.save({"hyper": {"steps": 3, "arm": "as_is"}, "loss": torch.ones(2)}, tmp_path / "fit.pt")
    assert weights.read_tensors(tmp_path / "fit.pt")["hyper"] == {"steps": 3, "arm": "as_is"}


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    path = tmp_path / "kept.pt"
    for write in (lambda: torch.save({"a": Hostile()}, path), lambda: path.write_bytes(pickle.dumps(Hostile()))):
        write()
        with pytest.raises(
            ValueError, match="kept.pt: damaged, or holds more than tensors .* save its state dict alone"
        ):
            weights.read_tensors(path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_what_is_damaged_and_what_is_unsafe_are_told_apart_where_asked(tmp_path, name):
    save = save_file if name.endswith("safetensors") else torch.save
    save({"a": torch.zeros(1000)}, tmp_path / name)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-500])
    with pytest.raises(ValueError, match=f"{name}: fetch it again$"):
        weights.read_tensors(tmp_path / name, damaged="fetch it again", unsafe="refused")
    torch.save({"a": Hostile()}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="other.pt: refused$"):
        weights.read_tensors(tmp_path / "other.pt", damaged="fetch it again", unsafe="refused")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.pt: no such file; give the path"):
        weights.read_tensors(tmp_path / "gone.pt")


def test_a_state_dict_is_tensors_by_name():
    assert weights.is_state_dict({"a": torch.ones(2)})
    for other in ({}, {"a": torch.ones(2), "b": 3}, [torch.ones(2)], torch.ones(2), None):
        assert not weights.is_state_dict(other)


def test_misfits_are_the_missing_the_unknown_and_those_of_another_shape():
    """In the order of the network, whatever the order of the weights; a single number has the shape ()."""
    wanted = {"z": torch.ones(2, 3), "a": torch.ones(4), "n": torch.tensor(0)}
    found = {"extra": torch.ones(1), "z": torch.ones(3, 2), "a": torch.ones(4)}
    misfits = weights.misfits(found, wanted)
    assert list(misfits.items()) == [("z", ((3, 2), (2, 3))), ("n", (None, ())), ("extra", ((1,), None))]
    assert weights.misfits(wanted, wanted) == {}
