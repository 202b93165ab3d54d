"""The commands: what an argument list becomes. On top of everything else."""
