"""Steering a run from outside: what may be asked of it, and how it is reached."""
