"""The compact profile: quantiser, prediction, range coder and their tables (SPEC 12)."""
