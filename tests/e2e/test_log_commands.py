"""`flagstream log` against a running server and after it has stopped: what operators see, find damaged, take out and
delete; and the alarms about a reader that falls behind the edge of retention."""
import json
import os
import stat
import subprocess
import time

import pytest

from harness import BINARY, Server, request, temporary_folder, wait_until
from roles import Roles


def identify(key):
    return [{"kind": "identify", "creationDate": int(time.time() * 1000), "context": {"kind": "user", "key": key}}]


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        for n in range(20):
            assert running.post_events(identify(f"user-{n}"), payload_id=f"first-{n}").status == 202
        running.wait_until_processed()
        yield running


def log(server, *arguments):
    return server.cli("log", *arguments, "--data", str(server.data))


def lines(server, *arguments):
    done = log(server, *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def payloads(records):
    return [each for each in records if each.get("kind") == "payload"]


def topic(server, name):
    return {each["topic"]: each for each in lines(server, "ls", "--json")[0]}[name]


def segment(server, name="payloads"):
    return sorted((server.data / "log" / name).glob("0*.seg"))[0]


def test_ls_shows_topics_and_the_readers_of_each(server):
    def readers():
        return {name: [r["name"] for r in topic(server, name)["readers"]] for name in ("payloads", "events", "config")}
    wait_until(lambda: readers() == {"payloads": ["transform"], "events": ["analytics", "lake"], "config": ["gateway"]}, 20,
               "every stage is registered")
    wait_until(lambda: all(r["lagRecords"] == 0 for r in topic(server, "payloads")["readers"]), 20, "nothing is behind")
    assert topic(server, "payloads")["records"] >= 20
    assert topic(server, "payloads")["retentionSeconds"] == 7 * 86400
    text = log(server, "ls").stdout
    assert "payloads" in text and "transform -0" in text


def test_describe_has_offsets_files_and_readers(server):
    about = lines(server, "describe", "payloads", "--json")[0]
    assert len(about["offsets"]) == 16
    assert about["files"][0]["file"].endswith("1.seg")
    assert "transform" in log(server, "describe", "payloads").stdout


def test_the_writer_says_who_lags(server):
    wait_until(lambda: 'flagstream_log_reader_lag_records{topic="payloads",reader="transform"}' in server.metrics(), 20,
               "the gateway watches transform")
    assert server.metrics()['flagstream_log_reader_retention_used_ratio{topic="payloads",reader="transform"}'] == 0


def test_cat_takes_times_and_one_partition(server):
    everything = payloads(lines(server, "cat", "payloads"))
    assert len(everything) >= 20
    assert payloads(lines(server, "cat", "payloads", "--from", "1h")) == everything
    assert payloads(lines(server, "cat", "payloads", "--to", "1h")) == []
    partition = everything[0]["partition"]
    mine = [each for each in everything if each["partition"] == partition]
    assert payloads(lines(server, "cat", "payloads", "--partition", str(partition), "--from", str(mine[0]["offset"]),
                          "--to", str(mine[0]["offset"] + 1))) == mine[:1]
    assert len(lines(server, "cat", "payloads", "--limit", "3")) == 3


def test_cat_follows_what_is_posted_later(server):
    follower = subprocess.Popen([str(BINARY), "log", "cat", "payloads", "--from", "end", "--follow", "--data", str(server.data)],
                                stdout=subprocess.PIPE, text=True)
    try:
        seen = []

        def sees_it():
            assert server.post_events(identify("followed"), payload_id=f"followed-{len(seen)}").status == 202
            record = json.loads(follower.stdout.readline())
            seen.append(record)
            return record.get("payloadId", "").startswith("followed")
        wait_until(sees_it, 20, "the follower prints a payload that came later")
    finally:
        follower.terminate()
        follower.wait(10)
        follower.stdout.close()


@pytest.mark.parametrize("arguments, status", [
    (["cat", "nothing"], 3),
    (["cat", "payloads", "--from", "yesterday"], 2),
    (["cat", "payloads", "--from", "5"], 2),
    (["cat", "payloads", "--partition", "99"], 2),
    (["cat", "payloads", "--partition", "x"], 2),
    (["cat", "payloads", "--limit", "-1"], 2),
    (["cat"], 2),
    (["describe", "nothing"], 3),
    (["verify", "nothing"], 3),
    (["export", "events", "--format", "bodies"], 2),
    (["export", "payloads", "--format", "xml"], 2),
    (["export", "payloads", "--output", "/nowhere/at/all"], 1),
    (["forget", "payloads"], 2),
    (["forget", "payloads", "--before", "later"], 2),
    (["forget", "config", "--before", "1h"], 2),
    (["forget", "payloads", "--reader", "nobody", "--yes"], 3),
    (["forget", "payloads", "--reader", "transform", "--yes"], 4),
])
def test_what_makes_no_sense_is_refused_in_one_sentence(server, arguments, status):
    done = log(server, *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr and "terminate" not in done.stderr


def test_what_was_exported_can_be_posted_again_and_counts_once(server):
    with temporary_folder() as folder:
        path = folder / "payloads.jsonl"
        assert log(server, "export", "payloads", "--output", str(path)).returncode == 0
        exported = [p for p in payloads(map(json.loads, path.read_text().splitlines())) if p["payloadId"].startswith("first-")]
        assert not list(folder.glob("*.new"))
    assert len(exported) == 20
    before = server.health()["payloads"]
    for each in exported:
        answer = server.post_events(each["body"].encode(), payload_id=each["payloadId"],
                                    headers={"X-LaunchDarkly-Event-Schema": str(each["schema"])})
        assert answer.status == 202
    wait_until(lambda: server.health()["payloads"]["received"] == before["received"] + 20, 30, "the repeats are processed")
    server.wait_until_processed()
    rows = server.sql("SELECT count(*) FROM events WHERE kind = 'identify' AND contexts LIKE '%user-%'")["rows"]
    assert rows == [[20]]
    bodies = log(server, "export", "payloads", "--format", "bodies").stdout.splitlines()
    assert len(bodies) >= 40 and all(json.loads(body)[0]["kind"] == "identify" for body in bodies)


def test_verify_works_while_it_is_written(server):
    done = log(server, "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "payloads" in done.stdout and "DAMAGED" not in done.stdout


def test_another_user_can_look_without_the_right_to_write(server):
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    changed = []
    for path in [server.data, *server.data.glob("log"), *server.data.glob("log/**/*")]:
        changed.append((path, stat.S_IMODE(path.stat().st_mode)))
        path.chmod(0o755 if path.is_dir() else 0o644)
    try:
        for arguments in (["ls"], ["describe", "payloads"], ["cat", "payloads", "--limit", "1"], ["verify", "payloads"]):
            done = subprocess.run([str(BINARY), "log", *arguments, "--data", str(server.data)], capture_output=True, text=True,
                                  timeout=60, user=65534, group=65534, extra_groups=[])
            assert done.returncode == 0, done.stderr
        done = subprocess.run([str(BINARY), "log", "forget", "payloads", "--reader", "transform", "--yes", "--data",
                               str(server.data)], capture_output=True, text=True, timeout=60, user=65534, group=65534)
        assert done.returncode != 0
    finally:
        for path, mode in changed:
            path.chmod(mode)


def test_forget_has_the_running_gateway_delete_old_files():
    with Server(settings={"pipeline.checkpoint_interval": "1s"}) as server:
        body = [identify("big")[0] | {"context": {"kind": "user", "key": "big", "note": os.urandom(30_000).hex()}}]
        while len(list((server.data / "log/payloads").glob("0*.seg"))) < 3:
            assert server.post_events(body).status == 202
        server.wait_until_processed()

        def can_go():
            done = log(server, "forget", "payloads", "--before", "1ms", "--json")
            return done.returncode == 2 and json.loads(done.stdout)
        plan = wait_until(can_go, 30, "transform has checkpointed behind what would go")  # 10 s between two
        assert plan["deleted"] is False and plan["records"] > 0 and segment(server).name in plan["files"]
        done = log(server, "forget", "payloads", "--before", "1ms", "--yes")
        assert done.returncode == 0, done.stderr
        assert f"deleted {len(plan['files'])} files" in done.stdout
        assert segment(server).name not in plan["files"]
        assert server.metrics()['flagstream_log_forgotten_segments_total{topic="payloads"}'] == len(plan["files"])
        assert server.post_events(body).status == 202
        assert log(server, "verify", "payloads").returncode == 0


def test_a_stopped_server_is_looked_at_too_and_a_flipped_bit_is_found():
    with Server() as server:
        for n in range(5):
            assert server.post_events(identify(f"user-{n}"), payload_id=f"p-{n}").status == 202
        server.wait_until_processed()
        server.stop()
        assert topic(server, "payloads")["records"] >= 5
        assert [r["name"] for r in topic(server, "events")["readers"]] == ["analytics", "lake"]
        stored = segment(server).read_bytes()
        at = stored.index(b"user-3")
        segment(server).write_bytes(stored[:at] + b"U" + stored[at + 1:])
        done = log(server, "verify", "payloads", "--json")
        assert done.returncode == 1
        found = json.loads(done.stdout)[0]
        damage = found["damages"][0]
        assert damage["file"] == segment(server).name and damage["at"] <= at < damage["at"] + damage["bytes"]
        assert found["missing"] and found["whole"] is False
        done = log(server, "forget", "payloads", "--before", "1ms", "--yes", "--unread")
        assert "nothing to delete" in done.stdout  # there is one file, and it is the newest


def test_a_stage_that_retention_overtakes_is_alarmed_and_its_gap_is_recorded():
    settings = {"log.retention_size": "3MiB", "pipeline.checkpoint_interval": "1s"}
    reader = '{topic="payloads",reader="transform"}'
    body = [identify("big")[0] | {"context": {"kind": "user", "key": "big", "note": os.urandom(30_000).hex()}}]
    with Roles(settings=settings) as server:
        assert server.post_events(body).status == 202
        used = "flagstream_log_reader_retention_used_ratio" + reader
        wait_until(lambda: server.metrics().get(used) == 0, 20, "transform is watched")
        server.roles["processor"].stop(15)
        for _ in range(100):
            assert server.post_events(body).status == 202
        wait_until(lambda: server.metrics()[used] == 1, 20, "the edge has passed the stage")
        assert server.metrics()["flagstream_log_reader_lag_records" + reader] > 0
        text = server.data.with_suffix(".gateway.log").read_text()
        assert "retention has taken records that a reader had not read" in text
        processor = server.roles["processor"]
        processor.start()
        assert processor.process.wait(30) == 1
        assert "retention has deleted" in server.data.with_suffix(".processor.log").read_text()
        server.arguments += ["--set", "pipeline.on_gap=continue"]
        processor.start()

        def gaps():
            answer = request("GET", server.admin_url + "/processor/metrics")
            return answer.status == 200 and any(
                line.startswith('flagstream_pipeline_gap_records_total{stage="transform"}') and float(line.split()[-1]) > 0
                for line in answer.body.decode().split("\n"))
        wait_until(gaps, 30, "the gap is counted")
        wait_until(lambda: server.metrics()[used] == 0, 30, "the alarm ends once the stage has a new checkpoint")
