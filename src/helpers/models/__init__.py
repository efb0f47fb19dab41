"""Sections in training -> predictions of the one held out."""
