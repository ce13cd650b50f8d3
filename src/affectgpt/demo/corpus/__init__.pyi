from .states import STATES as STATES
from .states import SyntheticState as SyntheticState
from .write_corpus import make_corpus as make_corpus
