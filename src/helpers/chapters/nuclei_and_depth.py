"""Whether more nuclei mean more molecules: what the sections say together."""

import pandas as pd

from helpers.labels import counted


def answer(sections: pd.DataFrame) -> str:
    """Spearman's rho of nuclei and depth over sections (Markdown).

    `sections` has section, patient and rho_nuclei_depth (NaN without an image).
    """
    known = sections.dropna(subset="rho_nuclei_depth").set_index("section")
    rho = known["rho_nuclei_depth"]
    if rho.empty:
        return "No section has both nuclei and depth."
    patients = counted(known["patient"].nunique(), "patients")
    ends = f", from {rho.min():z.2f} ({rho.idxmin()}) to {rho.max():z.2f} ({rho.idxmax()})" if len(rho) > 1 else ""
    return (
        f"Within a section, Spearman's rho of nuclei and molecules has a median of **{rho.median():z.2f}** over "
        f"{counted(len(rho), 'sections')} of {patients}{ends}."
    )
