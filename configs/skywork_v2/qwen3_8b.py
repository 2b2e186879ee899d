"""Skywork-Reward-V2-Qwen3-8B: see release.py for recipes, slices and arguments."""

import pathlib

from rewardjax.config import load_module

get_config, slices = load_module(pathlib.Path(__file__).with_name("release.py")).of("qwen3-8b")
