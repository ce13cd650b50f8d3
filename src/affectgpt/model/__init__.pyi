from .network import AffectGPT as AffectGPT
