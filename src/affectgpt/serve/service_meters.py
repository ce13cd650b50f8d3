"""What the service counts and measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
HUNG_UP = 499
"""The status that counts requests whose client hung up, as nginx does."""


class ServiceMeters:
    """The meters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "affectgpt_requests", "Requests, by route and status.", ("route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "affectgpt_request_seconds",
            "Seconds from a request to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "affectgpt_batch_size", "Requests that were answered together.", buckets=SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "affectgpt_batch_seconds", "Seconds of a batch.", buckets=SECONDS, registry=registry
        )
        self.waiting = Gauge("affectgpt_queue_length", "Decoded requests that wait for the model.", registry=registry)
        self.under_way = Gauge(
            "affectgpt_requests_under_way", "Requests that are taken and not answered yet.", registry=registry
        )

    def watch(self, waiting: Callable[[], int], under_way: Callable[[], int]) -> None:
        """Read the two gauges from their sources whenever somebody asks."""
        self.waiting.set_function(waiting)
        self.under_way.set_function(under_way)

    def saw_batch(self, size: int, seconds: float) -> None:
        """Note a batch."""
        self.batch_size.observe(size)
        self.batch_seconds.observe(seconds)

    def saw_request(self, route: str, status: int, seconds: float) -> None:
        """Note a request."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """The meters in Prometheus' text format."""
        return generate_latest(self.registry)
