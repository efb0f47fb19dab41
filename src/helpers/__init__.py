"""Helpers of the notebooks, room by room; imports run one way, see tests/test_architecture.py."""
