"""The report of a comparison: arms x figures in each regime, contrasts, and what they cost."""
