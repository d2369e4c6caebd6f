"""Google's XML interface before fake-gcs-server, which takes uploads by the JSON one alone.

A put becomes an upload there, with its condition; everything else is passed on as it is."""
import http.client, json, socket, subprocess, sys, time, urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

program, host, port, inner = sys.argv[1:]
outside = f"{host}:{port}"
subprocess.Popen([program, "-host", host, "-port", inner, "-scheme", "http",
                  "-backend", "memory", "-public-host", outside, "-external-url", f"http://{outside}"])


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def ask(self, verb, path, headers, body):
        server = http.client.HTTPConnection(host, int(inner))
        server.request(verb, path, body or None, headers)
        answer = server.getresponse()
        return answer, answer.read()

    def upload(self, body):
        bucket, key = self.path.lstrip("/").split("/", 1)
        # It looks at the condition of this form of upload, and at no other's.
        query = {"uploadType": "multipart"}
        if "x-goog-if-generation-match" in self.headers:
            query["ifGenerationMatch"] = self.headers["x-goog-if-generation-match"]
        path = f"/upload/storage/v1/b/{bucket}/o?{urllib.parse.urlencode(query)}"
        part = b"--part-of-an-upload"
        about = json.dumps({"name": urllib.parse.unquote(key)}).encode()
        body = b"\r\n".join([part, b"Content-Type: application/json", b"", about, part,
                             b"Content-Type: application/octet-stream", b"", body, part + b"--"])
        kind = {"Host": outside, "Content-Length": str(len(body)),
                "Content-Type": "multipart/related; boundary=part-of-an-upload"}
        answer, said = self.ask("POST", path, kind, body)
        if answer.status != 200:
            return answer.status, {}, said
        made = json.loads(said)
        return 200, {"ETag": f'"{made["etag"]}"', "x-goog-generation": made["generation"],
                     "x-goog-hash": f'crc32c={made["crc32c"]},md5={made["md5Hash"]}'}, b""

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT":
            status, headers, body = self.upload(body)
        else:
            headers = {name.title(): value for name, value in self.headers.items()}
            headers["Host"] = outside
            answer, body = self.ask(self.command, self.path, headers, body)
            status, headers = answer.status, dict(answer.getheaders())
        self.send_response(status)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "date", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer


while socket.socket().connect_ex((host, int(inner))) != 0:
    time.sleep(0.02)
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer((host, int(port)), Front).serve_forever()
