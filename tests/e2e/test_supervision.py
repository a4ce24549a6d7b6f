"""What an operator meets: supervisors that are killed, addresses, and roles that cannot start."""
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import BINARY, Server, request, temporary_folder, wait_until


def test_a_new_start_waits_for_roles_that_a_killed_supervisor_left():
    with Server() as server:
        gateway = server.pid("gateway")
        os.kill(gateway, signal.SIGSTOP)  # still has the port and the log when the next one starts
        server.process.kill()
        server.process.wait()
        threading.Timer(1, os.kill, (gateway, signal.SIGCONT)).start()
        server.start()
        assert server.post_events(b'[{"kind":"index"}]').status == 202


def test_what_works_off_a_backlog_gives_way_to_the_front_door():
    with Server() as server:
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        niceness = {role: os.getpriority(os.PRIO_PROCESS, server.pid(role)) - ours
                    for role in ("gateway", "control", "processor", "lake")}
        assert niceness == {"gateway": 0, "control": 0, "processor": 10, "lake": 10}
        all_cores = os.sched_getaffinity(0)
        left = all_cores if len(all_cores) == 1 else all_cores - {min(all_cores)}
        cores = {role: os.sched_getaffinity(server.pid(role)) for role in niceness}
        assert cores == {"gateway": all_cores, "control": all_cores, "processor": left, "lake": left}


def can_listen_on_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not can_listen_on_ipv6(), reason="no IPv6 here")
def test_listens_on_an_ipv6_address():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    with Server(settings={"server.listen": f"[::1]:{port}"}, demo=False) as server:
        assert server.serving()["url"] == f"http://[::1]:{port}"
        assert request("GET", f"http://[::1]:{port}/livez").status == 200


def test_no_metric_is_told_twice():
    with Server() as server:
        for role in ("", "/control", "/processor", "/lake"):
            answer = wait_until(lambda: (a := request("GET", server.admin_url + role + "/metrics")).status == 200 and a, 10, role)
            text = answer.body.decode()
            names = [line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")]
            assert len(names) > 10 and len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)


def test_a_lake_that_cannot_be_used_does_not_take_the_front_door_down():
    with Server() as server:
        log = server.data / "lake/events/_delta_log"
        newest = wait_until(lambda: max(log.glob("*.json"), default=None), 10, "the lake's table is made")
        newest.write_text('{"protocol":{"minReaderVersion":9,"minWriterVersion":9}}')  # another program's doing
        server.kill("lake")
        wait_until(lambda: "needs Delta reader 9" in server.log_text(), 10, "the lake says why it cannot go on")
        time.sleep(0.3)  # the supervisor's turn
        assert server.process.poll() is None
        assert server.post_events(b'[{"kind":"index"}]').status == 202


def test_the_health_of_a_lake_that_was_deleted_is_that_of_the_new_one():
    with Server() as server:
        for _ in range(3):  # some commits
            assert server.post_events(b'[{"kind":"custom","key":"k","creationDate":1,"context":{"kind":"user","key":"u"}}]').status == 202
            server.wait_until_processed()
        subprocess.run(["rm", "-r", str(server.data / "lake/events")], check=True)
        assert server.post_events(b'[{"kind":"custom","key":"k","creationDate":1,"context":{"kind":"user","key":"u"}}]').status == 202
        server.wait_until_processed()
        assert server.sql("SELECT count(*) FROM events")["rows"] == [[4]]


def test_every_role_may_open_as_many_files_as_the_machine_allows():
    limit = "import resource, os, sys; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; " \
            "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)); os.execv(sys.argv[1], sys.argv[1:])"
    with temporary_folder() as folder:
        starter = folder / "flagstream"
        starter.write_text(f"#!{sys.executable}\n" + limit.replace("sys.argv[1], sys.argv[1:]", f"{str(BINARY)!r}, ['flagstream', *sys.argv[1:]]"))
        starter.chmod(0o755)
        with Server(binary=starter, demo=False) as server:
            for name, pid in server.serving()["roles"].items():
                def raised():
                    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                    return soft == hard > 256
                wait_until(raised, 10, f"{name} has raised its limit")  # the roles that wait for cores begin later
