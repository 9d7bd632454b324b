"""Runs in a browser: a list, their reports, and the screen to look at."""
