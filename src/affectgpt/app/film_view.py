"""Shows what came of a film as HTML: the timeline, a table of its answers, and files to keep."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from affectgpt.app.answer_view import draw_sentiment
from affectgpt.app.film_run import FilmProgress
from affectgpt.pages.escaping import for_html
from affectgpt.pages.plotting import data_url
from affectgpt.watch.film_picture import clock, draw_timeline
from affectgpt.watch.rows import Row
from affectgpt.watch.tables import write_tables
from affectgpt.watch.watch_film import Watched

MOST_ROWS = 500
"""Rows of the table that are shown; the files hold all of them."""
FORMS = {
    "csv": ("CSV table", "text/csv"),
    "vtt": ("WebVTT subtitles", "text/vtt"),
    "srt": ("SRT subtitles", "application/x-subrip"),
    "eaf": ("ELAN annotations", "application/xml"),
    "jsonl": ("JSON lines", "application/jsonl"),
}

EMPTY = (
    '<div class="ag-empty"><p>The timeline appears here: who shows what when, with a table and files to keep.</p></div>'
)


def draw_progress(progress: FilmProgress, *, stops: bool = False) -> str:
    """How far it is, and whether it was asked to stop."""
    total = progress.total_seconds
    if stops:
        return '<div class="ag-empty" role="status"><p>Stopping ...</p><progress></progress></div>'
    if not total:
        return '<div class="ag-empty" role="status"><p>Reading the film ...</p><progress></progress></div>'
    share = min(1.0, progress.seconds / total)
    return (
        f'<div class="ag-empty" role="status"><p>Answered up to {clock(progress.seconds)} of {clock(total)}</p>'
        f'<progress max="1" value="{share:.3f}">{share:.0%}</progress></div>'
    )


def draw_film(found: Watched, film: Path) -> str:
    """The result.

    Args:
        found: The answers.
        film: The file, for the film strip; its name is shown.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="affectgpt-film-") as folder:
        picture = draw_timeline(
            found.rows, film, Path(folder) / "timeline.png", found.seconds, isolated=True
        ).read_bytes()
        files = {path.suffix[1:]: path.read_bytes() for path in write_tables(found.rows, folder, film)}
    links = "".join(_link(f"{film.stem}.{form}", content, *FORMS[form]) for form, content in files.items())
    links += _link(f"{film.stem}.png", picture, "picture", "image/png")
    notes = "".join(f"<li>{for_html(note)}</li>" for note in found.notes)
    people = len({row.person for row in found.rows if row.person is not None})
    facts = f"{clock(found.seconds)} long, {len(found.rows)} answers, {people} faces followed"
    words = f"Timeline of {film.name}; the table below says the same"
    return (
        f'<article class="ag-answer"><header><h3>{for_html(film.name)}</h3><span class="ag-fine">{facts}</span>'
        f'</header><div class="ag-scroll" tabindex="0" role="group" aria-label="Timeline">'
        f'<img class="ag-timeline" src="{data_url(picture, "image/png")}" alt="{for_html(words)}"></div>'
        f'<h4>Keep</h4><p class="ag-links">{links}</p>{f"<h4>Notes</h4><ul>{notes}</ul>" if notes else ""}'
        f"<h4>Answers</h4>{_table(found.rows)}</article>"
    )


def _link(name: str, content: bytes, title: str, kind: str) -> str:
    return f'<a download="{for_html(name)}" href="{data_url(content, kind)}">{for_html(title)}</a>'


def _table(rows: Sequence[Row]) -> str:
    if not rows:
        return "<p>There is nothing in this film that the model answers.</p>"
    has_words = any(row.words for row in rows)
    titles = ("from", "who", "emotions", "sure", "sentiment", *(["words"] if has_words else []))
    body = "".join(
        f"<tr><td>{clock(row.start_seconds)}</td><td>{for_html(row.name)}</td><td>{for_html(row.answer)}</td>"
        f"<td>{row.confidence:.0%}</td><td>{draw_sentiment(row.sentiment)}</td>"
        f"{f'<td>{for_html(row.words or str())}</td>' if has_words else ''}</tr>"
        for row in rows[:MOST_ROWS]
    )
    more = len(rows) - MOST_ROWS
    rest = f'<p class="ag-fine">{more} more are in the files.</p>' if more > 0 else ""
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return (
        f'<div class="ag-scroll" tabindex="0" role="group" aria-label="Table of answers"><table class="ag-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{rest}"
    )
