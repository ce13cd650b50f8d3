from .answer_settings import AnswerSettings as AnswerSettings
from .answer_settings import get_profile as get_profile
from .base import Answer as Answer
from .base import Answerer as Answerer
from .base import Asked as Asked
