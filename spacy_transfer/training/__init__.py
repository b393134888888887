"""Training on a source and a target: schedules, the loop, checkpoints."""
