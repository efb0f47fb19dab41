"""What a library hangs on the root logger, draws and logs is gone when its turn is over."""

import logging
import warnings

import pytest

from helpers import quiet


def test_root_logger_warnings_and_bars_are_as_before(monkeypatch):
    from tqdm import auto

    monkeypatch.setattr(logging.root, "handlers", [])
    before = warnings.showwarning, auto.tqdm.__init__, logging.root.level
    with quiet.tiatoolbox():
        logging.root.addHandler(logging.NullHandler())
        logging.root.setLevel(logging.DEBUG)
        warnings.showwarning = print
        assert auto.tqdm([1], disable=False).disable
    assert (warnings.showwarning, auto.tqdm.__init__, logging.root.level) == before and logging.root.handlers == []


def test_nothing_below_an_error_is_logged_within(caplog):
    with quiet.tiatoolbox():
        logging.getLogger("tiatoolbox").warning("Raw data is None")
        logging.getLogger("tiatoolbox").error("broken")
    logging.getLogger("tiatoolbox").warning("after")
    assert [record.message for record in caplog.records] == ["broken", "after"]


def test_an_error_within_comes_out_and_leaves_things_as_they_were():
    disabled = logging.root.manager.disable
    with pytest.raises(KeyError), quiet.tiatoolbox():
        raise KeyError("inside")
    assert logging.root.manager.disable == disabled
