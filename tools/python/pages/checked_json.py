# SPDX-License-Identifier: Apache-2.0
"""Values of JSON files that may hold anything: whatever is malformed is an InputError that names file and place."""

import collections
import json
import pathlib

import numpy as np
from morph_data import InputError


class Node:
    """A value of a JSON file that knows where it stands; its methods check types."""

    def __init__(self, value: object, file: str, where: str = ""):
        self.value, self.file, self.where = value, file, where

    def error(self, what: str, hint: str = "") -> InputError:
        return InputError(f"{self.file}: {self.where + ' ' if self.where else ''}{what}", hint)

    def fields(self) -> dict[str, "Node"]:
        if not isinstance(self.value, dict):
            raise self.error("is not an object")
        return {key: Node(value, self.file, f"{self.where}.{key}".lstrip(".")) for key, value in self.value.items()}

    def __getitem__(self, key: str) -> "Node":
        if not isinstance(self.value, dict):
            raise self.error("is not an object")
        if key not in self.value:
            raise self.error(f"has no '{key}'")
        return Node(self.value[key], self.file, f"{self.where}.{key}".lstrip("."))

    def find(self, key: str) -> "Node | None":
        """As [key]; nothing where the member is missing or null."""
        return None if isinstance(self.value, dict) and self.value.get(key) is None else self[key]

    def entries(self) -> list["Node"]:
        """Of a list, which may be empty."""
        return [] if self.value == [] else self.items()

    def items(self) -> list["Node"]:
        """Of a list that is not empty."""
        if not isinstance(self.value, list) or not self.value:
            raise self.error("is not a list with something in it")
        return [Node(value, self.file, f"{self.where}[{i}]") for i, value in enumerate(self.value)]

    def text(self) -> str:
        """A name: one line that can be shown anywhere."""
        if not isinstance(self.value, str) or not self.value.isprintable() or not 0 < len(self.value) <= 200:
            raise self.error("is not a text of 1 to 200 printable characters")
        return self.value

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.error("is not true or false")
        return self.value

    def integer(self, least: int = 0, most: int = 2**64) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not least <= self.value <= most:
            raise self.error(f"is not an integer from {least} to {most}")
        return self.value

    def number(self, least: float = 0.0) -> float:
        if type(self.value) not in (int, float) or not least <= self.value <= 1e300:
            raise self.error(f"is not a finite number of {least:g} or more")
        return float(self.value)

    def numbers(self) -> np.ndarray:
        """Of a list of finite numbers that is not empty."""
        if not isinstance(self.value, list) or not self.value:
            raise self.error("is not a list with something in it")
        for i, value in enumerate(self.value):
            if type(value) not in (int, float) or not abs(value) <= 1e300:
                raise self.error(f"has {str(value)[:40]} as value {i}, which is not a finite number")
        return np.array(self.value, dtype=np.float64)

    def names(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def unique_names(self) -> tuple[str, ...]:
        names = self.names()
        if repeated := [name for name, count in collections.Counter(names).items() if count > 1]:
            raise self.error(f"names '{repeated[0]}' twice")
        return names

    def versioned(self, version: int) -> "Node":
        """Itself, an object whose version is this one."""
        found = self["version"].value
        if type(found) is not int or found != version:
            raise self.error(
                f"has version {json.dumps(found)[:40]}, expected {version}", "let this version of Morph write it again"
            )
        return self


def parse_json(text: str | bytes, name: str, hint: str = "") -> Node:
    """What a text holds; `name` is the file's in errors."""
    try:
        return Node(json.loads(text), name)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: is no JSON: {' '.join(str(error).split())[:200]}", hint) from error


def read_bytes(path: pathlib.Path, name: str, hint: str = "") -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{name}: cannot be read: {error.strerror}", hint) from error


def read_json(path: pathlib.Path, name: str, hint: str = "") -> Node:
    """The value of a file, which errors call `name`; `hint` says where the file comes from."""
    return parse_json(read_bytes(path, name, hint), name, hint)
