"""What the turns of a logged game are worth: see `trialign_ray.evaluation.turns.report`."""
