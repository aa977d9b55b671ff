"""The table as a whole: complete, in order, each row with words for the user and a ref of its own."""

import dataclasses
from pathlib import Path

import steps
from steps import PLAN
from tests.steps.deployments import deployment, known

MODULES = {path.stem for path in Path(steps.__file__).parent.glob("[a-z]*.py")}


def test_every_module_is_a_row():
    """A step that stands in no row would never be run."""
    assert {row.name for row in PLAN} == MODULES


def test_every_row_tells_the_user_what_it_makes():
    """The first line of the docstring stands by itself in a plan."""
    for row in PLAN:
        assert row.title[:1].isupper() or row.title.startswith("`"), row.name
        assert 10 < len(row.title) <= 120, row.name


def test_no_two_rows_declare_the_same_thing():
    """A ref has one owner among the rows."""
    refs = [ref for row in PLAN for ref in row.step.declare(deployment(), known())]

    assert len(refs) == len(set(refs))


def test_two_environments_of_one_project_share_only_what_is_shared():
    """Names carry the environment; the application, its door, the APIs and the project's policy are one."""
    staging = dataclasses.replace(deployment(env="staging"), id="4e5f6a7b")
    one = {ref for row in PLAN for ref in row.step.declare(deployment(), known())}
    other = {ref for row in PLAN for ref in row.step.declare(staging, known())}

    assert one & other == {
        "apps/test-project-1",
        "apps/test-project-1/iap",
        "projects/123456789012/services",
        "projects/test-project-1/iamPolicy",
    }


def test_the_server_does_not_wait_for_the_database():
    """Both are slow, so they are made at the same time; App Engine's rows are one chain."""
    needs = PLAN.needs()

    def all_needs(name):
        return {name}.union(*(all_needs(other) for other in needs[name]))

    assert not {"sql_instance", "sql_database", "sql_user"} & all_needs("server")
    assert {"app", "default_service", "door", "server"} <= all_needs("traffic")
    assert "app" in all_needs("repository_access")
    assert "project_roles" in all_needs("peering")
