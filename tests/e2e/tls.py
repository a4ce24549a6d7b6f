"""Certificates of an authority of one's own, a server that speaks TLS, and HAProxy with the configuration that we hand out."""
import json
import pathlib
import re
import shutil
import socket
import ssl
import subprocess

from harness import ROOT, Server, free_port, wait_until

CONFIGURATION = ROOT / "deploy/haproxy/haproxy.cfg"


class Authority:
    """Signs certificates for localhost, 127.0.0.1 and NAME.test in `folder`, with the openssl command."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.root = self.folder / "root.pem"
        self.certificate, self.key = self.folder / "server.pem", self.folder / "server.key"
        self.openssl("req", "-x509", "-days", "2", "-subj", "/CN=root", "-keyout", self.folder / "root.key", "-out", self.root,
                     "-addext", "basicConstraints=critical,CA:TRUE", *self.new_key)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def install(self, name):
        """A new key and a certificate with the subject `name`, put in place as renewing programs do: by renaming."""
        request, extensions = self.folder / "request.pem", self.folder / "extensions"
        next_key, next_certificate = self.folder / "next.key", self.folder / "next.pem"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("req", "-subj", f"/CN={name}", "-keyout", next_key, "-out", request, *self.new_key)
        self.openssl("x509", "-req", "-days", "1", "-in", request, "-CA", self.root, "-CAkey", self.folder / "root.key",
                     "-CAcreateserial", "-extfile", extensions, "-out", next_certificate)
        next_key.chmod(0o600)
        next_key.rename(self.key)
        next_certificate.rename(self.certificate)

    def context(self):
        return ssl.create_default_context(cafile=self.root)

    def served_name(self, port):
        """Subject of the certificate that a new connection gets."""
        with socket.create_connection(("127.0.0.1", port), 10) as tcp:
            with self.context().wrap_socket(tcp, server_hostname="localhost") as tls:
                return dict(pair[0] for pair in tls.getpeercert()["subject"])["commonName"]


class TlsServer(Server):
    """With a TLS listener beside the plain one."""

    def __init__(self, authority, settings=None, **rest):
        self.tls_port = free_port()
        self.tls_url = f"https://127.0.0.1:{self.tls_port}"
        super().__init__(settings={
            "server.tls_listen": f"127.0.0.1:{self.tls_port}",
            "server.tls_certificate": str(authority.certificate),
            "server.tls_key": str(authority.key),
        } | (settings or {}), **rest)


class HAProxy:
    """deploy/haproxy/haproxy.cfg on a free port, in front of `server` and of an address where nobody serves."""

    def __init__(self, authority, server, folder):
        assert shutil.which("haproxy"), "haproxy is missing: tools/install_dependencies test"
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"  # a name may have an address that it does not listen on
        self.sdk_key = server.sdk_key
        both = self.folder / "flagstream.pem"
        both.write_text(authority.certificate.read_text() + authority.key.read_text())
        text = CONFIGURATION.read_text()
        for ours, here in [(r"bind :443 ssl crt /etc/haproxy/flagstream.pem", f"bind 127.0.0.1:{self.port} ssl crt {both}"),
                           (r"server gateway-1 10.0.0.11:8080", f"server gateway-1 127.0.0.1:{server.port}"),
                           (r"server gateway-2 10.0.0.12:8080", f"server gateway-2 127.0.0.1:{free_port()}"),
                           (r"log /dev/log local0 notice", "log stdout format raw local0 notice"),
                           (r"maxconn 40000", "maxconn 500"),  # what a small descriptor limit allows
                           (r"user haproxy", ""), (r"group haproxy", ""), (r"chroot /var/lib/haproxy", "")]:
            text, count = re.subn(r"(?m)^(\s+)" + re.escape(ours), lambda found: found[1] + here, text)
            assert count == 1, ours
        self.configuration = self.folder / "haproxy.cfg"
        self.configuration.write_text(text)

    def __enter__(self):
        self.log = open(self.folder / "haproxy.log", "ab")
        self.process = subprocess.Popen(["haproxy", "-db", "-f", str(self.configuration)], stdout=self.log, stderr=self.log)
        wait_until(self.serves, 30, "HAProxy has a gateway that is ready")
        return self

    def serves(self):
        assert self.process.poll() is None, (self.folder / "haproxy.log").read_text()
        return self.curl("/readyz").status == 200

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

    def curl(self, path, *arguments, url=None):
        """One request over HTTP/2, with curl; status 0 if there was no answer."""
        form = "\n%{json}"
        done = subprocess.run(["curl", "--silent", "--http2", "--max-time", "30", "--cacert",
                               str(self.configuration.parent / "root.pem"), "--write-out", form, *arguments,
                               (url or self.url) + path], capture_output=True, timeout=60)
        body, _, facts = done.stdout.rpartition(b"\n")
        facts = json.loads(facts)
        return CurlAnswer(facts["response_code"], facts["http_version"], facts["content_type"], body)


class CurlAnswer:
    def __init__(self, status, version, content_type, body):
        self.status, self.version, self.content_type, self.body = status, version, content_type, body

    def __repr__(self):
        return f"{self.version} {self.status} {self.content_type} {self.body[:300]!r}"
