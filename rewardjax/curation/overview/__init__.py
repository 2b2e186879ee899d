"""What a lead sees of a curation: money, what is waited for, flows, how good its voters are."""
