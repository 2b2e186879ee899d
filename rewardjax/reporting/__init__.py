"""What people look at: HTML pages, plots, text tables."""
