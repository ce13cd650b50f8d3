from .answer_archive import Submission as Submission
from .answer_archive import write_submission as write_submission
from .candidates import read_candidates as read_candidates
from .challenge_tracks import TRACKS as TRACKS
from .challenge_tracks import get_track as get_track
from .local_split import LocalScore as LocalScore
from .local_split import score_local_split as score_local_split
from .track_answers import read_track_answers as read_track_answers
