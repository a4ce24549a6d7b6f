"""Polling for flags: `/sdk/latest-all`, whole and unchanged (304).  No peer here has such a route: ld-relay has streams for
server-side SDKs, and for PHP all flags without segments, or one item at a time."""
from gateway import Gateway
from evalx import document
from http_load import Request, Target, compare, has_wrk
from measure import pin

LARGE = 100_000


def polling(figures):
    if not has_wrk("polling"):
        return
    with Gateway(settings={"server.shards": "1", "server.connections_max": "0"}) as server:
        count = 20
        while True:
            server.flags = document(count)
            server.import_flags("--sdk-key", server.sdk_key)
            whole = Request("GET", "/sdk/latest-all", {"Authorization": server.sdk_key})
            answer = whole.answer(server.port)
            if len(answer.body) >= LARGE:
                break
            count += 20
        pin(server.role.process.pid, 0)
        unchanged = Request("GET", whole.path, whole.headers | {"If-None-Match": answer.headers["ETag"]})
        assert unchanged.answer(server.port).status == 304
        size = f"{len(answer.body) / 1000:.0f} KB"
        for what, asked in ((f"latest-all, {size}", whole), (f"latest-all of {size}, unchanged (304)", unchanged)):
            target = Target(server.role.process.pid, server.port, [asked])
            compare(figures, "polling", what, target, {}, "; no peer has this route")
