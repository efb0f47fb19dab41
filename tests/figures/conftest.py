"""An axis to draw on, without a screen."""

import matplotlib
import pytest
from matplotlib import pyplot as plt

matplotlib.use("Agg")


@pytest.fixture
def ax():
    from helpers.figures import style

    style.use()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)
