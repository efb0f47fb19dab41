"""What the published size of STEM scores over its steps, on one fold: whether a small network is what holds it back.

`scripts/published_size.py` makes the committed table; it needs a GPU.
"""

import pandas as pd

from helpers import labels
from helpers.targets.normalization import RESIDUAL

COLUMNS = ["model", "target", "held_out", "step", "spot_views", "pcc", "composition", "composition_chance_95"]
LARGE = "published size"
PARAMETERS, VIEWS = 35.7, 64  # of STEM as published, in millions


def remark(scores: pd.DataFrame, parameters: int, k: int = 50) -> str:
    """Highest and last score of the large network beside ridge and the small one, target by target (Markdown)."""
    [held_out] = scores["held_out"].unique()
    parts = []
    for target, part in scores.groupby("target", sort=False):
        large = part[part["model"] == LARGE].sort_values("step")
        beside = part[part["model"] != LARGE].set_index("model")
        for score, name in {"pcc": f"PCC-{k}", "composition": "composition skill"}.items():
            if score == "composition" and target == RESIDUAL:
                continue  # the same number as PCC-k
            best, last, others = large.loc[large[score].idxmax()], large.iloc[-1], beside[score]
            parts.append(
                f"{labels.label(target)}, {name}: highest {best[score]:.3f} after {best['spot_views']:,.0f} spot "
                f"views, {last[score]:.3f} after {last['spot_views']:,.0f}; ridge {others['ridge']:.3f}, "
                f"STEM as elsewhere here {others['stem']:.3f}{_chance(best, score, target)}"
            )
    return (
        f"One fold, {held_out} held out, trained once in each target at about the published size "
        f"({parameters / 1e6:.1f} million parameters, published {PARAMETERS} million) on far fewer spot views than the "
        f"published {VIEWS} million. " + ". ".join(parts) + ". The highest point is chosen on the "
        "scored section itself, which flatters the large network. One fold cannot say what holds in others."
    )


def _chance(row: pd.Series, score: str, target: str) -> str:
    """The 95 % point of the null of a score, in words; of PCC-k in log none was kept."""
    known = score == "composition" or target == RESIDUAL
    return f" (chance of the highest {row['composition_chance_95']:.3f})" if known else " (no chance was kept)"
