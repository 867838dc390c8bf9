"""The claims: one test each, read with its case file in `cases/`."""
