from .task_result import TaskFigures as TaskFigures
from .task_result import TaskResult as TaskResult
from .task_scores import score_other as score_other
from .tasks import OTHERS as OTHERS
from .tasks import OtherTask as OtherTask
from .tasks import question_of as question_of
