"""The program that runs on a machine. Standard library only, Python 3.8 and newer, shipped as bytes (see bundle.py).

No shell anywhere: argument vectors, paths and environments come in frames, and go to the kernel as they are."""
