"""Explains in one line what a user can fix: a wrong file or setting, a full or read-only disk, no home folder."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from affectgpt.errors import AffectGPTError

_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: "the disk is full; make room, or name a folder on another disk",
    errno.EDQUOT: "your quota of disk space is used up; make room, or name a folder on another disk",
    errno.EFBIG: "the file grew beyond what the system allows; raise the limit (ulimit -f), or write less",
    errno.EROFS: "the disk is read-only; name a folder that can be written",
    errno.EACCES: "you have no permission; change it (chmod, chown), or name another file or folder",
    errno.EPERM: "the system does not permit it; name another file or folder",
    errno.ENOENT: "there is no such file or folder; check the path",
    errno.ENOTDIR: "a part of the path is a file and not a folder; check the path",
    errno.EISDIR: "it is a folder, but a file is expected",
    errno.EEXIST: "it exists already; name another one, or remove it",
    errno.ENOTEMPTY: "the folder is not empty; name another one, or empty it",
    errno.ENAMETOOLONG: "the name is too long for this disk; shorten it",
    errno.ELOOP: "links point at each other in a circle; remove one of them",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n), or use fewer workers",
    errno.ENOMEM: "the memory is used up; use fewer workers or a smaller batch",
    errno.EIO: "the disk fails to read or write; the file may be damaged",
}
# How libraries with their own writers (torch, safetensors, pyarrow) report a full or read-only disk.
_FOREIGN: Mapping[str, int] = {
    "No space left on device": errno.ENOSPC,
    "PytorchStreamWriter failed writing": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
}
_HOMELESS = ("home directory", "getpwuid")
_SAME_CALLBACK = "more than one stateful callback of type"


def explain(error: Exception) -> str | None:
    """An explanation of an error that the user can fix; ``None`` for errors that only we can."""
    if isinstance(error, AffectGPTError):
        return str(error)
    if isinstance(error, OSError):
        return _of_system(error)
    text = str(error)
    if type(error).__name__ == "MisconfigurationException":  # Lightning's own for what a user has set
        return text
    for phrase, code in _FOREIGN.items():
        if phrase in text:
            return f"a file could not be written: {_ADVICE[code]} ({type(error).__name__}: {text})"
    if isinstance(error, (RuntimeError, KeyError)) and any(phrase in text for phrase in _HOMELESS):
        return f"this user has no home folder; set HOME to a folder, and AFFECTGPT_CACHE to one for the cache ({text})"
    if isinstance(error, RuntimeError) and _SAME_CALLBACK in text:
        of_type = text.partition(_SAME_CALLBACK)[2].partition(".")[0].strip(" `")
        return (
            f"trainer.callbacks has {of_type} twice, and Lightning could not tell the stored states of the two apart; "
            "leave one of them out, or let them differ (of ModelCheckpoint: monitor, mode, every_n_train_steps, "
            "every_n_epochs or train_time_interval)"
        )
    if isinstance(error, RecursionError):
        return "a file or a setting is nested too deeply to be read; run again with --debug to see which"
    if isinstance(error, UnicodeError):
        return _of_text(error)
    if isinstance(error, MemoryError):
        return "the memory is used up; use fewer workers, a smaller batch or shorter clips"
    return None


def _of_system(error: OSError) -> str:
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    advice = _ADVICE.get(error.errno or 0)
    what = error.strerror or str(error) or type(error).__name__
    if not names:
        return f"{what}: {advice}" if advice else f"{type(error).__name__}: {error}"
    return f"{' -> '.join(names)}: {what}" + (f"; {advice}" if advice else "")


def _of_text(error: UnicodeError) -> str:
    if isinstance(error, UnicodeEncodeError):
        around = error.object[max(0, error.start - 20) : error.end + 20]
        return (
            f"the text {around!r} has a character that {error.encoding} cannot write ({error.reason}); correct the "
            "text in your file: a cut through an emoji leaves half of it"
        )
    if isinstance(error, UnicodeDecodeError):
        return f"a file is not text in {error.encoding} (byte {error.start}: {error.reason}); save it as UTF-8"
    return f"a text cannot be read: {error}"
