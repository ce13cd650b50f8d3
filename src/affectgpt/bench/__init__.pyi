from .benchmark import Benchmark as Benchmark
from .comparison import compare as compare
from .npz_writer import write_openset as write_openset
from .predictions import read_gold as read_gold
from .predictions import read_predictions as read_predictions
from .published import published_rows as published_rows
from .report.report_files import write_report as write_report
from .scoring import score as score
