"""Skywork-Reward-V2-Llama-3.2-3B: see release.py for recipes, slices and arguments."""

import pathlib

from rewardjax.config import Config, load_module

release = load_module(pathlib.Path(__file__).with_name("release.py"))


def slices(arg: str | None = None) -> tuple[str, ...]:
    return release.slices(with_model(arg))


def get_config(arg: str | None = None) -> Config:
    return release.get_config(with_model(arg))


def with_model(arg: str | None) -> str:
    return "model=llama3.2-3b" + (f",{arg}" if arg else "")
