"""A table of parts of one kind: finds, checks and builds them by name, and imports a part only when it is needed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Generic, TypeVar, cast

from affectgpt.errors import ConfigError, did_you_mean
from affectgpt.registry.spec import Spec

T = TypeVar("T")
C = TypeVar("C")

EXTRA_OF_MODULE: Mapping[str, str] = {
    "timm": "media",
    "torchaudio": "media",
    "gguf": "demo",
    "matplotlib": "demo",
    "PIL": "demo",
    "openpyxl": "wheel",
    "pooch": "wheel",
    "ray": "ray",
    "ai_edge_litert": "annotate",
    "gradio": "app",
    "flash_attn": "flash",
    "torchcodec": "torchcodec",
    "silero_vad": "speech",
    "faster_whisper": "asr",
}
"""Optional module to the extra of ``affectgpt`` that installs it."""


@dataclass(frozen=True)
class Entry:
    """One entry of a registry.

    Attributes:
        name: The registered name.
        owner: Who registered it: ``affectgpt``, a distribution with its version, or a module.
        target: ``module:attr``, or the class's qualified name.
        problem: Why it cannot be used, or ``None``; set by ``Registry.check``.
    """

    name: str
    owner: str
    target: str
    problem: str | None = None


class Registry(Generic[T]):
    """A table of parts of one kind.

    Args:
        kind: The name of such a part in messages, such as ``"encoder"``.
        base: ``module:attr`` of the class that every part derives from.
        builtins: Name to ``module:attr``; a part is imported when it is first needed.
        group: Entry-point group in which installed plugins are found.
        prefixes: Name prefix to ``module:attr`` for families with open names, such as ``timm/<model>``; the rest of the
            name is passed as the argument ``model``.
    """

    def __init__(
        self,
        kind: str,
        base: str,
        builtins: Mapping[str, str],
        group: str,
        prefixes: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.group = group
        self._base = base
        self._builtins = dict(builtins)
        self._prefixes = dict(prefixes or {})
        self._local: dict[str, tuple[str, Callable[..., T]]] = {}

    def __contains__(self, name: str) -> bool:
        quick = name in self._local or name in self._builtins  # plug-ins are looked up on disk
        return quick or self._prefix_of(name) is not None or name in self._sources()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._sources()))

    def names(self) -> list[str]:
        """Every registered name, sorted."""
        return list(self)

    def register(self, name: str, *, overwrite: bool = False) -> Callable[[type[C]], type[C]]:
        """Register a class under a name, for this process.

        Args:
            name: The new name: lower case, dashes, weights after a dot (``my-face.v2``).
            overwrite: Whether to take the name even if it has an owner.

        Raises:
            ConfigError: If the name already has an owner.

        Examples:
            >>> from affectgpt.registry import POOLINGS
            >>> from affectgpt.fusion import Pooling
            >>> @POOLINGS.register("first-step")
            ... class FirstStep(Pooling):
            ...     def forward(self, features):
            ...         return features.hidden[:, :1]
            >>> POOLINGS.build("first-step", in_dim=8).num_tokens
            1
        """

        def decorate(cls: type[C]) -> type[C]:
            owner = f"{cls.__module__}:{cls.__qualname__}"
            taken = self._sources().get(name)
            same = taken is not None and taken[1] == owner
            if taken is not None and not same and not overwrite:
                raise ConfigError(
                    f"{self.kind} name {name!r} is taken by {taken[0]} ({taken[1]}), so {owner} cannot register it. "
                    "Choose another name, or pass overwrite=True"
                )
            self._local[name] = (owner, cast(Callable[..., T], cls))
            return cls

        return decorate

    def get(self, name: str, *, allow_import: bool = True) -> Callable[..., T]:
        """The class (or builder) registered under a name.

        Args:
            name: A registered name, ``prefix/rest`` of an open family, or ``package.module:Class``.
            allow_import: Whether ``package.module:Class`` may be imported; ``False`` for names from a downloaded file.

        Raises:
            ConfigError: If the name is unknown, or its part cannot be imported.
        """
        if name in self._local:
            return self._local[name][1]
        if name in self._builtins:
            return self._import(name, "affectgpt", self._builtins[name])
        sources = self._sources()
        if name in sources:
            owner, target = sources[name]
            return self._import(name, owner, target)
        prefix = self._prefix_of(name)
        if prefix is not None:
            return self._import(name, "affectgpt", self._prefixes[prefix])
        if ":" in name:
            if not allow_import:
                raise ConfigError(
                    f"{self.kind} {name!r} names code to import, which is refused for a configuration that came with "
                    "a checkpoint; pass allow_import=True if you trust the file"
                )
            return self._import(name, "your configuration", name)
        raise ConfigError(self._unknown(name))

    def local(self, name: str) -> Callable[..., T] | None:
        """What this process registered under a name by ``register``; ``None`` if nothing."""
        return self._local[name][1] if name in self._local else None

    def build(self, spec: Spec | str | Mapping[str, Any], *, allow_import: bool = True, **runtime: Any) -> T:
        """Build a part.

        Args:
            spec: Name and arguments.
            allow_import: See ``get``.
            runtime: Arguments that only the caller knows, such as the width of the features; arguments that the part
                does not take are left out.

        Raises:
            ConfigError: If the name is unknown, an argument is wrong, or the result is not a part of this kind.
        """
        spec = Spec.of(spec)
        target = self.get(spec.name, allow_import=allow_import)
        base = cast(type, self._import(self.kind, "affectgpt", self._base))
        if inspect.isclass(target) and not issubclass(target, base):
            raise ConfigError(self._no_part(spec.name, f"is the class {target.__name__}", base))
        args = dict(spec.args)
        is_named = spec.name in self._local or spec.name in self._builtins
        prefix = self._prefix_of(spec.name) if not is_named and spec.name not in self._sources() else None
        if prefix is not None:
            args.setdefault("model", spec.name[len(prefix) :])
        signature = inspect.signature(target)
        takes = signature.parameters
        open_ended = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        args |= {k: v for k, v in runtime.items() if (k in takes or open_ended) and k not in args}
        try:
            signature.bind(**args)
        except TypeError as error:
            raise ConfigError(f"{self.kind} {spec.name!r}: {error}. It takes: {_describe(signature)}") from None
        try:
            part = target(**args)
        except ModuleNotFoundError as error:
            owner = self._sources().get(spec.name, ("affectgpt", ""))[0]
            raise ConfigError(self._missing(spec.name, owner, error)) from error
        if not isinstance(part, base):
            raise ConfigError(self._no_part(spec.name, f"built a {type(part).__name__}", base))
        return cast(T, part)

    def entries(self) -> list[Entry]:
        """List what is registered, without importing it."""
        listed = [Entry(name, owner, target) for name, (owner, target) in sorted(self._sources().items())]
        return listed + [Entry(f"{prefix}<name>", "affectgpt", target) for prefix, target in self._prefixes.items()]

    def distribution_of(self, name: str) -> tuple[str, str] | None:
        """Name and version of the installed distribution that a part comes from.

        Args:
            name: A registered name, or ``package.module:Class``.

        Returns:
            ``None`` for a part of the library itself, and for code that no installed distribution brought.
        """
        if name in self._local:
            return _distribution_of_module(self._local[name][0])
        if name in self._builtins:
            return None
        for point in metadata.entry_points(group=self.group, name=name):
            return (point.dist.name, point.dist.version) if point.dist is not None else None
        return _distribution_of_module(name) if ":" in name and self._prefix_of(name) is None else None

    def check(self) -> list[Entry]:
        """List what is registered, after importing each part; broken ones have a ``problem``."""
        checked = []
        for entry in self.entries():
            problem = None
            try:
                if entry.name not in self._local:
                    self._import(entry.name, entry.owner, entry.target)
            except ConfigError as error:
                problem = str(error)
            checked.append(Entry(entry.name, entry.owner, entry.target, problem))
        return checked + [
            Entry(name, owner, target, f"name taken by {taken}") for name, owner, target, taken in self._shadowed()
        ]

    def _plugins(self) -> Iterator[tuple[str, str, str]]:
        for point in metadata.entry_points(group=self.group):
            dist = point.dist
            owner = f"{dist.name} {dist.version}" if dist is not None else "an installed plugin"
            yield point.name, owner, point.value

    def _sources(self) -> dict[str, tuple[str, str]]:
        found = {name: ("affectgpt", target) for name, target in self._builtins.items()}
        for name, owner, target in self._plugins():
            found.setdefault(name, (owner, target))
        found |= {name: (owner.split(":")[0], owner) for name, (owner, _) in self._local.items()}
        return found

    def _shadowed(self) -> Iterator[tuple[str, str, str, str]]:
        """Plugins whose name has another owner: listed as broken, never silently dropped."""
        seen = {name: ("affectgpt", target) for name, target in self._builtins.items()}
        for name, owner, target in self._plugins():
            if name in seen and seen[name] != (owner, target):
                yield name, owner, target, f"{seen[name][0]} ({seen[name][1]})"
            seen.setdefault(name, (owner, target))

    def _prefix_of(self, name: str) -> str | None:
        return next((p for p in self._prefixes if name.startswith(p) and len(name) > len(p)), None)

    def _import(self, name: str, owner: str, target: str) -> Callable[..., T]:
        module_name, _, attribute = target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for piece in attribute.split("."):
                found = getattr(found, piece)
        except ModuleNotFoundError as error:
            raise ConfigError(self._missing(name, owner, error)) from error
        except Exception as error:
            raise ConfigError(
                f"{self.kind} {name!r} of {owner} cannot be imported from {target!r}: {type(error).__name__}: {error}"
            ) from error
        if not callable(found):
            raise ConfigError(f"{self.kind} {name!r} of {owner}: {target!r} is a {type(found).__name__}, not a class")
        return cast(Callable[..., T], found)

    def _missing(self, name: str, owner: str, error: ModuleNotFoundError) -> str:
        module = (error.name or "").split(".")[0]
        extra = EXTRA_OF_MODULE.get(module)
        remedy = f"pip install 'affectgpt[{extra}]'" if extra else f"install the package that provides {module!r}"
        return f"{self.kind} {name!r} of {owner} needs the module {error.name!r}, which is not installed; {remedy}"

    def _no_part(self, name: str, what: str, base: type) -> str:
        return (
            f"{self.kind} {name!r} {what}, which is not a {base.__name__}; derive it from "
            f"{self._base.replace(':', '.')}"
        )

    def _unknown(self, name: str) -> str:
        names = [*self.names(), *(f"{prefix}<name>" for prefix in self._prefixes)]
        hint = did_you_mean(name, names, most=3)
        return (
            f"unknown {self.kind} {name!r}.{hint} Known: {', '.join(names)}. Add one with the decorator "
            f"@register(name), the entry-point group {self.group!r}, or as 'package.module:Class'"
        )


def _distribution_of_module(target: str) -> tuple[str, str] | None:
    """The distribution that brought a module, ``module:attr``, by its top-level package."""
    package = target.partition(":")[0].partition(".")[0]
    for name in [] if package == "affectgpt" else _distributions_of_packages().get(package, []):
        return name, metadata.version(name)
    return None


@cache
def _distributions_of_packages() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()  # reads the list of files of every distribution: once will do


def _describe(signature: inspect.Signature) -> str:
    shown = [
        str(p).replace("'", "") if isinstance(p.annotation, str) else str(p) for p in signature.parameters.values()
    ]
    return ", ".join(shown) or "no arguments"
