"""What a tokenizer folder says about conversations: files, chat template, control tokens."""
