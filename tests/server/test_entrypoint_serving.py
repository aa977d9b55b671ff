"""What the entrypoint leaves behind: MLflow with the settings that are safe behind Identity-Aware Proxy."""

import httpx
import pytest

HOST = "mlflow-dot-p.ew.r.appspot.com"
SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"


def test_of_two_servers_that_start_on_an_empty_database_one_makes_the_schema(pair):
    """Without a lock MLflow's own start lets one of them fail."""
    migrated = ["migrating the schema" in "".join(server.log) for server in pair.servers]

    assert sorted(migrated) == [False, True]
    assert [server.get("/health").status_code for server in pair.servers] == [200, 200]


def test_a_schema_that_is_up_to_date_is_not_migrated_again(pair):
    """The next start goes straight on to MLflow, and the row with the version stays the same one."""
    before = pair.world.query("SELECT xmin, version_num FROM alembic_version")
    server = pair.start()
    server.says("the database is ready")

    assert "migrating" not in "".join(server.log)
    assert pair.world.query("SELECT xmin, version_num FROM alembic_version") == before


def test_the_password_is_in_no_argument_and_no_log(pair):
    """`ps` shows arguments to everybody on a machine, and logs are read by many."""
    arguments = [word for server in pair.servers for process in server.family() for word in process.cmdline()]
    logs = "".join(line for server in pair.servers for line in server.log)

    assert "mlflow" in arguments
    assert not [word for word in arguments if pair.world.password in word or "postgresql" in word]
    assert pair.world.password not in logs


def test_a_server_takes_no_more_connections_than_the_smallest_database_has_room_for(pair):
    """Two processes (parent and worker) for each server, and a pool of 3 + 1 for tracking and registry each."""
    [(connections,)] = pair.world.query(f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{pair.world.user}'")

    assert connections <= 2 * (1 * 8 + 2)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": HOST}, 200, id="its own host"),
        pytest.param({"Host": f"{HOST}:443"}, 403, id="a port that the origin does not have"),
        pytest.param({"Host": "10.attacker.example"}, 403, id="a host that MLflow's defaults would allow"),
        pytest.param({"Host": HOST, "Origin": f"https://{HOST}"}, 200, id="its own pages"),
        pytest.param({"Host": HOST, "Origin": "https://evil.example"}, 403, id="somebody else's pages"),
        pytest.param({"Host": HOST, "Origin": "http://127.0.0.1:8000"}, 403, id="a page of the visitor's own machine"),
        pytest.param({"Host": HOST, "Origin": "http://localhost"}, 403, id="the same, by its name"),
        pytest.param({"Host": HOST, "Origin": "null"}, 403, id="a page that does not say where it is from"),
    ],
)
def test_only_the_servers_own_origin_is_served(pair, headers, status):
    """DNS rebinding and cross-site requests end here, whether they would change something or only look."""
    written = _ask(pair, 0, "/ajax-api/2.0/mlflow/experiments/search", headers, {"max_results": 1})
    read = _ask(pair, 0, SEARCH, headers)

    assert (written.status_code, read.status_code) == (status, status)
    assert "access-control-allow-origin" not in read.headers or status == 200


def test_an_origin_with_a_port_allows_the_host_with_and_without_it(pair):
    """Browsers send a port that is not the scheme's own, proxies may take it off."""
    statuses = [_ask(pair, 1, SEARCH, {"Host": host}).status_code for host in ("127.0.0.1:8443", "127.0.0.1", HOST)]

    assert statuses == [200, 200, 403]


def test_artifacts_go_to_the_bucket_and_not_through_the_server(pair):
    """A new experiment has its artifacts below ARTIFACT_ROOT, and the artifact proxy is off."""
    answer = _ask(pair, 0, "/api/2.0/mlflow/experiments/create", {"Host": HOST}, {"name": "bucket"})
    made = _ask(
        pair, 0, f"/api/2.0/mlflow/experiments/get?experiment_id={answer.json()['experiment_id']}", {"Host": HOST}
    )
    proxied = _ask(pair, 0, "/api/2.0/mlflow-artifacts/artifacts", {"Host": HOST})

    assert made.json()["experiment"]["artifact_location"].startswith("gs://bucket/artifacts/")
    assert proxied.status_code == 503


def test_what_nobody_asked_for_is_off(pair):
    """No frames, no telemetry, no gateway and its secrets, no eight job processes."""
    page = _ask(pair, 0, "/", {"Host": HOST})
    info = _ask(pair, 0, "/api/3.0/mlflow/server-info", {"Host": HOST})
    secrets = _ask(pair, 0, "/ajax-api/3.0/mlflow/gateway/secrets/list", {"Host": HOST})
    told = pair.servers[0].family()[0].environ()

    assert page.headers["x-frame-options"] == "DENY"
    assert info.is_success
    assert secrets.status_code >= 400
    assert told["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert len(pair.servers[0].family()) == 2


def _ask(pair, number, path, headers, body=None):
    method = "GET" if body is None else "POST"
    return httpx.request(method, pair.servers[number].url + path, headers=headers, json=body, trust_env=False)
