"""The design names every module of the core, and the README shows what it promises."""

from tests.project.tree import ROOT


def test_the_layout_names_every_module_of_the_core() -> None:
    design = (ROOT / "autoscaler" / "DESIGN.md").read_text()
    layout = design.partition("## Layout")[2].partition("Who may import whom")[0]

    modules = {path.name for path in (ROOT / "autoscaler" / "core").glob("*.py")} - {"__init__.py"}

    assert {name for name in modules if name not in layout} == set()


def test_the_readme_begins_with_what_it_is_a_picture_and_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()

    what, picture, commands = (
        readme.index(part)
        for part in ("An autoscaler", "one control cycle", "$ make demo\n$ make test")
    )

    assert what < picture < commands < readme.index("\n## ")
