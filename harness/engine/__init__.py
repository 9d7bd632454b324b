"""The engine: plan, the phases of a run, node control, faults and their ledger."""
