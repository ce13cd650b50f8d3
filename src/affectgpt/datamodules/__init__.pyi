from .mercaption import MERCaptionDataModule as MERCaptionDataModule
from .unibench.datamodule import UniBenchDataModule as UniBenchDataModule
