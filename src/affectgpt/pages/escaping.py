"""Escapes untrusted text for HTML, Markdown, CSV and JSON, with one function for each format."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from affectgpt.text import clean_text

_JOINERS = "\u200c\u200d"
_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^(?:[#+-]|\d+[.)])(?=\s)")
_FORMULA = re.compile(r"[\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def one_line(text: object) -> str:
    r"""Put a text on one line; invisible characters and unpaired surrogates become U+FFFD.

    Examples:
        >>> one_line("two\n lines \x1b[31m"), one_line("\u202eevil")
        ('two lines �[31m', '�evil')
    """
    words = " ".join(clean_text(str(text)).split())
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in words)


def for_html(text: object) -> str:
    """Escape text for an element or a quoted attribute of a page.

    Examples:
        >>> for_html('<b title="x">')
        '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(one_line(text))


def for_markdown(text: object) -> str:
    r"""Escape text for a paragraph or a table cell, so that it makes no HTML, link, emphasis or further cell.

    Examples:
        >>> print(for_markdown("<img> [x](y) a|b my_model _x_"))
        &lt;img&gt; \[x\](y) a\|b my_model \_x\_
    """
    plain = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda found: f"\\{found.group()}" if len(found.group()) == 1 else _numbered(found), plain)


def for_csv(text: object) -> str:
    """Escape text for a cell; text that a spreadsheet would read as a formula gets a leading apostrophe.

    Do not use it for numbers, which may begin with a minus sign.

    Examples:
        >>> for_csv("=HYPERLINK(A1)"), for_csv("-model"), for_csv("my-model")
        ("'=HYPERLINK(A1)", "'-model", 'my-model')
    """
    plain = _CONTROL.sub("\ufffd", clean_text(str(text)))
    return f"'{plain}" if _FORMULA.match(str(text)) else plain


def for_json(data: Any, *, indent: int | None = 2) -> str:
    r"""Write JSON that UTF-8 can encode: an unpaired surrogate becomes an escape such as ``\ud83d``.

    NaN and infinity, which JSON cannot express, become ``null``.

    Examples:
        >>> for_json({"name": "\ud83d", "f1": float("nan")}, indent=None)
        '{"name": "\\ud83d", "f1": null}'
    """
    text = json.dumps(without_nan(data), indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def without_nan(value: Any) -> Any:
    """Plain JSON with ``None`` for NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return value


def _numbered(found: re.Match[str]) -> str:
    number = found.group()
    return f"{number[:-1]}\\{number[-1]}"
