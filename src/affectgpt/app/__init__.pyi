from .page import create_page as create_page
from .page_context import Page as Page
from .page_model import PageModel as PageModel
from .page_settings import PageSettings as PageSettings
from .visitors import Visitors as Visitors
