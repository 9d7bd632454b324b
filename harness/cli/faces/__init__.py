"""Faces: what is shown of a run while it goes on. Each is driven by the journal's events, and by nothing else."""
