"""How a check of a fixture fails, and how files are written."""

import json
from pathlib import Path


class Unsuitable(Exception):
    """This row of the table gives a fixture that would not test what it is for."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Unsuitable(message)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
