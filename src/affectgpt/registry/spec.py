"""The spec of a part: its name and arguments as plain JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from affectgpt.errors import ConfigError


@dataclass(frozen=True)
class Spec:
    """Name and arguments of one part, as plain JSON.

    Attributes:
        name: A registered name, or ``package.module:Class``.
        args: Keyword arguments of the part.
    """

    name: str
    args: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Spec | str | Mapping[str, Any]) -> Spec:
        """Read a spec from a name, a mapping ``{name, args}``, or a spec.

        Raises:
            ConfigError: If the value is none of these, or its arguments are not plain JSON.

        Examples:
            >>> Spec.of("tiny-vision")
            Spec(name='tiny-vision', args={})
            >>> Spec.of({"name": "attention", "args": {"num_tokens": 1}}).args
            {'num_tokens': 1}
        """
        if isinstance(value, Spec):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ConfigError(f"a part is given as a name or as {{name, args}}, but got {value!r}")
        unknown = set(value) - {"name", "args"}
        if unknown:
            raise ConfigError(
                f"part {value['name']!r}: unknown key {sorted(unknown)[0]!r} beside 'name' and 'args'; "
                "put the arguments of the part under 'args'"
            )
        given = value.get("args") or {}
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise ConfigError(f"part {value['name']!r}: 'args' maps names of arguments to values, but is {given!r}")
        args = dict(given)
        try:
            json.dumps(args)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"part {value['name']!r}: its arguments must be plain JSON ({error})") from None
        return cls(value["name"], args)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON of the spec."""
        return {"name": self.name, "args": json.loads(json.dumps(self.args))}
