from . import bench as bench
from . import chat as chat
from . import checkpoints as checkpoints
from . import datamodules as datamodules
from . import encoders as encoders
from . import features as features
from . import fusion as fusion
from . import llm as llm
from . import manifests as manifests
from . import media as media
from . import metrics as metrics
from . import model as model
from . import prompts as prompts
from . import registry as registry
from . import shards as shards
from . import streaming as streaming
from .model import AffectGPT as AffectGPT

__version__: str
