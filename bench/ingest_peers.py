"""The servers beside which the events API is measured, each started with an empty folder and pinned to core 0.

Every one of them takes the same recorded payloads, one in flight for each connection, in its own protocol; Kafka, whose
protocol batches, by its own load generator.  `durability` is what an acknowledgement promises: "none" (it may be in memory
only, or nowhere), "page cache" (it survives the process, not the machine) or "fsync" (it survives a power loss).
"""
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile

from events_load import ONE_CORE, discarding_server, load, per_cpu_second
from gateway import Gateway
from harness import free_port
from measure import cpu_seconds, pin
from peer_servers import LD_RELAY, ld_relay, running

ROOT = pathlib.Path(__file__).resolve().parents[1]
PEERS = ROOT / "build/peers"
DEBIAN = PEERS / "debian"
LIBRARIES = {"LD_LIBRARY_PATH": str(DEBIAN / "usr/lib/x86_64-linux-gnu")}
NGINX, REDIS = DEBIAN / "usr/sbin/nginx", DEBIAN / "usr/bin/redis-server"
NATS, TELEGRAF, KAFKA = PEERS / "nats-server", PEERS / "telegraf", PEERS / "kafka/jars"
CONNECTIONS = 32
LOAD_CORE = 1


class Contender:
    def __init__(self, name, durability, protocol, serve, version="", note=""):
        self.name, self.durability, self.protocol, self.serve = name, durability, protocol, serve
        self.version, self.note = version, note
        self.takes_http_events = protocol.startswith("HTTP")


def by_load(port, pid, key="any", options=()):
    def run(payload, seconds, rate=0):
        result = load(port, key, payload, rate=rate, connections=CONNECTIONS, seconds=seconds, warmup=0.5, pid=pid, core=LOAD_CORE,
                      options=options)
        return result | {"per_cpu_second": per_cpu_second(result)}
    return run


@contextlib.contextmanager
def flagstream(_folder):
    with Gateway(settings=ONE_CORE) as server:
        pin(server.role.process.pid, 0)
        yield by_load(server.port, server.role.process.pid, server.sdk_key)


@contextlib.contextmanager
def discarding(_folder):
    with discarding_server(core=0, shards=1) as (pid, port):
        yield by_load(port, pid)


def listens(port):
    def is_ready():
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    return is_ready


@contextlib.contextmanager
def nginx(folder):
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 8m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 202; }} }}
}}""")
    command = [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    with running(command, LIBRARIES, listens(port), "nginx") as pid:
        yield by_load(port, pid)


@contextlib.contextmanager
def telegraf(folder):
    port = free_port()
    (folder / "telegraf.conf").write_text(f"""
