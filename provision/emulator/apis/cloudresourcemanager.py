"""Resource Manager, v1 and v3: projects and their policies."""

import base64
import re

from provision.emulator.api import Call, Json, method

_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def _v3(project: Json) -> Json:
    parent = project["parent"]
    row: Json = {
        "name": f"projects/{project['projectNumber']}",
        "parent": f"{parent['type']}s/{parent['id']}",
        "projectId": project["projectId"],
        "state": project["lifecycleState"],
        "displayName": project["name"],
        "createTime": project["createTime"],
        "updateTime": project["updateTime"],
        "etag": base64.b64encode(project["updateTime"].encode()).decode()[:22],
    }
    if project["labels"]:
        row["labels"] = project["labels"]
    if project.get("deleteTime"):
        row["deleteTime"] = project["deleteTime"]
    return row


def _v1(project: Json) -> Json:
    row: Json = {
        "projectNumber": project["projectNumber"],
        "projectId": project["projectId"],
        "lifecycleState": project["lifecycleState"],
        "name": project["name"],
        "createTime": project["createTime"],
        "parent": project["parent"],
    }
    if project["labels"]:
        row["labels"] = project["labels"]
    return row


def _project_resource(call: Call) -> str:
    return f"projects/{call.project_id}"


@method("cloudresourcemanager.projects.get", version="v3", permission="resourcemanager.projects.get")
def get_v3(call: Call) -> Json:
    """A project, by ID or number."""
    return _v3(call.project)
