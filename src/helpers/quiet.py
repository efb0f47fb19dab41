"""Libraries that talk: what they log, hang on the root logger and draw is kept off the page while they are used."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def tiatoolbox() -> Iterator[None]:
    """Import and use tiatoolbox as if it said nothing: root logger, warnings and bars are as before afterwards.

    On import it hangs handlers on the root logger and diverts warnings to it; a JPEG makes it log "Raw data is None", a
    network remarks on every window and shows bars, as widgets in a notebook, whether asked to or not.
    """
    from tqdm import auto

    root = logging.getLogger()
    handlers, level, show, disabled = root.handlers[:], root.level, warnings.showwarning, root.manager.disable
    bar = auto.tqdm.__init__
    auto.tqdm.__init__ = lambda self, *args, **kwargs: bar(self, *args, **kwargs | {"disable": True})
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        auto.tqdm.__init__ = bar
        logging.disable(disabled)
        root.handlers[:], warnings.showwarning = handlers, show
        root.setLevel(level)
