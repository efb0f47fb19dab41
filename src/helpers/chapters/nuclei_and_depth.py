"""Whether more nuclei mean more molecules: what the sections say together."""

import pandas as pd

from helpers.labels import counted
from helpers.scores import coupling


def answer(sections: pd.DataFrame, chances: pd.DataFrame) -> str:
    """Spearman's rho of nuclei and depth over sections (Markdown).

    `sections` has section, patient and rho_nuclei_depth (NaN without an image), `chances` is `coupling.chance_table`.
    """
    known = sections.dropna(subset="rho_nuclei_depth").set_index("section")
    rho = known["rho_nuclei_depth"]
    if rho.empty:
        return "No section has both nuclei and depth."
    null = chances[(chances["section"] == coupling.MEDIAN) & (chances["metric"] == coupling.OF_NUCLEI_AND_DEPTH)]
    high = f" (95 % point of chance {null['chance_95'].iloc[0]:.2f})" if len(null) else ""
    patients = counted(known["patient"].nunique(), "patients")
    ends = f", from {rho.min():z.2f} ({rho.idxmin()}) to {rho.max():z.2f} ({rho.idxmax()})" if len(rho) > 1 else ""
    return (
        f"Within a section, Spearman's rho of nuclei and molecules has a median of **{rho.median():z.2f}**{high} over "
        f"{counted(len(rho), 'sections')} of {patients}{ends}."
    )
