"""Commands that make what ships with the package, and data sets for other tools."""
