"""Whether more nuclei mean more molecules: what the sections say together."""

import pandas as pd

from helpers.labels import counted

SHALLOW = 50  # counts of a spot below which few genes are seen at all


def remark(sections: pd.DataFrame, spots: pd.DataFrame) -> str:
    """Spearman's rho of nuclei and depth over sections, and how many spots are shallow (Markdown).

    `sections` has section, patient and rho_nuclei_depth (NaN without an image); `spots` total_counts.
    """
    known = sections.dropna(subset="rho_nuclei_depth").set_index("section")
    rho = known["rho_nuclei_depth"]
    shallow = f"{(spots['total_counts'] < SHALLOW).sum()} of {counted(len(spots), 'spots')}"
    if rho.empty:
        return f"No section has both nuclei and depth. {shallow} hold fewer than {SHALLOW} counts and are kept."
    patients = counted(known["patient"].nunique(), "patients")
    return (
        f"Spearman's rho within a section has a median of **{rho.median():.2f}** over "
        f"{counted(len(rho), 'sections')} of {patients}, from {rho.min():.2f} ({rho.idxmin()}) to "
        f"{rho.max():.2f} ({rho.idxmax()}). {shallow} hold fewer than {SHALLOW} counts and are kept."
    )
