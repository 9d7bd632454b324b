"""The terminal: watching, steering and replaying a run, all on its journal."""
