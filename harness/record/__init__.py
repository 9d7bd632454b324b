"""The record of a run: events, the journal, the run directory, reduce(), and the reports made from them."""
