"""The account that signs links to the objects of the bucket `shared`, and what is answered to who uses them."""

from xml.etree import ElementTree as ET

import httpx

from provision.emulator import iam
from tests.conftest import PROJECT, Emulator

EMAIL = f"server@{PROJECT}.iam.gserviceaccount.com"


def grant(emulator: Emulator, *roles: str) -> None:
    """Give the account these roles on the bucket, and no others."""
    bindings = [{"role": role, "members": [f"serviceAccount:{EMAIL}"]} for role in roles]
    iam.put_policy(emulator.world, "projects/_/buckets/shared", {"bindings": bindings})


def code(answer: httpx.Response) -> tuple[int, str | None]:
    """The status of an answer, and the `Code` of the error that it is."""
    return answer.status_code, ET.fromstring(answer.text).findtext("Code")
