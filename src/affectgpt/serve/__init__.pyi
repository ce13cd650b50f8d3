from .app import create_app as create_app
from .batcher import Batcher as Batcher
from .embedded_prompts import prompt_embeds as prompt_embeds
from .service_settings import ServiceSettings as ServiceSettings
from .uvicorn_server import run_service as run_service
from .vllm_writer import VllmWriter as VllmWriter
