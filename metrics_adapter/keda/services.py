"""The services: KEDA's external scaler, and gRPC's own health check. No reflection."""

import math
from collections.abc import Mapping
from typing import Final

import grpc
from grpc_health.v1 import health_pb2

from metrics_adapter.keda import externalscaler_pb2 as pb
from metrics_adapter.keda.activity import Activity
from metrics_adapter.keda.answers import Answers
from metrics_adapter.keda.calls import Calls, Write
from metrics_adapter.keda.refusals import RefusedError, shown
from metrics_adapter.keda.streams import Streams
from metrics_adapter.keda.trigger import Trigger, read_trigger

SCALER: Final = "externalscaler.ExternalScaler"
HEALTH: Final = "grpc.health.v1.Health"
_SERVICES: Final = ("", SCALER, HEALTH)
"""Whose health can be asked for; the first one is the server."""
_LEAST: Final = 0.001
"""KEDA counts in thousandths: what is less and not nothing is shown as one of them."""

_Status = health_pb2.HealthCheckResponse


class ScalerService:
    """Translates between KEDA's messages and the plan."""

    def __init__(self, answers: Answers, activity: Activity, streams: Streams) -> None:
        """Answer from `answers`; tell those in `streams` what `activity` knows."""
        self._answers = answers
        self._activity = activity
        self._streams = streams

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Return the service as a server takes it."""
        return grpc.method_handlers_generic_handler(
            SCALER,
            {
                "IsActive": calls.unary(pb.ScaledObjectRef, self.is_active),
                "StreamIsActive": calls.streaming(pb.ScaledObjectRef, self.stream_is_active),
                "GetMetricSpec": calls.unary(pb.ScaledObjectRef, self.metric_spec),
                "GetMetrics": calls.unary(pb.GetMetricsRequest, self.metrics),
            },
        )

    def is_active(self, request: pb.ScaledObjectRef) -> pb.IsActiveResponse:
        """Say whether the target should run at all."""
        trigger = _trigger(request)
        return pb.IsActiveResponse(result=self._answers.active(trigger.workload))

    async def stream_is_active(
        self, request: pb.ScaledObjectRef, write: Write[pb.IsActiveResponse]
    ) -> None:
        """Say it now, if it is known, and whenever there is news; end well when the server stops.

        A workload that no plan knows is waited for: an error would have KEDA come back later and
        later, up to a minute, and miss the first wake-up.
        """
        workload = _trigger(request).workload
        with self._streams.waiting(workload) as news:
            while True:
                active = self._activity.of(workload)
                if active is not None:
                    await write(pb.IsActiveResponse(result=active))
                await news.wait()
                if self._streams.closed:
                    return
                news.clear()

    def metric_spec(self, request: pb.ScaledObjectRef) -> pb.GetMetricSpecResponse:
        """Say what to ask for and what one replica carries, from the trigger alone.

        Never from the plan: KEDA drops the trigger, its fallback and its wake-ups while this
        fails.
        """
        trigger = _trigger(request)
        whole = max(1, round(trigger.target_size))
        spec = pb.MetricSpec(
            metricName=trigger.metric, targetSize=whole, targetSizeFloat=trigger.target_size
        )
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    def metrics(self, request: pb.GetMetricsRequest) -> pb.GetMetricsResponse:
        """Say the number."""
        trigger = _trigger(request.scaledObjectRef)
        if request.metricName != trigger.metric:
            raise RefusedError(
                "INVALID_ARGUMENT",
                f"metricName: should be {trigger.metric!r}, as the trigger says,"
                f" not {shown(request.metricName)}",
            )
        number = self._answers.value(trigger)
        number = max(number, _LEAST) if number else 0.0  # none is below zero: see quantities.py
        value = pb.MetricValue(
            metricName=trigger.metric, metricValue=math.ceil(number), metricValueFloat=number
        )
        return pb.GetMetricsResponse(metricValues=[value])


class HealthService:
    """Says whether KEDA gets numbers here: while the plan is new enough, until the end."""

    def __init__(self, streams: Streams) -> None:
        """Serve nothing yet; `streams` are those who watch."""
        self._streams = streams
        self._serving = False

    def handler(self, calls: Calls) -> grpc.GenericRpcHandler:
        """Return the service as a server takes it."""
        return grpc.method_handlers_generic_handler(
            HEALTH,
            {
                "Check": calls.unary(health_pb2.HealthCheckRequest, self.check),
                "Watch": calls.streaming(health_pb2.HealthCheckRequest, self.watch),
            },
        )

    def set(self, *, serving: bool) -> None:
        """Note whether numbers are served, and tell those who watch if that is news."""
        if serving is not self._serving:
            self._serving = serving
            self._streams.tell(_SERVICES)

    def check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """Say how a service is."""
        if request.service not in _SERVICES:
            raise RefusedError("NOT_FOUND", f"there is no service {shown(request.service)}")
        return self._response(request.service)

    async def watch(
        self,
        request: health_pb2.HealthCheckRequest,
        write: Write[health_pb2.HealthCheckResponse],
    ) -> None:
        """Say it now and whenever it changes."""
        with self._streams.waiting(request.service) as news:
            told = None
            while True:
                response = self._response(request.service)
                if response != told:
                    await write(response)
                    told = response
                if self._streams.closed:
                    return
                await news.wait()
                news.clear()

    def _response(self, service: str) -> health_pb2.HealthCheckResponse:
        if service not in _SERVICES:
            return _Status(status=_Status.SERVICE_UNKNOWN)
        return _Status(status=_Status.SERVING if self._serving else _Status.NOT_SERVING)


def _trigger(ref: pb.ScaledObjectRef) -> Trigger:
    metadata: Mapping[str, str] = ref.scalerMetadata
    return read_trigger(ref.name, ref.namespace, metadata)


__all__ = ["HEALTH", "SCALER", "HealthService", "ScalerService"]
