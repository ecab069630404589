"""An agent's figures in Prometheus' text format. The library that writes it is brought in by the first request.

The names are `medledger_agent_<name>`; what is counted stands in meters.py, and what is measured at the moment of the
request in `Figure`s, which runtime.py gathers. A label's values are few and fixed; none of them came from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from medledger_bridge.errors import ExtraMissingError

from .meters import DECLARED, Meters

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PREFIX: Final = "medledger_agent_"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Figure(NamedTuple):
    """Something measured now. `value` None is left out: it is not known. `label` is its name and its value."""

    name: str
    doc: str
    value: float | None
    label: tuple[str, str] | None = None


def render(meters: Meters, figures: Iterable[Figure]) -> bytes:
    """The page for Prometheus. Raises `ExtraMissingError`."""
    try:
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise ExtraMissingError(
            "prometheus-client is not installed", hint="Install it: pip install 'medledger[agents]'."
        ) from error

    class Page(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from _counted(meters)
            yield from _measured(figures)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page())
    page: Any = generate_latest(registry)
    return bytes(page)


def _counted(meters: Meters) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

    for name, meter in DECLARED.items():
        if meter.buckets:
            found = meters.histogram(name)
            bounds = [*(str(float(bound)) for bound in meter.buckets), "+Inf"]
            family = HistogramMetricFamily(PREFIX + name, meter.doc)
            family.add_metric([], list(zip(bounds, accumulate(found.counts), strict=True)), found.total)
            yield family
        else:
            counter = CounterMetricFamily(PREFIX + name, meter.doc, labels=meter.labels)
            for labels, value in sorted(meters.counted(name).items()):
                counter.add_metric(labels, value)
            yield counter


def _measured(figures: Iterable[Figure]) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    families: dict[str, GaugeMetricFamily] = {}
    for figure in figures:
        if figure.value is None:
            continue
        family = families.setdefault(
            figure.name,
            GaugeMetricFamily(
                PREFIX + figure.name, figure.doc, labels=None if figure.label is None else (figure.label[0],)
            ),
        )
        family.add_metric([] if figure.label is None else [figure.label[1]], figure.value)
    yield from families.values()
