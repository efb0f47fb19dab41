"""How often tests at 5 % err on sections of any size: prints a table; half an hour on one core for the sizes below.

    python scripts/type_one_error.py 700 3000 5000 20000

Maps that have nothing to do with each other, of the kinds of page 23. For each kind and null: the `rate` of p <= 0.05,
and over pairs the median of the null's standard deviation (`sd`) and of its 95 % point of |rho| (`level`). Where a
section has tiles and up to 5,000 spots, their exact basis stands beside them.
"""

import sys

import numpy as np
import pandas as pd

from helpers.chapters.inference import LEVEL
from helpers.chapters.type_one_error import FAMILIES, LENGTHS, fields, outline
from helpers.columns import ranks
from helpers.scores import spatial

N_MAPS, N_DRAWS = 40, 499
SLOW = 5000  # spots, above which no exact basis is made


def bases(xy: np.ndarray) -> dict[tuple[str, str], spatial.Basis]:
    """Both nulls of a section with its own maps, and with exact ones beside its tiles: (null, maps) -> basis."""
    given, most = {"spatial": None, "place": spatial.place_and_border(xy)}, spatial.EXACT
    found = {}
    for exact in [False, True] if most < len(xy) <= SLOW else [False]:
        spatial.EXACT = SLOW if exact else most
        for null, fixed in given.items():
            basis = spatial.moran_basis(xy, fixed=fixed)
            found[null, "tiles" if isinstance(basis, spatial.Tiled) else "exact"] = basis
    spatial.EXACT = most
    return found


def row(X: np.ndarray, Y: np.ndarray, basis: spatial.Basis) -> dict[str, float]:
    """Rate, and medians of the null's sd and 95 % point, of every column of X against every one of Y."""
    p, sd, level = [], [], []
    for seed, y in enumerate(Y.T):
        observed, null = spatial.null_correlations(X, y, basis, n_draws=N_DRAWS, seed=seed)
        p.append(spatial.p_values(observed, null))
        sd.append(null.std(axis=1))
        level.append(np.quantile(np.abs(null), 0.95, axis=1))
    return {"rate": np.mean(np.array(p) <= LEVEL), "sd": np.median(sd), "level": np.median(level)}


def table(n_spots: int) -> pd.DataFrame:
    """A row for each kind of maps, null and basis, on an outline of about so many spots."""
    side = round(np.sqrt(n_spots / 0.69))  # that share of a rectangle is an oval with a hole
    xy, rows = outline((side, side)), []
    known = bases(xy)
    made = {f"fields of length {length}": (fields, length) for length in LENGTHS}
    for maps, (make, *setting) in (made | {name: (make,) for name, make in FAMILIES.items()}).items():
        X, Y = np.hsplit(ranks(make(xy, *setting, 2 * N_MAPS, np.random.default_rng(0))), 2)
        for (null, basis), one in known.items():
            rows.append({"spots": len(xy), "maps": maps, "null": null, "basis": basis} | row(X, Y, one))
    return pd.DataFrame(rows)


if __name__ == "__main__":
    for size in sys.argv[1:]:
        print(table(int(size)).to_string(index=False, float_format="{:.4f}".format), flush=True)
