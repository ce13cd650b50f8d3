"""Takes the answers from existing prediction files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from affectgpt.bench.answerers.base import Answer, Answerer, Asked
from affectgpt.bench.predictions import read_predictions
from affectgpt.datamodules.unibench.sets import TEST_SETS
from affectgpt.errors import DataError
from affectgpt.files import digest_of_file
from affectgpt.metrics.labels import is_missing


class FileAnswerer(Answerer):
    """Looks answers up by the names of the clips: labels, or whole answers, from which labels are then read.

    Args:
        file: A ``.npz``, ``.jsonl`` or ``.csv`` file; ``{set}`` in it stands for the name of the test set.
        column: The column with the answers; by default the only one with a name that answers usually have.

    Raises:
        DataError: If there is no such file.
    """

    name = "files"
    target: ClassVar[str | None] = "file"

    def __init__(self, file: str, column: str | None = None) -> None:
        self.path, self.column = file, column
        if "{set}" not in file and not Path(file).is_file():
            raise DataError(f"answerer files: there is no file {file!r}; give a .npz, .jsonl or .csv file")

    def title(self) -> str:
        """The name of the file, or of its folder if the file is named after the set."""
        path = Path(self.path)
        return path.stem.replace("{set}", "").strip("-_. ") or path.resolve().parent.name

    def identity(self) -> Mapping[str, Any]:
        """The digest of the file, or of all existing ones."""
        paths = [Path(self.path.replace("{set}", name)) for name in TEST_SETS] if "{set}" in self.path else [self.path]
        digests = {Path(one).name: digest_of_file(one) for one in paths if Path(one).is_file()}
        return {"answerer": self.name, "files": digests, "column": self.column}

    def answer(self, asked: Sequence[Asked], run: int = 0) -> Iterator[Answer]:
        """The answers of all clips; clips that are missing in the file have failed.

        Raises:
            DataError: If a file is missing or damaged.
        """
        by_set: dict[str, list[Asked]] = {}
        for one in asked:
            by_set.setdefault(one.set_name, []).append(one)
        for set_name, clips in by_set.items():
            path = self.path.replace("{set}", set_name)
            answers = read_predictions(path, column=self.column)
            if answers.is_sentiment:
                raise DataError(
                    f"{path} holds sentiments, which are not answers; score it with --predictions and --gold"
                )
            for one in clips:
                value = answers.values.get(one.key)
                if one.key not in answers.values:
                    yield Answer.failed(one.key, f"{path} has no line for it")
                elif is_missing(value):
                    yield Answer.failed(one.key, f"its answer in {path} is empty")
                else:
                    yield Answer(one.key, text=_text_of(value))


def _text_of(value: Any) -> str:
    """Labels as the text of a list; texts unchanged."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
