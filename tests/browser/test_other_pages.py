"""What a page from elsewhere can do that is open in the browser of somebody who has signed in: nothing."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Place

pytestmark = pytest.mark.machines

# Both go without a question beforehand (https://fetch.spec.whatwg.org/#simple-header), and take the session along.
WRITE = """async (url) => {
    const body = JSON.stringify({name: "of another page"});
    await fetch(url, {method: "POST", mode: "no-cors", credentials: "include", body});
}"""
READ = """url => fetch(url, {credentials: "include"}).then(answer => answer.text(), refused => refused.name)"""
ASK_FIRST = """url => fetch(url, {
    method: "POST", credentials: "include", headers: {"content-type": "application/json"}, body: "{}",
}).then(answer => answer.text(), refused => refused.name)"""
FRAME = (
    """url => { document.body.append(Object.assign(document.createElement("iframe"), {src: url, name: "inner"})) }"""
)


@pytest.fixture
def other(ada: Page, elsewhere: str) -> Page:
    """A page of another origin, in the browser in which Ada has signed in."""
    opened = ada.context.new_page()
    opened.goto(elsewhere)
    return opened


@pytest.mark.parametrize(
    "path", ["/api/2.0/mlflow/experiments/create", "/graphql", "/ajax-api/2.0/mlflow/upload-artifact"]
)
def test_it_writes_nothing(other: Page, place: Place, elsewhere: str, path: str) -> None:
    """The door lets it pass, since Ada may; the server sees whose page it is."""
    with other.expect_response(place.origin + path) as answer:
        other.evaluate(WRITE, place.origin + path)
    sent = answer.value.request.all_headers()

    assert sent["origin"] == elsewhere
    assert "GCP_IAP_AUTH_TOKEN" in sent["cookie"]
    assert answer.value.status == 403
    assert "x-goog-iap-generated-response" not in answer.value.all_headers()
    assert "of another page" not in place.experiments()


@pytest.mark.parametrize(
    ("script", "path"),
    [
        pytest.param(READ, "/ajax-api/2.0/mlflow/experiments/search?max_results=9", id="what experiments there are"),
        pytest.param(READ, "/", id="the page itself"),
        pytest.param(ASK_FIRST, "/api/2.0/mlflow/experiments/search", id="what browsers ask about beforehand"),
    ],
)
def test_it_reads_nothing(other: Page, place: Place, script: str, path: str) -> None:
    """The browser keeps the answer to itself."""
    assert other.evaluate(script, place.origin + path) == "TypeError"


def test_it_shows_mlflow_in_no_frame(other: Page, place: Place) -> None:
    """Nobody clicks in it without knowing."""
    with other.expect_response(place.origin + "/") as answer:
        other.evaluate(FRAME, place.origin + "/")
    assert answer.value.all_headers()["x-frame-options"] == "DENY"

    expect(other.frame_locator("iframe").get_by_role("heading", name="Welcome to MLflow")).to_have_count(0)
