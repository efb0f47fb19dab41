"""Whether the nuclei can be trusted: how many there are in every section, and how far from a known truth.

`spots` has a row per spot of all sections: spot, section, n_nuclei, nuclei_area_um2, haematoxylin.
"""

import base64
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from helpers import columns, store
from helpers.cohort import images, pictures
from helpers.labels import counted, span
from helpers.schema import SPATIAL, measure
from helpers.tissue import haematoxylin

PIXELS_UM = (1.0, 2.0, 3.2, 6.4, 12.7)  # down to a lowres picture of Space Ranger
STAIN = ["section", "mpp", "rho", "per_stain", "per_strength"]
COUNTS = ["n_nuclei_true", "n_nuclei"]


def nuclei_by_section(spots: pd.DataFrame, spot_um: Mapping[str, float]) -> pd.DataFrame:
    """Nuclei of every section: quantiles per spot, density per mm2 of its discs of `spot_um`, area, and a check.

    mean_nuclei_area_um2 is over nuclei, NaN where the area of one is unknown. The check is Spearman's rho of the count
    with the mean haematoxylin of the disc. Where nothing was counted, quantiles of that haematoxylin alone.
    """
    by_section = spots.groupby("section", observed=True)
    table = by_section[measure(spots)].describe()[["count", "min", "25%", "50%", "75%", "max"]]
    if "n_nuclei" not in spots:
        return table
    table["median_per_mm2"] = table["50%"] / (np.pi * (table.index.map(spot_um).to_numpy() / 2000) ** 2)
    area = by_section["nuclei_area_um2"].agg(lambda per_spot: per_spot.sum(skipna=False))
    table["mean_nuclei_area_um2"] = area / by_section["n_nuclei"].sum()
    table["rho_nuclei_haematoxylin"] = [
        columns.spearman(part[["haematoxylin"]].to_numpy(), part["n_nuclei"].to_numpy())[0] for _, part in by_section
    ]
    return table


def formats(table: pd.DataFrame) -> dict[str, str]:
    """How the columns of `nuclei_by_section` are shown: whole numbers of nuclei, densities and rho with decimals."""
    if "rho_nuclei_haematoxylin" in table:
        return dict.fromkeys(table, "{:,.0f}") | {"rho_nuclei_haematoxylin": "{:.2f}"}
    return dict.fromkeys(table, "{:.3f}") | {"count": "{:.0f}"}


def against_truth(spots: pd.DataFrame, folder: str | Path | None) -> pd.DataFrame:
    """Nuclei counted beside the simulated number, a row a spot: section, n_nuclei_true, n_nuclei.

    `folder` holds `<section>.csv` with spot and n_nuclei_true. Empty for None, of a real cohort, and where nothing was
    counted.
    """
    if folder is None or "n_nuclei" not in spots:
        return pd.DataFrame(columns=["section", *COUNTS])
    tables = []
    for name, part in spots.groupby("section", observed=True):
        truth = store.read_table(Path(folder) / f"{name}.csv", ["spot", "n_nuclei_true"]).set_index("spot")
        known = truth["n_nuclei_true"].reindex(part["spot"]).to_numpy()
        tables.append(pd.DataFrame({"section": name, "n_nuclei_true": known, "n_nuclei": part["n_nuclei"].to_numpy()}))
    return pd.concat(tables, ignore_index=True)


def answer(compared: pd.DataFrame, table: pd.DataFrame, of_tiles: str = "") -> str:
    """Rank correlation and bias of counted nuclei, over all spots and over the densest quarter; a real cohort has none.

    `compared` is what `against_truth` returns, `table` what `nuclei_by_section` does, `of_tiles` what annotated tiles
    say, which comes first where nothing else is known. The quarter is left out where no spot is denser than three
    quarters.
    """
    if "rho_nuclei_haematoxylin" not in table:
        return (
            "Nothing can be checked here: no nucleus is counted in this cohort, and no truth is known for the mean "
            "haematoxylin of a disc that stands for them."
        )
    if compared.empty:
        rho = table["rho_nuclei_haematoxylin"]
        return (
            f"**Not known in this cohort**, whose nuclei nobody annotated. {of_tiles} Frozen sections are harder: "
            "whether outlines look right here is for the eye (the gallery at the end).\n\n"
            "That counts follow the mean haematoxylin of a disc (rho "
            f"{span(rho.min(), rho.max())}, {counted(len(rho), 'sections')}) is no evidence: it is the stain by which "
            "nuclei are found."
        )
    return f"{_against_known(compared)} {of_tiles}".strip()


