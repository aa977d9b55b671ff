"""A page on the internet, open in a browser on this machine, can do nothing to the emulator."""

import httpx
import pytest

FORMS = {"content-type": "text/plain;charset=UTF-8", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}

CHANGES = [
    pytest.param(
        "/storage.googleapis.com/storage/v1/b?project=test-project-1", '{"name": "evil-bucket-2"}', id="a bucket"
    ),
    pytest.param(
        "/cloudresourcemanager.googleapis.com/v3/projects/test-project-1:setIamPolicy",
        '{"policy": {"bindings": [{"role": "roles/owner", "members": ["user:mallory@example.com"]}]}}',
        id="a policy",
    ),
    pytest.param("/emulator/reset", "{}", id="the emulator itself"),
]


@pytest.mark.parametrize(("path", "body"), CHANGES)
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000"])
def test_a_request_of_a_page_is_refused(emulator, path, body, origin):
    """Such requests need no preflight, so it is the emulator that has to refuse them."""
    answer = httpx.post(emulator.url + path, content=body, headers={**FORMS, "origin": origin})

    assert answer.status_code == 403
    assert "evil-bucket-2" not in emulator.world.table("storage.buckets")
    assert "test-project-1" in emulator.world.projects


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1:80", ""])
def test_a_name_that_only_leads_here_is_refused(emulator, host):
    """DNS rebinding: the page's own name is made to lead to this machine, so there is no foreign Origin."""
    answer = httpx.get(f"{emulator.url}/emulator/version", headers={"host": host})

    assert answer.status_code in {400, 403}


@pytest.mark.parametrize("host", ["127.0.0.1:80", "localhost", "localhost:1234", "[::1]:80", "127.9.9.9"])
def test_the_names_of_this_machine_are_answered(emulator, host):
    """Client libraries come under any of them."""
    assert httpx.get(f"{emulator.url}/emulator/version", headers={"host": host}).status_code == 200
