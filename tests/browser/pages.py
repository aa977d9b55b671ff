"""The pages that a visitor meets, and what is done in them: as people see them, by roles and names."""

import re

from playwright.sync_api import Locator, Page, expect

SIGN_OUT = "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE"


def expect_sign_in(page: Page, sign_in: str) -> None:
    """It is the page that stands for Google's."""
    expect(page).to_have_url(re.compile(f"^{re.escape(sign_in)}/accounts\\.google\\.com/"))
    expect(page.get_by_role("heading", name="Choose an account")).to_be_visible()


def expect_mlflow(page: Page) -> None:
    """It is MLflow's first page."""
    expect(page.get_by_role("heading", name="Welcome to MLflow")).to_be_visible()


def choose(page: Page, email: str) -> None:
    """Be somebody whom the page offers."""
    page.get_by_role("button", name=email).click()


def type_in(page: Page, email: str) -> None:
    """Be somebody whom the page does not know."""
    page.get_by_label("Another account").fill(email)
    page.get_by_role("button", name="Next").click()


def experiments(page: Page) -> Locator:
    """MLflow's list of them, reached by its menu."""
    page.get_by_role("link", name="Experiments", exact=True).first.click()
    expect(page.get_by_role("heading", name="Experiments")).to_be_visible()
    return page.get_by_role("table")


def form_of_a_new_experiment(page: Page, name: str) -> Locator:
    """The form above the list, filled in."""
    experiments(page)
    page.get_by_role("button", name="Create", exact=True).click()
    form = page.get_by_role("dialog")
    form.get_by_label("Experiment Name").fill(name)
    return form


def send(form: Locator) -> None:
    """Press its button."""
    form.get_by_role("button", name="Create", exact=True).click()
