"""Counts -> what models predict."""
