"""What is seen of the network while it runs: blocks at every node, submissions, samples, histograms."""
