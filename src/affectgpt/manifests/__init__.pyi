from .manifest import read_manifest as read_manifest
from .mer2025 import Mer2025 as Mer2025
from .mer2026 import Mer2026 as Mer2026
from .record import Record as Record
