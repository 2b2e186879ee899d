"""What curation is worth: the product's own loop with voters of known quality."""
