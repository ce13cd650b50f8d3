from .base import FaceDetector as FaceDetector
from .base import Faces as Faces
from .crop import FaceCrops as FaceCrops
from .crop import crop_faces as crop_faces
from .find import find_faces as find_faces
