"""Random kills while two owners' jobs run: `python -m tests.chaos`. What must hold is in `checks`."""
