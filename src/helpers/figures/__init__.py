"""Tidy table -> axis."""
