"""The terminal: watching, steering and replaying a run, all on its journal."""

import os

os.environ.setdefault("ESCDELAY", "50")
"""Milliseconds after which an Escape is one, and not the beginning of another key. Textual reads it as it is loaded."""
