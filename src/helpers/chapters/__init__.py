"""What a notebook computes, one module a chapter."""
