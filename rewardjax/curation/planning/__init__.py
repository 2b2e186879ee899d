"""What a curation costs: the money there is, the bound and the expectation."""
