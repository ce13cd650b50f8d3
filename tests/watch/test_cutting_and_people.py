"""A film is cut into stretches that lose nothing and hold little back; people keep their number until a cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affectgpt.errors import ConfigError
from affectgpt.media.faces.base import Faces
from affectgpt.media.speech.base import Segment
from affectgpt.watch.person_tracks import LOST_SECONDS, People
from affectgpt.watch.stretches import CuttingRules, cut

RULES = CuttingRules()


def spoken_of(marks: list[float]) -> list[Segment]:
    marks = sorted(set(marks))
    return [Segment(a, b) for a, b in zip(marks[::2], marks[1::2], strict=False) if b > a]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(0, 59).map(lambda x: round(x, 2)), max_size=24), st.booleans())
def test_stretches_are_in_order_and_what_is_read_again_is_bounded(marks: list[float], quiet: bool) -> None:
    rules = CuttingRules(answers_quiet=quiet)
    at, found = 0.0, []
    for end in (20.0, 40.0, 60.0):
        segments = [s for s in spoken_of(marks) if s.end_seconds > at and s.start_seconds < end]
        seen = [Segment(max(at, s.start_seconds), min(end, s.end_seconds)) for s in segments]
        stretches, rest = cut(seen, at, end, rules, is_last=end == 60.0)
        assert at <= rest <= end
        assert end - rest <= max(rules.longest_seconds, rules.window_seconds) + 1
        assert all(one.end_seconds <= rest + 1e-9 for one in stretches)
        found += stretches
        at = rest
    assert all(0 < one.seconds <= max(rules.longest_seconds, rules.window_seconds) + 1e-6 for one in found)
    assert all(a.end_seconds <= b.start_seconds + 1e-9 for a, b in pairwise(found))
    assert quiet or all(one.is_spoken for one in found)
    for segment in spoken_of(marks):  # whatever is said for long enough is answered
        inside = sum(
            max(0.0, min(one.end_seconds, segment.end_seconds) - max(one.start_seconds, segment.start_seconds))
            for one in found
            if one.is_spoken
        )
        if segment.end_seconds - segment.start_seconds > 2 * rules.shortest_seconds:
            assert inside > segment.end_seconds - segment.start_seconds - 2 * rules.shortest_seconds - 1e-6


def test_long_speech_is_cut_evenly_and_short_pauses_are_bridged() -> None:
    stretches, rest = cut([Segment(0, 30), Segment(30.2, 31)], 0, 60, RULES, is_last=True)
    spoken = [(one.start_seconds, one.end_seconds) for one in stretches if one.is_spoken]
    assert spoken == [(0, 10), (10, 20), (20, 30), (30.2, 31)]
    assert rest == 60
    joined, _ = cut([Segment(1, 3), Segment(3.3, 5), Segment(6, 7)], 0, 8, RULES, is_last=True)
    assert [(one.start_seconds, one.end_seconds) for one in joined if one.is_spoken] == [(1, 5), (6, 7)]


def test_each_subtitle_is_a_stretch_with_its_words() -> None:
    cues = [Segment(1, 2, "Yes."), Segment(2, 4, "No."), Segment(19.9, 22, "Later.")]
    stretches, rest = cut(cues, 0, 20, RULES, is_last=False)
    assert [(one.words, one.start_seconds) for one in stretches if one.is_spoken] == [("Yes.", 1), ("No.", 2)]
    assert rest == 19.9


def test_lengths_are_checked() -> None:
    with pytest.raises(ConfigError, match="window_seconds is 0"):
        CuttingRules(window_seconds=0)
    with pytest.raises(ConfigError, match="not below longest_seconds"):
        CuttingRules(shortest_seconds=20)


def faces(*boxes: tuple[float, float, float, float]) -> Faces:
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


def frames(*shades: int) -> np.ndarray:
    return np.stack([np.full((36, 64, 3), shade, np.uint8) for shade in shades])


def test_two_people_keep_their_numbers_while_they_move_and_swap_order() -> None:
    people = People()
    seen = people.look(
        frames(80, 80, 80),
        [0, 0.25, 0.5],
        [
            faces((0, 0, 10, 10), (40, 0, 50, 10)),
            faces((41, 1, 51, 11), (2, 0, 12, 10)),
            faces((4, 0, 14, 10), (42, 0, 52, 10)),
        ],
    )
    left = {one.person for one in seen if one.box[0] < 20}
    right = {one.person for one in seen if one.box[0] > 20}
    assert (left, right, people.count) == ({1}, {2}, 2)


def test_a_cut_and_a_long_absence_begin_new_tracks_and_a_short_one_does_not() -> None:
    one = faces((0, 0, 10, 10))
    people = People()
    numbers = [s.person for s in people.look(frames(80, 80, 200), [0, 1, 1.25], [one, one, one])]
    assert numbers == [1, 1, 2]  # the third picture is another shot
    again = [s.person for s in people.look(frames(200, 200), [2.5, 2.5 + LOST_SECONDS + 0.1], [one, one])]
    assert again == [2, 3]


def test_tracks_are_saved_and_gone_on_with() -> None:
    one = faces((0, 0, 10, 10), (30, 30, 40, 40))
    whole, first = People(), People()
    expected = [s.person for s in whole.look(frames(9, 9, 9, 9), [0, 1, 2, 3], [one] * 4)][-4:]
    first.look(frames(9, 9), [0, 1], [one] * 2)
    second = People.of(first.to_json(2.0))
    assert [s.person for s in second.look(frames(9, 9), [2, 3], [one] * 2)] == expected
    assert second.to_json(9) == whole.to_json(9)


def test_a_later_run_may_go_on_from_before_the_last_picture() -> None:
    """What was held back is read again, so the tracks must be those of that time."""
    one, two = faces((0, 0, 10, 10)), faces((0, 0, 10, 10), (30, 30, 40, 40))
    whole = People()
    expected = [s.person for s in whole.look(frames(9, 9, 99, 99), [0, 1, 2, 3], [one, two, one, two])]
    again = People.of(whole.to_json(1.5))
    assert [s.person for s in again.look(frames(99, 99), [2, 3], [one, two])] == expected[3:]
    start = People.of(People().to_json(0.0))
    assert start.count == 0
