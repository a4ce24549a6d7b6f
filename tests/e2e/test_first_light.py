"""From SDK to result: what an application counted, what the lake holds and what REST answers are one number."""
import http.server
import json
import threading

import pytest
from deltalake import DeltaTable

from harness import Server, request, start_shop, temporary_folder

PROCESSES, EVALUATIONS = 4, 25_000


def run_shops(server, folder, repeater=None, evaluations=EVALUATIONS):
    """What the applications counted from their own calls: flag -> variation -> evaluations."""
    events_url = repeater.url if repeater else server.url
    shops = [start_shop(server, "--rate", "0", "--quiet", "--evaluations", str(evaluations), "--seed", str(n),
                        "--counts", str(folder / f"counts-{n}.json"), "--events-url", events_url)
             for n in range(PROCESSES)]
    for shop in shops:
        output, _ = shop.communicate(timeout=180)
        assert shop.returncode == 0, output
    counted = {}
    for n in range(PROCESSES):
        for flag, variations in json.loads((folder / f"counts-{n}.json").read_text())["flags"].items():
            for variation, count in variations.items():
                counted.setdefault(flag, {}).setdefault(variation, 0)
                counted[flag][variation] += count
    assert sum(sum(v.values()) for v in counted.values()) == PROCESSES * evaluations
    return counted


def lake_counts(server):
    """By SQL over the lake."""
    answer = server.sql("SELECT key, coalesce(CAST(variation AS VARCHAR), 'null'), sum(count)::BIGINT FROM events "
                        "WHERE kind = 'summary' GROUP BY ALL")
    counts = {}
    for flag, variation, count in answer["rows"]:
        counts.setdefault(flag, {})[variation] = int(count)
    return counts


def rest_counts(server, flags):
    return {flag: server.evaluations(flag) for flag in flags}


class Repeater:
    """Stands between SDK and server on loopback and posts every event payload twice, as a retrying SDK may."""

    def __init__(self, server):
        target = server.url

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {k: v for k, v in self.headers.items()
                           if k.lower() not in ("host", "connection", "transfer-encoding", "content-length")}
                answers = [request("POST", target + self.path, body, headers) for _ in range(2)]
                assert [a.status for a in answers] == [202, 202]
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize("twice", [False, True], ids=["each payload once", "each payload twice"])
def test_three_sources_agree_on_100000_evaluations(twice):
    with Server() as server, temporary_folder() as folder:
        repeater = Repeater(server) if twice else None
        counted = run_shops(server, folder, repeater)
        server.wait_until_processed()
        assert lake_counts(server) == counted
        assert rest_counts(server, counted) == counted
        table = DeltaTable(str(server.data / "lake/events"))
        rows = table.to_pyarrow_table(columns=["kind", "count"])
        assert rows.num_rows == server.sql("SELECT count(*) FROM events")["rows"][0][0]
        summary = [c for k, c in zip(rows["kind"].to_pylist(), rows["count"].to_pylist()) if k == "summary"]
        assert sum(summary) == PROCESSES * EVALUATIONS
        if repeater:
            repeater.close()
            assert server.health()["payloads"]["duplicate"] > 0


def test_without_dedupe_the_repeated_payloads_are_noticed():
    """The check above can fail: with dedupe off, the same traffic counts double."""
    with Server(settings={"pipeline.dedupe": "false"}) as server, temporary_folder() as folder:
        repeater = Repeater(server)
        counted = run_shops(server, folder, repeater, evaluations=1000)
        server.wait_until_processed()
        repeater.close()
        doubled = {flag: {v: 2 * n for v, n in variations.items()} for flag, variations in counted.items()}
        assert lake_counts(server) == doubled
        assert rest_counts(server, counted) == doubled
