"""Every sink of ours through the suite that plug-in authors run."""

from typing import ClassVar

from callmeter.sinks.base import Sink
from callmeter.sinks.webhook import Webhook
from callmeter.testing.sink_conformance import SinkConformance

CANARY = "canary-7f3a"


class TestWebhook(SinkConformance):
    secrets: ClassVar[tuple[str, ...]] = (CANARY,)

    def make_sink(self, url: str) -> Sink:
        return Webhook(f"{url}/{CANARY}", CANARY, headers={"authorization": CANARY})
