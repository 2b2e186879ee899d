"""Steps that cannot be believed: what is not finite, and what a device computed wrongly."""
