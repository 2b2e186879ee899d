"""How a command runs: what it holds, what it tells of itself, and how it ends."""
