# The study in an image, from the pinned versions: docker build -t study .
# docker run -v "$PWD/build:/study/build" study make book
FROM debian:bookworm-slim
# The packages of a Debian release change only where it is repaired, so their versions are not pinned.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates git libgl1 libglib2.0-0 make python3 python3-venv && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /study
COPY . .
RUN make .venv/ready && rm -rf ~/.cache
CMD ["make", "book"]
