# The service: docker build -t affectgpt . && docker run -v /path/of/a/saved/model:/model:ro -p 127.0.0.1:8000:8000 \
#     -e AFFECTGPT_API_KEYS=... affectgpt
# For a machine without a GPU add --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu to the build.
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://pypi.org/simple
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 AFFECTGPT_CACHE=/cache \
    HF_HOME=/cache/huggingface

# torch first, in a layer that stays when the code changes; the three must come from one index, or they do not load
RUN pip install --index-url "$TORCH_INDEX" "torch>=2.11,<2.15" "torchaudio>=2.11,<2.12" "torchvision>=0.26,<0.30"

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install ".[serve,media,speech]" && rm -rf /src

RUN useradd --uid 10001 --create-home affectgpt && mkdir /cache && chown affectgpt /cache
USER affectgpt
WORKDIR /home/affectgpt
VOLUME /cache
EXPOSE 8000

# the model loads first: no health before the port is open
HEALTHCHECK --start-period=180s --interval=15s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["affectgpt", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["--checkpoint", "/model", "--name", "affectgpt"]
