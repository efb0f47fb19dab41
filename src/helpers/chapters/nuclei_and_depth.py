"""Whether more nuclei mean more molecules: what the sections say together."""

import pandas as pd

from helpers.labels import counted


def remark(sections: pd.DataFrame) -> str:
    """Spearman's rho of nuclei and depth over sections (Markdown).

    `sections` has section, patient and rho_nuclei_depth (NaN without an image).
    """
    known = sections.dropna(subset="rho_nuclei_depth").set_index("section")
    rho = known["rho_nuclei_depth"]
    if rho.empty:
        return "No section has both nuclei and depth."
    patients = counted(known["patient"].nunique(), "patients")
    return (
        f"Spearman's rho within a section has a median of **{rho.median():.2f}** over "
        f"{counted(len(rho), 'sections')} of {patients}, from {rho.min():.2f} ({rho.idxmin()}) to "
        f"{rho.max():.2f} ({rho.idxmax()})."
    )
