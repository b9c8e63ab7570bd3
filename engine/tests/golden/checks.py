"""What the fixtures have in common: how a check fails, and how files are written."""

import json
from pathlib import Path


class Unsuitable(Exception):
    """This seed, or this row of the table, gives a fixture that would not test what it is for."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Unsuitable(message)


def check_size(folder: Path, bytes_max: int) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    require(size <= bytes_max, f"{size} bytes, more than {bytes_max}")


def write_json(path: Path, value: dict, sort_keys: bool = False) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=sort_keys)
    path.write_text(text + "\n", encoding="utf-8")
