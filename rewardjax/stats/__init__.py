"""Statistics that several parts need: intervals, bootstrap, paired tests, agreement."""
