from .combine import Vote as Vote
from .combine import vote as vote
from .fitting import fit_constants as fit_constants
from .near_words import put_near_words as put_near_words
from .rules import RULES as RULES
from .rules import Constants as Constants
from .system_scores import score_systems as score_systems
