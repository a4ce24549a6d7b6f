"""What operators are told: the status page and the SDKs that are connected."""
import json

import pytest

from harness import Server, request, wait_until
from sdk import Sdk

SDKS = "/api/v2/projects/demo/environments/production/sdks"


@pytest.fixture(scope="module")
def server():
    with Server(settings={"server.status_page": "true"}) as running:
        yield running


def connected(server):
    answer = server.api("GET", SDKS)
    assert answer.status == 200, answer.body
    return answer.json()


def test_the_node_sdk_is_listed_while_it_is_connected(server):
    sdk = Sdk(server, "streaming")
    sdk.expect("ready")
    listed = wait_until(lambda: connected(server)["items"], 20, "the SDK is listed")
    assert (listed[0]["name"], listed[0]["credential"]) == ("NodeJSClient", "sdkKey")
    assert (listed[0]["instances"], listed[0]["streaming"]) == (1, 1)
    assert listed[0]["version"].count(".") == 2
    sdk.close()
    wait_until(lambda: connected(server)["instances"] == 0, 20, "the SDK is gone")


def test_only_people_with_a_token_see_it(server):
    assert request("GET", server.url + SDKS).status == 401
    assert request("GET", server.url + "/sdks/1").status == 404
    assert server.api("GET", SDKS.replace("production", "moon")).status == 404


def test_the_status_page_has_the_shape_of_the_relay_and_no_key(server):
    page = request("GET", server.url + "/status")
    assert page.status == 200
    status = page.json()
    assert status["status"] == "healthy" and status["version"]
    production = status["environments"]["demo/production"]
    assert production["envId"] == server.keys["_id"] and production["status"] == "connected"
    assert production["connectionStatus"]["state"] == production["dataStoreStatus"]["state"] == "VALID"
    assert production["sdkKey"] == production["mobileKey"] == "*****"
    assert server.sdk_key not in json.dumps(status) and server.keys["mobileKey"] not in json.dumps(status)


@pytest.mark.broad
def test_strangers_are_not_told_unless_it_is_switched_on():
    with Server() as quiet:
        assert request("GET", quiet.url + "/status").status == 404
        wait_until(lambda: "demo/production" in request("GET", quiet.admin_url + "/status/environments").json()["environments"],
                   10, "operators are told of the environment")
        number = connected(quiet)
        assert number == {"items": [], "instances": 0, "uncounted": 0}
