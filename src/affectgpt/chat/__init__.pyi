from .base import Asker as Asker
from .base import ChatModel as ChatModel
