"""Helpers of the notebooks: one module a subject, imports run one way (schema, store <- everything)."""
