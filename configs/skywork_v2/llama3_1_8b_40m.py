"""Skywork-Reward-V2-Llama-3.1-8B-40M: see release.py for recipes, slices and arguments."""

import pathlib

from rewardjax.config import load_module

get_config, slices = load_module(pathlib.Path(__file__).with_name("release.py")).of(
    "llama3.1-8b-40m"
)
