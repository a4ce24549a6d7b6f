"""Deterministic recordings of SDK traffic and the ledger of what became of each payload."""
import http.client
import itertools
import json
import queue
import random
import threading
import time
import uuid

FLAGS = ["new-checkout", "banner-text", "search-config", "dark-mode", "free-shipping"]


def record_hour(count, seed, end_ms, goes_on=lambda: False, padding=0):
    """`count` payloads over one hour of event time that ends at end_ms, and more at its end for as long as
    goes_on().  Payload n carries one custom event with data {"n": n} and the value n, so that it can be found again, and
    one summary.  `padding`: further bytes in the event, which do not compress."""
    rng = random.Random(seed)
    for n in itertools.takewhile(lambda n: n < count or goes_on(), itertools.count()):
        at = end_ms - 3_600_000 + min(n, count) * 3_600_000 // count
        features = {}
        for flag in rng.sample(FLAGS, 2):
            counters = [{"variation": v, "version": 1, "value": v == 0, "count": rng.randint(1, 20)}
                        for v in sorted(rng.sample([0, 1], rng.randint(1, 2)))]
            features[flag] = {"default": None, "contextKinds": ["user"], "counters": counters}
        user = {"kind": "user", "key": f"user-{rng.randint(0, 999)}"}
        events = [
            {"kind": "index", "creationDate": at, "context": user},
            {"kind": "custom", "creationDate": at, "key": "recorded", "context": user, 
             "data": {"n": n} | ({"padding": rng.randbytes(padding // 2).hex()} if padding else {}), "metricValue": n},
            {"kind": "summary", "startDate": at - 500, "endDate": at, "features": features},
        ]
        yield n, str(uuid.UUID(int=rng.getrandbits(128), version=4)), json.dumps(events).encode(), features


class Ledger:
    """What was sent and what was answered.  `acknowledged` and `unknown` are sets of payload numbers: a payload
    whose every attempt failed or was cut off is unknown, it may have been stored."""

    def __init__(self):
        self.acknowledged, self.unknown, self.features = set(), set(), {}
        self.attempts = 0
        self.latencies = []

    def totals(self, numbers):
        """flag -> variation -> evaluations, over these payloads."""
        out = {}
        for n in numbers:
            for flag, feature in self.features[n].items():
                for counter in feature["counters"]:
                    variations = out.setdefault(flag, {})
                    key = str(counter["variation"])
                    variations[key] = variations.get(key, 0) + counter["count"]
        return out


def send(recording, address, sdk_key, payloads_per_second, connections=8, patience=30, twice=False, paused=lambda: False):
    """Sends a recording at a constant rate, each payload until it is acknowledged or `patience` seconds have
    passed (with the same payload id, as SDKs retry); none for as long as paused().  Latency counts from the intended
    time of sending."""
    ledger, lock, work = Ledger(), threading.Lock(), queue.Queue(maxsize=1000)

    def worker():
        connection = None
        while True:
            item = work.get()
            if item is None:
                return
            n, payload_id, body, due = item
            give_up = time.monotonic() + patience
            repeats = 2 if twice else 1
            acknowledged = False
            while repeats and time.monotonic() < give_up:
                with lock:
                    ledger.attempts += 1
                try:
                    if connection is None:
                        connection = http.client.HTTPConnection(*address, timeout=10)
                    connection.request("POST", "/bulk", body, {
                        "Authorization": sdk_key, "Content-Type": "application/json",
                        "X-LaunchDarkly-Event-Schema": "4", "X-LaunchDarkly-Payload-ID": payload_id})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 202:
                        if not acknowledged:
                            with lock:
                                ledger.latencies.append(time.monotonic() - due)
                        acknowledged = True
                        repeats -= 1
                        continue
                    assert answer.status in (429, 503), answer.status
                except (OSError, http.client.HTTPException):
                    if connection is not None:
                        connection.close()
                    connection = None
                time.sleep(0.05)
            with lock:
                (ledger.acknowledged if acknowledged else ledger.unknown).add(n)

    threads = [threading.Thread(target=worker) for _ in range(connections)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    for sent, (n, payload_id, body, features) in enumerate(recording):
        stood = time.monotonic()
        while paused():
            time.sleep(0.02)
        began += time.monotonic() - stood
        due = began + sent / payloads_per_second
        time.sleep(max(0, due - time.monotonic()))
        ledger.features[n] = features
        work.put((n, payload_id, body, due))
    for _ in threads:
        work.put(None)
    for thread in threads:
        thread.join()
    return ledger
