"""What people say about pairs: files that come back, the checks on them, and where they wait."""
