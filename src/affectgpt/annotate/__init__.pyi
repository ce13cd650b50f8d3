from .annotation_run import RunReport as RunReport
from .annotation_run import annotate as annotate
from .pipeline import Pipeline as Pipeline
from .pipeline import read_pipeline as read_pipeline
from .stage import Answer as Answer
from .stage import ClipRecord as ClipRecord
from .stage import Stage as Stage
from .stage import Usage as Usage
