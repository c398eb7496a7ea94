"""What every sink has to live through, as tests that a sink's author runs: subclass and let pytest collect them.

    class TestPager(SinkConformance):
        def make_sink(self, url: str) -> Sink:
            return Pager(url + "/events")

The sink is driven by callmeter's own worker over a real journal, with a clock that the tests own, against a real HTTP
server that misbehaves: an hour of 5xx, 429 with every kind of Retry-After, silence, dripping and lost answers, garbage,
a malformed event among 500, 413, a wrong key that is mended, no connection, TLS and DNS that fail, a process that dies
between the answer and its note. Nothing that was accepted may be lost; what is sent twice has to carry the same key, so
that the service keeps one; where a service cannot do that, what is uncertain has to be a dead letter.

Needs pytest.
"""

import pytest

# Before the import, so that a failed assertion shows what it compared.
pytest.register_assert_rewrite("callmeter.testing.sink_cases")

from callmeter.testing.sink_cases import SinkConformance  # noqa: E402

__all__ = ["SinkConformance"]
