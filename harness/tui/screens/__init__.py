"""What opens over the run: questions, one node alone, faults to inject, help."""
