from .datamodule import UniBenchDataModule as UniBenchDataModule
from .finding import find_sets as find_sets
from .finding import read_set as read_set
from .samples import BenchSample as BenchSample
from .samples import BenchSet as BenchSet
from .sets import TEST_SETS as TEST_SETS
from .sets import TestSet as TestSet
