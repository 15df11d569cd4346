"""The reader of Markdown that the tests of the documents rely on."""

from tests.project import markdown

TEXT = """\
# A title: with *signs* & `code`

See [the rules](rules.md#limit-rate) and ![a picture](cycle.svg "The cycle"), not `[this](no.md)`.

[later]: other/README.md

## Twice
## Twice

```console
$ autoscaler check \\
    a.yaml
a.yaml: fine
$ autoscaler policies
[output](is-not-a-link.md)
```

```console no-run
$ git clone somewhere
```

```console exits-2
$ cp a.yaml b.yaml
$ autoscaler check broken.yaml
```

````markdown
```console
$ not a command
```
````
"""


def test_links_outside_of_code_are_found_with_their_lines() -> None:
    assert sorted(markdown.links(markdown.read(TEXT))) == [
        (3, "cycle.svg"),
        (3, "rules.md#limit-rate"),
        (5, "other/README.md"),
    ]


def test_anchors_are_formed_as_github_forms_them() -> None:
    assert markdown.anchors(markdown.read(TEXT)) == {"a-title-with-signs--code", "twice", "twice-1"}


def test_commands_are_joined_and_carry_the_promised_exit_code() -> None:
    assert list(markdown.commands(markdown.read(TEXT))) == [
        markdown.Command(11, "autoscaler check a.yaml", 0),
        markdown.Command(14, "autoscaler policies", 0),
        markdown.Command(23, "cp a.yaml b.yaml", 0),
        markdown.Command(24, "autoscaler check broken.yaml", 2),
    ]
