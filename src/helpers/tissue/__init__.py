"""H&E around a spot -> nuclei, stain, features."""
