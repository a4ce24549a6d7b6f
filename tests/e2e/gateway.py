"""The gateway alone, with flags imported into its log: what serves while nothing else runs."""
import json
import signal

from harness import ROOT, Server, request, wait_until
from roles import RoleProcess

SHOP_FLAGS = ROOT / "examples/shop/flags.json"


class Gateway(Server):
    sdk_key = "sdk-00000000-e2e0-4000-8000-000000000001"
    mobile_key = "mob-00000000-e2e0-4000-8000-000000000002"
    client_side_id = "e2e000000000000000000003"

    def __init__(self, **rest):
        super().__init__(demo=False, **rest)
        self.flags = json.loads(SHOP_FLAGS.read_text())
        self.role = RoleProcess(self, "gateway")

    def start(self, seconds=30):
        self.import_flags("--sdk-key", self.sdk_key, "--mobile-key", self.mobile_key, "--client-side-id",
                          self.client_side_id)
        self.serve(seconds)

    def serve(self, seconds=30, crash_point=None):
        self.role.start(crash_point)
        if not crash_point:
            wait_until(self.answers, seconds, "the gateway serves")

    def stop(self, seconds=20):
        self.role.stop(signal.SIGTERM)
        assert self.role.process.returncode == 0, self.role.process.returncode

    def answers(self):
        try:
            return request("GET", self.url + "/readyz").status == 200
        except OSError:
            return False

    def import_flags(self, *keys):
        document = self.data.with_suffix(".json")
        document.write_text(json.dumps(self.flags))
        done = self.cli("config", "import", str(document), "--data", str(self.data), *keys)
        document.unlink()
        assert done.returncode == 0, done.stderr

    def payloads(self):
        """Payload id -> how often it is in the log."""
        done = self.cli("log", "cat", "payloads", "--data", str(self.data))
        assert done.returncode == 0, done.stderr
        found = {}
        for line in done.stdout.splitlines():
            record = json.loads(line)
            assert "missingUpTo" not in record, line
            if record["kind"] == "payload":
                found[record["payloadId"]] = found.get(record["payloadId"], 0) + 1
        return found
