from .base import LLMHead as LLMHead
from .base import LLMOutput as LLMOutput
from .causal_lm import CausalLM as CausalLM
from .scatter import scatter_slots as scatter_slots
from .smollm2 import smollm2_135m_instruct as smollm2_135m_instruct
from .tiny import TinyLM as TinyLM