[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 1000
  metric_buffer_limit = 20000
  omit_hostname = true
  quiet = true
[[inputs.http_listener_v2]]
  service_address = "tcp://127.0.0.1:{port}"
  paths = ["/bulk"]
  http_success_code = 202
  data_format = "value"
  data_type = "string"
[[outputs.file]]
  files = ["{folder}/events"]
  data_format = "json"
""")
    with running([TELEGRAF, "--config", folder / "telegraf.conf"], {}, listens(port), "telegraf") as pid:
        yield by_load(port, pid)


@contextlib.contextmanager
def relay(_folder):
    """Events go on to a server that discards them, on the core of the load."""
    with Gateway(settings=ONE_CORE) as server, discarding_server(core=LOAD_CORE, shards=1) as (_, sink):
        with ld_relay(server.url, server.sdk_key, server.mobile_key, server.client_side_id,
                      events_to=f"http://127.0.0.1:{sink}") as (pid, port):
            yield by_load(port, pid, server.sdk_key)


@contextlib.contextmanager
def redis(folder):
    port = free_port()
    command = [REDIS, "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes", "--appendfsync",
               "always", "--auto-aof-rewrite-percentage", "0", "--logfile", folder / "log"]
    with running(command, LIBRARIES, listens(port), "redis-server") as pid:
        yield by_load(port, pid, options=["--protocol", "redis"])


def create_nats_stream(port):
    body = json.dumps({"name": "EVENTS", "subjects": ["events"], "storage": "file", "num_replicas": 1})
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB answer 1\r\n'
                           + f"PUB $JS.API.STREAM.CREATE.EVENTS answer {len(body)}\r\n{body}\r\n".encode())
        answer = b""
        while b"\r\nMSG answer" not in answer or not answer.endswith(b"}\r\n"):
            more = connection.recv(65536)
            assert more, answer
            answer += more
        assert b'"error"' not in answer, answer


def nats(sync):
    @contextlib.contextmanager
    def serve(folder):
        port = free_port()
        (folder / "nats.conf").write_text(f"""
listen: "127.0.0.1:{port}"
max_payload: 8MB
max_pending: 64MB
jetstream {{ store_dir: "{folder}/store", max_memory_store: 64MB, max_file_store: 50GB{sync} }}
""")
        with running([NATS, "-c", folder / "nats.conf"], {}, listens(port), "nats-server") as pid:
            create_nats_stream(port)
            yield by_load(port, pid, options=["--protocol", "nats"])
    return serve


class Kafka:
    """One broker with one topic."""

    JVM = ["java", "-Xms512m", "-Xmx1g", "-XX:+UseG1GC", "-Djava.awt.headless=true"]
    PROPERTIES = """
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={folder}/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
message.max.bytes=8388608
num.network.threads=2
num.io.threads=4
"""

    def __init__(self, topic_settings=()):
        self.topic_settings = topic_settings
        self.rates = {}  # of each payload in the round before

    def java(self, *arguments, core=LOAD_CORE, **rest):
        return subprocess.run(["taskset", "-c", str(core), *self.JVM, "-cp", f"{KAFKA}/*", *map(str, arguments)], capture_output=True,
                              text=True, timeout=180, check=True, **rest).stdout

    @contextlib.contextmanager
    def serve(self, folder):
        port, controller = free_port(), free_port()
        properties = folder / "server.properties"
        properties.write_text(self.PROPERTIES.format(port=port, controller=controller, folder=folder))
        logging = folder / "log4j2.properties"
        logging.write_text("status = off\nrootLogger.level = error\n")
        self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", properties, "--standalone", core=0)
        command = ["taskset", "-c", "0", *self.JVM, f"-Dlog4j2.configurationFile={logging}", f"-Dkafka.logs.dir={folder}", "-cp",
                   f"{KAFKA}/*", "kafka.Kafka", properties]
        with running(command, {}, listens(port), "Kafka") as pid:
            self.java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", f"127.0.0.1:{port}", "--create", "--topic", "events",
                      "--partitions", 1, *(f"--config={each}" for each in self.topic_settings))

            def run(payload, seconds, rate=0):
                self.run(pid, port, payload, 1)  # the broker has just started: its code is compiled first
                return self.run(pid, port, payload, seconds)
            yield run

    def run(self, pid, port, payload, seconds):
        guess = 2_000 if payload.stat().st_size > 10_000 else 10_000
        count = int(self.rates.get(payload, guess) * seconds) + 100
        cpu = cpu_seconds(pid)
        output = self.java("org.apache.kafka.tools.ProducerPerformance", "--topic", "events", "--num-records", count, "--throughput", -1,
                           "--payload-file", payload, "--producer-props", f"bootstrap.servers=127.0.0.1:{port}", "acks=all",
                           "batch.size=262144", "linger.ms=5", "max.request.size=8388608")
        used = cpu_seconds(pid) - cpu
        found = re.findall(r"(\d+) records sent, ([\d.]+) records/sec .*?([\d.]+) ms avg latency.*?(\d+) ms 50th, .*?(\d+) ms 99th",
                           output)
        assert found, output
        sent, rate, _, p50, p99 = found[-1]
        assert int(sent) == count, output
        self.rates[payload] = float(rate)
        return {"payloads_per_second": float(rate), "megabytes_per_second": float(rate) * payload.stat().st_size / 1e6,
                "p50_us": float(p50) * 1e3, "p99_us": float(p99) * 1e3, "per_cpu_second": count / used if used else None, "void": ""}


def output_of(*command, environment=None):
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, env=dict(os.environ) | (environment or {}))
    return done.stdout + done.stderr


def version(pattern, *command, environment=None):
    found = re.search(pattern, output_of(*command, environment=environment))
    return found[1] if found else ""


def module_version(folder, module):
    found = re.search(rf"{re.escape(module)} (v\S+)", (ROOT / "bench/peers" / folder / "go.mod").read_text())
    return found[1].lstrip("v") if found else ""


def contenders():
    """Those that are here, ours first; a line says which are not."""
    found = [Contender("flagstream", "fsync", "HTTP events", flagstream),
             Contender("discarding", "none", "HTTP events", discarding, note="the same server and checks; bodies are thrown away")]

    def add(path, *rest, **more):
        if path.exists():
            found.append(Contender(*rest, **more))
        else:
            print(f"  peers: without {rest[0]}, which is not here (tools/build_peers)")
    add(NGINX, "nginx", "none", "HTTP events", nginx, version(r"nginx/(\S+)", NGINX, "-v", environment=LIBRARIES),
        note="`return 202`; bodies are thrown away")
    add(TELEGRAF, "Telegraf", "none", "HTTP events", telegraf, module_version("telegraf", "github.com/influxdata/telegraf"),
        note="HTTP listener to a file; acknowledged from memory, what its buffer has no room for is dropped")
    add(LD_RELAY, "ld-relay", "none", "HTTP events", relay, module_version("relay", "github.com/launchdarkly/ld-relay/v8"),
        note="forwards to a server that discards; acknowledged from memory, dropped when its queue is full")
    add(REDIS, "Redis stream", "fsync", "RESP, XADD", redis, version(r"v=(\S+)", REDIS, "--version", environment=LIBRARIES),
        note="append-only file, fsync always")
    nats_version = module_version("nats", "github.com/nats-io/nats-server/v2")
    add(NATS, "NATS JetStream synced", "fsync", "NATS", nats(", sync_interval: always"), nats_version, note="sync_interval: always")
    add(NATS, "NATS JetStream", "page cache", "NATS", nats(""), nats_version, note="its default: synced every 2 min")
    jars = list(KAFKA.glob("kafka_2.13-*.jar"))
    kafka_version = jars[0].stem.split("-")[1] if jars else ""
    add(KAFKA, "Kafka flushed", "fsync", "Kafka, batches", Kafka(["flush.messages=1"]).serve, kafka_version,
        note="flush.messages=1; its own ProducerPerformance, acks=all, 1 broker")
    add(KAFKA, "Kafka", "page cache", "Kafka, batches", Kafka().serve, kafka_version,
        note="its default; its own ProducerPerformance, acks=all, 1 broker")
    return found


@contextlib.contextmanager
def started(contender):
    """Its `run(payload, seconds, rate)`, on an empty folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="flagstream-bench-", ignore_cleanup_errors=True) as folder:
        with contender.serve(pathlib.Path(folder)) as run:
            yield run
