"""Raw files of a cohort -> sections."""
