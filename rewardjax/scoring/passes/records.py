"""The JSON files of a pass, read as what may have been damaged since they were written."""

import pathlib
from collections.abc import Collection
from typing import Any

from rewardjax.io import own_files
from rewardjax.io.own_files import Damaged
from rewardjax.scoring.units import Account

REMEDY = "remove it and run the command again"


def read(path: pathlib.Path, names: Collection[str]) -> dict[str, Any]:
    """The object in a file, which has at least the fields `names`; raises as `own_files.read`."""
    return own_files.read(path, names, REMEDY)


def account_of(record: dict[str, Any], path: pathlib.Path) -> Account:
    """The account in a record that `read` gave. Raises Damaged for what is none."""
    account = record["account"]
    # Those with a default are not there in files of earlier versions.
    required = set(Account._fields) - set(Account._field_defaults)
    if not isinstance(account, dict) or not required <= account.keys() <= set(Account._fields):
        raise Damaged(f"{path} holds no account; {REMEDY}")
    return Account(**account)
