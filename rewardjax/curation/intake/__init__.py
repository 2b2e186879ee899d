"""How pairs come into the ledger, and the gold that a team owns."""
