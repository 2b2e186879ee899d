"""Skywork-Reward-V2-Llama-3.2-3B: see release.py for recipes, slices and arguments."""

import pathlib

from rewardjax.config import load_module

get_config, slices = load_module(pathlib.Path(__file__).with_name("release.py")).of("llama3.2-3b")
