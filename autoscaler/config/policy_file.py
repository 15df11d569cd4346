"""One policy file: what stands in it, and what is wrong within it alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoscaler.config.draft import Draft, read_draft
from autoscaler.config.files import read_bytes, text_of
from autoscaler.config.installed import Installed
from autoscaler.config.json_source import read_json
from autoscaler.config.lint import errors_in, warnings_in
from autoscaler.config.problems import Problem
from autoscaler.config.yaml_source import UnreadableError, read_yaml


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file, read and validated as far as that can be done without the others.

    Attributes:
        drafts: Its documents, in file order.
        problems: What is wrong in it.
        warnings: What is allowed and probably not meant; empty where something is wrong.
    """

    drafts: tuple[Draft, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()


def read_policy_file(path: Path, installed: Installed) -> PolicyFile:
    """Read and validate a file."""
    problems: list[Problem] = []
    data = read_bytes(path, problems)
    if data is None:
        return PolicyFile((), tuple(problems))
    return policy_file(path, data, installed)


def policy_file(path: Path, data: bytes, installed: Installed) -> PolicyFile:
    """Validate what `read_bytes` found in a file."""
    problems: list[Problem] = []
    drafts = tuple(_drafts(path, data, installed, problems))
    for draft in drafts:
        problems.extend(errors_in(draft, installed))
    warned = () if problems else tuple(one for draft in drafts for one in warnings_in(draft))
    return PolicyFile(drafts, tuple(problems), warned)


def _drafts(
    path: Path, data: bytes, installed: Installed, problems: list[Problem]
) -> Iterator[Draft]:
    file = str(path)
    text = text_of(file, data, problems)
    if text is None:
        return
    documents = 0
    if not text.strip():
        problems.append(Problem(file, "the file is empty"))
        return
    try:
        sources = (
            [read_json(file, text, problems)]
            if path.suffix == ".json"
            else read_yaml(file, text, problems)
        )
        for node in sources:
            documents += 1
            draft = read_draft(file, node, installed, problems)
            if draft is not None:
                yield draft
    except UnreadableError as error:
        problems.append(Problem(file, error.text, error.mark, exact=True))
        return
    if documents == 0:
        problems.append(Problem(file, "the file holds no document, only comments"))
