"""What a tokenizer folder says about conversations: its files, its chat template, its control tokens."""
