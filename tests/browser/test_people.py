"""What people meet who open the address in a browser: the door, MLflow's page behind it, and the way out."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import pages
from tests.browser.conftest import Place

pytestmark = pytest.mark.machines
CREATES = re.compile("/experiments/create$")


def test_a_visitor_says_who_they_are_and_comes_to_mlflow(page: Page, place: Place) -> None:
    """The sign-in page is on the way, and the address is again what was typed."""
    page.goto(place.origin)
    pages.expect_sign_in(page, place.sign_in)
    pages.choose(page, "ada@example.com")

    expect(page).to_have_url(f"{place.origin}/")
    pages.expect_mlflow(page)
    expect(page.get_by_role("table").get_by_text("examples")).to_be_visible()


def test_the_run_of_a_colleague_is_seen_with_its_file(ada: Page) -> None:
    """Parameters and metrics come from the database, the file from the bucket: the server reads it for the page."""
    ada.get_by_role("button", name="Model training").click()
    pages.experiments(ada).get_by_role("link", name="examples").click()
    ada.get_by_role("link", name="a first run").click()
    expect(ada.get_by_role("row", name="learning_rate 0.1")).to_be_visible()
    expect(ada.get_by_role("row", name="loss 0.2")).to_be_visible()
    ada.get_by_role("tab", name="Artifacts").click()
    ada.get_by_text("notes").click()
    ada.get_by_text("hello.txt").click()

    expect(ada.get_by_role("code")).to_have_text("What a run leaves behind.")


def test_an_experiment_is_made_in_the_page(ada: Page, place: Place) -> None:
    """MLflow refuses what pages of other origins write, and takes its own page for none of them."""
    form = pages.form_of_a_new_experiment(ada, "made in the page")
    with ada.expect_response(CREATES) as made:
        pages.send(form)

    assert made.value.request.all_headers()["origin"] == place.origin
    assert made.value.status == 200
    expect(ada.get_by_role("main").get_by_role("link", name="made in the page")).to_be_visible()
    assert "made in the page" in place.experiments()


def test_who_signs_out_is_out_in_every_page(ada: Page, place: Place) -> None:
    """The address for it asks who one is; a page that was left open, with a form filled in, can do no more."""
    left_open = ada.context.new_page()
    left_open.goto(place.origin)
    form = pages.form_of_a_new_experiment(left_open, "too late")
    ada.goto(place.origin + pages.SIGN_OUT)
    pages.expect_sign_in(ada, place.sign_in)
    with left_open.expect_response(lambda answer: answer.url.startswith(place.origin)) as answer:
        pages.send(form)

    assert answer.value.all_headers()["x-goog-iap-generated-response"] == "true"
    assert "too late" not in place.experiments()
    pages.choose(ada, "ada@example.com")
    pages.expect_mlflow(ada)


def test_somebody_who_was_not_let_in_is_told_and_sees_nothing(ada: Page, place: Place) -> None:
    """Also in the browser of somebody who was; the refusal names the account, so that the right one can be chosen."""
    ada.goto(place.origin + pages.SIGN_OUT)
    with ada.expect_response(place.origin + "/") as answer:
        pages.type_in(ada, "mallory@example.com")

    assert answer.value.status == 403
    expect(ada.locator("body")).to_have_text(re.compile(r"You don't have access: mallory@example\.com"))
    assert ada.goto(place.origin + "/static-files/static/js/").status == 403
    assert ada.goto(place.origin + "/get-artifact?path=notes/hello.txt").status == 403
    ada.goto(place.origin + pages.SIGN_OUT)
    pages.choose(ada, "bob@example.com")
    pages.expect_mlflow(ada)


def test_another_browser_is_asked_again(ada: Page, place: Place, somebody: Callable[[], BrowserContext]) -> None:
    """Who has signed in has done so in one browser; the session is out of the reach of scripts."""
    another = somebody().new_page()
    another.goto(place.origin)

    pages.expect_sign_in(another, place.sign_in)
    assert ada.context.cookies()
    assert ada.evaluate("document.cookie") == ""


def test_a_session_at_one_door_opens_no_other(ada: Page, place: Place) -> None:
    """Browsers send a host's cookies to all its ports: a door knows its own, and the other one stays as it was."""
    ada.goto(place.other)
    pages.expect_sign_in(ada, place.sign_in)
    pages.type_in(ada, "mallory@example.com")
    expect(ada.locator("body")).to_have_text(re.compile("You don't have access: mallory"))
    ada.goto(place.origin)

    pages.expect_mlflow(ada)
