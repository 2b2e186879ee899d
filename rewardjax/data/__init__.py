"""From records in files to packed rows of token ids; docs/architecture.md draws the flow."""
