"""LLM judges: prompts, requests, the account of paid calls, and votes made of answers."""
