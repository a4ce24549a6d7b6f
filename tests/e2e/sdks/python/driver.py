"""The Python server SDK, or OpenFeature's SDK over it, behind the protocol of ../README.md.

usage: driver.py server|openfeature
"""
import json
import logging
import os
import sys
import threading

from ldclient import Config, Context, LDClient, datasystem

PATIENCE = float(os.environ.get("FLAGSTREAM_PATIENCE", 20))
output = threading.Lock()


def say(event, **more):
    with output:
        print(json.dumps({"event": event} | more), flush=True)


def config():
    url, mode = os.environ["FLAGSTREAM_URL"], os.environ["FLAGSTREAM_MODE"]
    return Config(sdk_key=os.environ["FLAGSTREAM_SDK_KEY"], base_uri=url, stream_uri=url, events_uri=url,
                  stream=mode != "polling", flush_interval=1, application={"id": os.environ["FLAGSTREAM_APPLICATION"]},
                  datasystem_config=datasystem.default().build() if mode == "fdv2" else None)


class Server:
    def __init__(self):
        self.client = LDClient(config(), start_wait=PATIENCE)
        self.client.flag_tracker.add_listener(lambda change: say("update", key=change.key))

    def start(self):
        if not self.client.is_initialized():
            raise RuntimeError("not initialized")

    def evaluate(self, command):
        detail = self.client.variation_detail(command["flag"], Context.from_dict(command["context"]), None)
        return detail.value, detail.variation_index, detail.reason

    def track(self, command):
        self.client.track(command["key"], Context.from_dict(command["context"]), command["data"], command["value"])

    def identify(self, command):
        self.client.identify(Context.from_dict(command["context"]))

    def flush(self, _):
        self.client.flush()

    def close(self):
        self.client.close()


class OpenFeature:
    def __init__(self):
        from ld_openfeature import LaunchDarklyProvider
        from openfeature import api
        from openfeature.event import ProviderEvent
        self.api = api
        self.client = api.get_client()
        self.provider = LaunchDarklyProvider(config(), start_wait=PATIENCE)
        api.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
                        lambda details: [say("update", key=key) for key in details.flags_changed])

    def start(self):
        self.api.set_provider_and_wait(self.provider)

    @staticmethod
    def context(command):
        from openfeature.evaluation_context import EvaluationContext
        attributes = dict(command["context"])
        return EvaluationContext(attributes.pop("key", None), attributes)

    def evaluate(self, command):
        get, default = {"boolean": (self.client.get_boolean_details, False),
                        "string": (self.client.get_string_details, ""),
                        "object": (self.client.get_object_details, {})}[command["type"]]
        details = get(command["flag"], default, self.context(command))
        if details.error_code:
            return None, None, {"kind": "ERROR", "errorKind": details.error_code.value}
        return details.value, details.flag_metadata.get("variationIndex"), {"kind": str(details.reason)}

    def track(self, command):
        from openfeature.track import TrackingEventDetails
        self.client.track(command["key"], self.context(command), TrackingEventDetails(command["value"], command["data"]))

    def flush(self, _):
        self.provider.client.flush()

    def close(self):
        self.api.shutdown()


def main():
    logging.basicConfig(level=logging.ERROR)
    sdk = {"server": Server, "openfeature": OpenFeature}[sys.argv[1]]()
    try:
        sdk.start()
        say("ready")
    except Exception as error:
        say("failed", message=repr(error))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            done = getattr(sdk, command["command"])(command)
            if command["command"] == "evaluate":
                value, index, reason = done
                say("evaluation", value=value, variationIndex=index, reason=reason)
            else:
                say("done")
        except Exception as error:
            say("error", message=repr(error))
    sdk.close()


main()
