"""What the environment says."""

import pytest

from mlflow_iap_auth import settings
from mlflow_iap_auth.errors import BadSettings

HOSTS = [
    pytest.param("mlflow-dot-acme.ey.r.appspot.com", "mlflow-log-pusher@acme", id="a service of its own"),
    pytest.param(
        "mlflow-prod-dot-acme.uc.r.appspot.com", "mlflow-prod-log-pusher@acme", id="an environment with a name"
    ),
    pytest.param("acme.ey.r.appspot.com", "mlflow-log-pusher@acme", id="the default service"),
    pytest.param("mlflow-dot-acme.appspot.com", "mlflow-log-pusher@acme", id="an application from before regions"),
    pytest.param("v1-dot-mlflow-dot-acme.ey.r.appspot.com", "mlflow-log-pusher@acme", id="one version"),
    pytest.param(
        "mlflow-dot-ml.acme.com.ey.r.appspot.com", "mlflow-log-pusher@ml.acme.com", id="a domain's own project"
    ),
]


@pytest.mark.parametrize(("host", "account"), HOSTS)
def test_the_address_tells_the_account(host, account):
    """So two variables are all there is to set."""
    assert settings.of(f"https://{host}", {}).account == f"{account}.iam.gserviceaccount.com"


def test_another_address_tells_none():
    """A domain of one's own; then a variable does."""
    told = {"MLFLOW_IAP_ACCOUNT": "mlflow-log-pusher@acme.iam.gserviceaccount.com"}

    assert settings.of("https://ml.acme.example", {}).account == ""
    assert settings.of("https://ml.acme.example", told).project == "acme"


ADDRESSES = [
    pytest.param("https://ml.example/", "https://ml.example", id="a slash at the end"),
    pytest.param("https://ML.example:443/api?x=1", "https://ml.example", id="capitals, and the usual port"),
    pytest.param("https://ml.example:8443", "https://ml.example:8443", id="another port"),
    pytest.param("https://me:secret@ml.example", "https://ml.example", id="a password"),
    pytest.param("http://[::1]:80/", "http://[::1]", id="an address with colons"),
    pytest.param("sqlite:///runs.db", "", id="a file"),
    pytest.param("https://ml.example:port", "", id="no port"),
    pytest.param("", "", id="nothing"),
]


@pytest.mark.parametrize(("uri", "origin"), ADDRESSES)
def test_an_origin_is_scheme_host_and_port(uri, origin):
    """As browsers compare it."""
    assert settings.origin_of(uri) == origin


WRONG = [
    pytest.param("", {}, "MLFLOW_TRACKING_URI", id="no address"),
    pytest.param("mlruns", {}, "MLFLOW_TRACKING_URI", id="a folder"),
    pytest.param("http://ml.example", {}, "https://ml.example", id="no TLS, to another machine"),
    pytest.param(
        "https://ml.example/#/experiments/1",
        {},
        "MLFLOW_TRACKING_URI=https://ml.example$",
        id="a page of it, as a browser shows its address",
    ),
    pytest.param("https://ml.example/?x", {}, "MLFLOW_TRACKING_URI=https://ml.example$", id="a question to it"),
    pytest.param("https://me:secret@ml.example", {}, "MLFLOW_TRACKING_URI=https://ml.example$", id="a password"),
    pytest.param(
        "http://me:secret@ml.example", {}, "https only, and http://ml.example is", id="a password without TLS"
    ),
    pytest.param(
        "https://me:secret@ml.example:port", {}, "^ml.example:port is no address", id="a password and no port"
    ),
    pytest.param(
        "https://ml.example",
        {"MLFLOW_IAP_EMULATOR": "https://127.0.0.1.example:1"},
        "MLFLOW_IAP_EMULATOR",
        id="an emulator elsewhere, which would get a token of the real Google",
    ),
    pytest.param("https://ml.example", {"MLFLOW_IAP_SOURCE": "keys"}, "impersonate, key, oidc", id="no such source"),
]


@pytest.mark.parametrize(("uri", "environ", "says"), WRONG)
def test_what_does_not_fit_is_said(uri, environ, says):
    """With the variable that it is about, and without a password."""
    with pytest.raises(BadSettings, match=says) as wrong:
        settings.of(uri, environ)

    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("uri", ["https://ml.example/", "HTTPS://ML.example:443", "http://localhost:5000//"])
def test_what_means_the_same_fits(uri):
    """MLflow takes these as well."""
    assert settings.of(uri, {}).origin == settings.origin_of(uri)
