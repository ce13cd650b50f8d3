from .exam import Item as Item
from .exam import read_items as read_items
from .grading import GradedItem as GradedItem
from .grading import Grading as Grading
from .grading import grade as grade
from .lmms_folder import write_lmms_folder as write_lmms_folder
