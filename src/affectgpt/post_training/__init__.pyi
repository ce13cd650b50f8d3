from .grpo import Grpo as Grpo
from .reference import Reference as Reference
from .reward_watch import LengthShare as LengthShare
from .reward_watch import RewardWatch as RewardWatch
from .reward_watch import share_of_length as share_of_length
from .view_distillation import ViewDistillation as ViewDistillation
