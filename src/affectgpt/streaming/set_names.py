"""Short names that distinguish the sets of a mixture, for the keys of their samples."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from affectgpt.shards.index import ShardIndex


def set_names(indexes: Sequence[ShardIndex]) -> tuple[str, ...]:
    """The shortest ends of the sets' paths that are distinct; repeated sets are numbered.

    Only the path of a URL is used: other components may be secret.

    Examples:
        >>> set_names([ShardIndex((), folder=Path(folder)) for folder in ("/a/mer/train", "/a/demo/train")])
        ('mer/train', 'demo/train')
    """
    paths = [_parts(index) for index in indexes]
    for depth in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-depth:]) for parts in paths]
        if len({*names}) == len(names):
            return tuple(names)
    names = ["/".join(parts) for parts in paths]
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(numbered)


def _parts(index: ShardIndex) -> list[str]:
    path = urlsplit(index.url).path if index.url else os.path.abspath(index.folder)
    return [part for part in Path(path).parts if part != "/"] or ["set"]
