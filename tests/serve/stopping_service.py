"""A service whose answers wait for a file, in a process that a test stops by a signal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from affectgpt.serve import ServiceSettings, create_app, run_service
from affectgpt.serve.prompt_writer import NetworkWriter
from servicerunner import tiny_model


def say_at_once(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    model = tiny_model()

    class Waiting(NetworkWriter):
        def __call__(self, prompt, content, max_new_tokens, sampling):
            while not (folder / "go").exists():
                time.sleep(0.02)
            return super().__call__(prompt, content, max_new_tokens, sampling)

    settings = ServiceSettings(decoders=1, max_batch=1)
    app = create_app(model, settings, writer=Waiting(model.network))
    run_service(app, port=0, settings=settings, ready=lambda url: say_at_once(url))
    say_at_once("stopped")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
