"""autoscaler schema."""

from autoscaler.cli.words import emit_json


def schema() -> None:
    """Print the JSON schema of a policy file.

    It knows the parameters of every installed policy.
    """
    from autoscaler.config.schema import policy_file_schema

    emit_json(policy_file_schema())
