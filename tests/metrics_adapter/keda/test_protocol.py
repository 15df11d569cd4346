"""The wire format is KEDA's, to the byte; the generated module is that of the file beside it."""

import re
from pathlib import Path

import pytest

from metrics_adapter import keda
from metrics_adapter.keda import externalscaler_pb2 as pb

PROTO = Path(keda.__file__).with_name("externalscaler.proto").read_text(encoding="utf-8")
TYPES = {1: "double", 3: "int64", 8: "bool", 9: "string"}


def written_in_the_file() -> set[str]:
    """Every field and method that the file declares, in one form."""
    found, message = set(), ""
    for raw in PROTO.splitlines():
        line = raw.partition("//")[0].strip()
        if start := re.fullmatch(r"(?:message|service) (\w+) \{", line):
            message = start[1]
        elif method := re.fullmatch(r"rpc (\w+)\((\w+)\) returns \((.+)\) \{\}", line):
            found.add(f"{method[1]}({method[2]}) returns ({method[3]})")
        elif one := re.fullmatch(r"((?:repeated )?[\w<>, ]+?) (\w+) = (\d+);", line):
            found.add(f"{message}.{one[2]} = {one[3]}: {one[1]}")
    return found


def known_to_the_module() -> set[str]:
    """The same of the generated module."""
    found = set()
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        for one in message.fields:
            kind = one.message_type.name if one.message_type else TYPES[one.type]
            repeated = "repeated " if one.is_repeated else ""
            if one.message_type and one.message_type.GetOptions().map_entry:
                repeated, kind = "", "map<string, string>"
            found.add(f"{message.name}.{one.name} = {one.number}: {repeated}{kind}")
    for method in pb.DESCRIPTOR.services_by_name["ExternalScaler"].methods:
        stream = "stream " if method.server_streaming else ""
        found.add(
            f"{method.name}({method.input_type.name}) returns ({stream}{method.output_type.name})"
        )
    return found


def test_the_generated_module_is_that_of_the_file() -> None:
    assert len(written_in_the_file()) == 18
    assert known_to_the_module() == written_in_the_file()


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        pytest.param(
            pb.ScaledObjectRef(name="a", namespace="b", scalerMetadata={"k": "v"}),
            "0a0161 120162 1a06 0a016b 120176",
            id="ScaledObjectRef",
        ),
        pytest.param(pb.IsActiveResponse(result=True), "0801", id="IsActiveResponse"),
        pytest.param(
            pb.GetMetricSpecResponse(
                metricSpecs=[pb.MetricSpec(metricName="m", targetSize=1, targetSizeFloat=1.0)]
            ),
            "0a0e 0a016d 1001 19000000000000f03f",
            id="GetMetricSpecResponse",
        ),
        pytest.param(
            pb.GetMetricsRequest(scaledObjectRef=pb.ScaledObjectRef(name="a"), metricName="m"),
            "0a03 0a0161 12016d",
            id="GetMetricsRequest",
        ),
        pytest.param(
            pb.GetMetricsResponse(
                metricValues=[pb.MetricValue(metricName="m", metricValue=5, metricValueFloat=5.0)]
            ),
            "0a0e 0a016d 1005 190000000000001440",
            id="GetMetricsResponse",
        ),
    ],
)
def test_a_message_is_these_bytes(message: pb.ScaledObjectRef, wire: str) -> None:
    assert message.SerializeToString(deterministic=True) == bytes.fromhex(wire)
