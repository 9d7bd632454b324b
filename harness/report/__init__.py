"""Reports that are looked at afterwards: from the journal and the samples of runs to pages without any script."""
