"""What the adapter says of itself is so: requests made of its own OpenAPI documents, good and bad.

schemathesis makes the requests and judges the answers: a status, a content type and a document that
the operation declares. 500 is declared nowhere.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import requests
import schemathesis
import trustme
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from metrics_adapter import openapi
from metrics_adapter.targets import CUSTOM, EXTERNAL, VERSIONS
from tests.metrics_adapter.conftest import AGGREGATOR, Running

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
KNOWN: Final = {
    "namespace": ["llm"],
    "metric": ["load", "desired_replicas"],
    "resource": ["deployments.apps"],
    "name": ["chat", "*"],
}
_LABEL: Final = st.sampled_from(["workload", "model_name", "a/b", "", "!", "x y", "\u00e9", "-"])
_SELECTORS: Final = st.lists(
    st.tuples(
        _LABEL,
        st.sampled_from(["=", "==", "!=", " in (", " notin (", ">", "<", "", "===", "\x00"]),
        st.sampled_from(["chat", "llama", "chat,code)", ")", "(", "1", "", "\u2028"]),
    ).map("".join),
    max_size=3,
).map(",".join)


def documents() -> dict[str, Any]:
    """The OpenAPI 3 document of each group."""
    found = openapi.documents((EXTERNAL, CUSTOM))
    return {
        group: orjson.loads(found[f"/openapi/v3/apis/{group}/{version}"])
        for group, version in VERSIONS.items()
    }


@pytest.fixture(scope="module")
def operations() -> list[Operation]:
    """Every operation of every document."""
    return [
        found.ok()
        for document in documents().values()
        for found in schemathesis.openapi.from_dict(document).get_all_operations()
        if isinstance(found, Ok)
    ]


@pytest.fixture(scope="module")
def session(
    shared: Running, serving: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[requests.Session]:
    """Asks as the API server does, and keeps its connection."""
    folder: Path = tmp_path_factory.mktemp("client")
    serving.cert_pem.write_to_path(str(folder / "ca.crt"))
    client = shared.front_proxy_client
    client.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    with requests.Session() as found:
        found.trust_env = False
        found.verify = str(folder / "ca.crt")
        found.cert = str(folder / "client.pem")
        yield found


def test_both_groups_and_every_operation_are_asked(operations: list[Operation]) -> None:
    asked = {(one.method.upper(), one.path) for one in operations}

    assert asked == {
        (method.upper(), path)
        for document in documents().values()
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert len(asked) == 4


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_one_that_the_document_declares(
    shared: Running, session: requests.Session, operations: list[Operation], mode: GenerationMode
) -> None:
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(operations))
        case: AnyCase = data.draw(operation.as_strategy(mode))
        known = data.draw(st.just(set(KNOWN)) | st.sets(st.sampled_from(sorted(KNOWN))))
        for name in sorted(known & set(case.path_parameters)):
            case.path_parameters[name] = data.draw(st.sampled_from(KNOWN[name]))
        for name in case.query:
            if name.lower().endswith("selector") and data.draw(st.booleans()):
                case.query[name] = data.draw(_SELECTORS)

        answer = send(shared, session, case)

        case.validate_response(answer, checks=CHECKS)
        assert b"Traceback" not in answer.content

    ask()


@pytest.mark.parametrize(
    ("metric", "selector", "status"),
    [
        pytest.param("load", "workload=chat", 200, id="a value"),
        pytest.param("load", "workload=other", 404, id="no match"),
        pytest.param("lod", "", 404, id="no such metric"),
        pytest.param("load", "a in (", 400, id="no selector"),
    ],
)
def test_known_answers_are_as_declared(
    shared: Running,
    session: requests.Session,
    operations: list[Operation],
    metric: str,
    selector: str,
    status: int,
) -> None:
    path = {"namespace": "llm", "resource": "deployments.apps", "name": "chat", "metric": metric}
    for operation in operations:
        names = {one.name for one in operation.iter_parameters()}
        name = "metricLabelSelector" if "metricLabelSelector" in names else "labelSelector"
        case = operation.Case(
            path_parameters={key: value for key, value in path.items() if key in names},
            query={name: selector} if names else {},
        )

        answer = send(shared, session, case)

        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code == (status if names else 200)


def send(shared: Running, session: requests.Session, case: AnyCase) -> schemathesis.Response:
    return case.call(
        base_url=f"https://localhost:{shared.address[1]}",
        session=session,
        headers=dict(AGGREGATOR),
        verify=session.verify,
    )


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_every_reference_of_a_document_leads_somewhere(version: str) -> None:
    for path, body in openapi.documents((EXTERNAL, CUSTOM)).items():
        if path.startswith(f"/openapi/{version}"):
            document = orjson.loads(body)
            for reference in _references(document):
                found: Any = document
                for part in reference.removeprefix("#/").split("/"):
                    found = found[part]
                assert found["type"] == "object"


def _references(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if "$ref" in document:
            yield document["$ref"]
        for value in document.values():
            yield from _references(value)
    elif isinstance(document, list):
        for value in document:
            yield from _references(value)
