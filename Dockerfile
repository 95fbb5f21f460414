# syntax=docker/dockerfile:1
# docker build -t facetrainer .                                  CPU
# docker build -t facetrainer:gpu --build-arg EXTRAS=gpu .       CUDA comes with TensorFlow's wheels; the host needs NVIDIA's driver and container toolkit
# docker run --rm -v "$PWD:/work" facetrainer train              the main job; every other command of `facetrainer --help` likewise
FROM python:3.11-slim

ARG EXTRAS="cpu"
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/facetrainer
COPY pyproject.toml setup.py README.md LICENSE ./
COPY facetrainer facetrainer
RUN pip install ".[board,$EXTRAS]"

ENV FACE_CACHE=/work/.cache FACE_DATA=/data
WORKDIR /work
VOLUME ["/work", "/data"]
EXPOSE 6006
ENTRYPOINT ["facetrainer"]
CMD ["train"]
