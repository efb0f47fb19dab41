"""Measured and predicted -> scores, their nulls, floors and ceilings."""
