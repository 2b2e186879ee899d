"""The report of an evaluation: tables, figures and sections of one HTML page."""
