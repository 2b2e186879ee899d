"""The paper's two stages, step by step, with their plan and reports."""
