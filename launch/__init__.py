"""Starting rewardjax jobs: real processes on this machine, or a rendered job for a cluster."""
