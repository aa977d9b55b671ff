"""The tokens of one process."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow_iap_auth.errors import NotAllowed, Unreachable
from mlflow_iap_auth.settings import Settings
from mlflow_iap_auth.signatures import Token
from mlflow_iap_auth.tokens import Tokens

HERE, THERE = Settings("https://here.example"), Settings("https://there.example")


class Mint:
    """Makes tokens that are numbered and live an hour, on a clock that tests move."""

    def __init__(self):
        self.now, self.asked, self.made, self.trouble, self.takes = 1000.0, 0, 0, None, 0
        self.tokens = Tokens(self.make, lambda: self.now)

    def make(self, settings, now):
        self.asked += 1
        if self.trouble:
            self.now += self.takes
            raise self.trouble
        self.made += 1
        return Token(f"{settings.origin} {self.made}", now + 3600)


@pytest.fixture
def mint():
    return Mint()


def test_a_token_is_made_once_for_each_server(mint):
    """However often it is sent."""
    sent = [mint.tokens.current(where).text for where in (HERE, HERE, THERE, HERE)]

    assert sent == [f"{HERE.origin} 1", f"{HERE.origin} 1", f"{THERE.origin} 2", f"{HERE.origin} 1"]


def test_one_is_made_an_hour_and_before_the_last_has_ended(mint):
    """So no request meets the door with a token that ends on its way."""
    left = []
    for _ in range(1000):
        left.append(mint.tokens.current(HERE).ends - mint.now)
        mint.now += 36

    assert mint.made == 11  # in ten hours
    assert min(left) >= 300


def test_eight_threads_make_one(mint):
    """All but the first wait for it."""
    with ThreadPoolExecutor(8) as pool:
        sent = set(pool.map(lambda _: mint.tokens.current(HERE).text, range(64)))

    assert (len(sent), mint.made) == (1, 1)


def test_what_the_door_does_not_take_is_made_anew(mint):
    """As a key may have been replaced."""
    mint.tokens.current(HERE)
    mint.tokens.forget(HERE)

    assert mint.tokens.current(HERE).text.endswith("2")


def test_google_is_away_for_some_minutes(mint):
    """The token is good to its end; then it says so."""
    mint.tokens.current(HERE)
    mint.trouble = Unreachable("Google cannot be reached.")
    mint.now += 3500
    while_good = mint.tokens.current(HERE).text
    mint.now += 200

    assert while_good.endswith("1")
    with pytest.raises(Unreachable):
        mint.tokens.current(HERE)


def test_who_logs_while_google_is_away_does_not_wait_each_time(mint):
    """A new token is tried for once a minute: each attempt has time-outs and pauses of its own, and others wait for it."""
    mint.tokens.current(HERE)
    mint.trouble = Unreachable("Google cannot be reached.")
    mint.now += 3310
    for _ in range(240):
        mint.tokens.current(HERE)
        mint.now += 1

    assert mint.asked == 1 + 4
    mint.trouble = None
    mint.now += 60
    assert mint.tokens.current(HERE).text.endswith("2")


def test_an_attempt_outlasts_the_token(mint):
    """Then it is said that there is none, rather than one sent that the door refuses."""
    mint.tokens.current(HERE)
    mint.trouble, mint.takes = Unreachable("Google cannot be reached."), 120
    mint.now += 3500

    with pytest.raises(Unreachable):
        mint.tokens.current(HERE)


def test_a_right_that_was_taken_away_is_said_at_once(mint):
    """It does not come back by waiting."""
    mint.tokens.current(HERE)
    mint.trouble = NotAllowed("You may not sign any more.")
    mint.now += 3500

    with pytest.raises(NotAllowed):
        mint.tokens.current(HERE)


def test_a_forked_process_goes_on_with_the_token(mint):
    """Also when another thread was about to make one, and would never be done with it in the child."""
    before = mint.tokens.current(HERE).text
    making, go_on = threading.Event(), threading.Event()

    def make_slowly(settings, now):
        making.set()
        go_on.wait()
        return Token("", now + 3600)

    mint.tokens._make = make_slowly
    other = threading.Thread(target=mint.tokens.current, args=(THERE,))
    other.start()
    making.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if mint.tokens.current(HERE).text == before else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    other.join()

    assert os.waitstatus_to_exitcode(status) == 0


def test_no_repr_shows_a_token(mint):
    """Neither its own nor that of what holds it."""
    token = mint.tokens.current(HERE)

    assert token.text not in repr(token) + repr(mint.tokens.__dict__)