def _against_known(compared: pd.DataFrame) -> str:
    """Counted beside simulated nuclei, in words."""
    true, found = compared["n_nuclei_true"], compared["n_nuclei"]
    rho = columns.spearman(found.to_numpy()[:, None], true.to_numpy())[0]
    bias = (found - true).sum() / true.sum()
    sentence = (
        f"Against the simulated truth, {counted(len(compared), 'spots')} of "
        f"{counted(compared['section'].nunique(), 'sections')}: counted and true nuclei have a Spearman's rho of "
        f"**{rho:.2f}**, and the total count is off by **{bias:+.1%}**"
    )
    dense = true > true.quantile(0.75)
    if not dense.any():
        return f"{sentence}."
    in_dense = found[dense].sum() / true[dense].sum() - 1
    return f"{sentence}, in the densest quarter of spots by {in_dense:+.1%}."


# The stain in place of a count ----------------------------------------------------------------------------------


def stain_by_pixel(section: AnnData, pixels_um: Sequence[float] = PIXELS_UM) -> pd.DataFrame:
    """How closely the mean stain of discs follows the nuclei in them, as the section's picture gets coarser.

    A row for the picture as it is and for each of `pixels_um` that is coarser: section, mpp, rho (Spearman over spots),
    and nuclei for one unit of stain, as it is (per_stain) and in units of the section's strength (per_strength).
    """
    shown, mpp, spatial = images.whole(section.uns["image"]), float(section.uns["mpp"]), section.obsm[SPATIAL]
    nuclei, spot_um, rows = section.obs["n_nuclei"].to_numpy(float), float(section.uns["spot_um"]), []
    for um in [mpp, *(um for um in pixels_um if um > mpp)]:
        if um > mpp:
            shown, placement = pictures.reduce(shown, mpp / um)
            spatial, mpp = spatial @ placement[:, :2].T + placement[:, 2], um
        read = functools.partial(images.region, images.on_picture(shown, mpp))
        stain = haematoxylin.haematoxylin(read, spatial, mpp, spot_um)
        per_stain = nuclei.sum() / stain.sum()
        strength = haematoxylin.section_strength(read, spatial, mpp)
        rho = columns.spearman(stain[:, None], nuclei)[0]
        rows.append((section.uns["section"], mpp, rho, per_stain, per_stain * strength))
    return pd.DataFrame(rows, columns=STAIN)


def stain_of_sections(sections: Iterable[AnnData]) -> pd.DataFrame:
    """`stain_by_pixel` of sections with counted nuclei, stacked; without one, its columns alone."""
    found = list(map(stain_by_pixel, sections))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=STAIN)


def describe_stain(table: pd.DataFrame, coarse: float = 3.2) -> str:
    """How far the stain stands for the count at a coarse pixel, and whether one threshold of it fits all sections.

    `table` is that of `stain_of_sections`.
    """
    if table.empty:
        return "Nothing is counted in this cohort that could be set beside the stain."
    at = table[table["mpp"] == coarse]
    raw, scaled = (at[column].std(ddof=0) / at[column].mean() for column in ("per_stain", "per_strength"))
    return (
        f"At {coarse:g} µm per pixel the mean haematoxylin of a disc still follows its nuclei with a rho of "
        f"**{span(at['rho'].min(), at['rho'].max())}** ({counted(len(at), 'sections')}), at "
        f"{table['mpp'].max():g} µm of {table.loc[table['mpp'] == table['mpp'].max(), 'rho'].min():.2f} or more. "
        f"Within a section only the order of spots counts. Between sections one unit of stain holds as many nuclei up "
        f"to {raw:.0%} (standard deviation over mean), and to {scaled:.0%} once it is divided by the strength of the "
        f"section's nuclei: a threshold for several sections wants that division, a correlation does not."
    )


def picture(path: str | Path, alt: str) -> str:
    """A JPEG as HTML that holds it, so that the page needs no other file."""
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return f'<img src="data:image/jpeg;base64,{content}" alt="{alt}" style="max-width: 100%">'
