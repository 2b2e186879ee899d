"""What must not be learned from: leaked, repeated, personal and judge-directed pairs."""
