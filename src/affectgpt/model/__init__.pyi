from .module import AffectGPT as AffectGPT
from .network import Network as Network
