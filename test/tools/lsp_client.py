# SPDX-License-Identifier: Apache-2.0
"""A client of morph-lsp-server, a real process that is spoken to in JSON-RPC, its documents, and the mixer and the
arch that the tests write about."""

import json
import os
import pathlib
import queue
import subprocess
import tempfile
import threading
import unittest

BIN = pathlib.Path(os.environ["MORPH_BIN"])
SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
SECONDS = 30


class Client:
    """An editor: sends requests and notifications, keeps what comes back."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([BIN / "morph-lsp-server", *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.messages = queue.Queue()
        self.replies = {}
        self.published = {}
        self.last_id = 0
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def read(self):
        try:
            self.read_messages()
        finally:
            self.messages.put(None)

    def read_messages(self):
        while True:
            length = None
            while (line := self.process.stdout.readline()) not in (b"", b"\r\n"):
                name, value = line.decode().split(":", 1)
                assert name == "Content-Length", line
                length = int(value)
            if not line:
                return
            self.messages.put(json.loads(self.process.stdout.read(length)))

    def send_bytes(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send_text(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.send_bytes(b"Content-Length: %d\r\n\r\n" % len(data) + data)

    def send(self, **message):
        self.send_text(json.dumps({"jsonrpc": "2.0", **message}))

    def receive(self):
        message = self.messages.get(timeout=SECONDS)
        if message is None:
            raise EOFError("the server has ended")
        if message.get("method") == "textDocument/publishDiagnostics":
            self.published.setdefault(message["params"]["uri"], []).append(message["params"])
        else:
            self.replies[json.dumps(message["id"])] = message
        return message

    def ask(self, method, **params):
        """The whole reply to a request."""
        self.last_id += 1
        self.send(id=self.last_id, method=method, params=params)
        while str(self.last_id) not in self.replies:
            self.receive()
        return self.replies.pop(str(self.last_id))

    def get(self, method, **params):
        """The result of a request."""
        reply = self.ask(method, **params)
        assert "result" in reply, reply
        return reply["result"]

    def initialize(self):
        result = self.get("initialize", processId=os.getpid(), rootUri=None, capabilities={
            "textDocument": {"documentSymbol": {"hierarchicalDocumentSymbolSupport": True}}})
        self.send(method="initialized", params={})
        return result

    def exit(self, shutdown=True):
        if shutdown:
            assert self.ask("shutdown")["result"] is None
        self.send(method="exit")
        return self.process.wait(timeout=SECONDS)


class Document:
    """A document in the editor. `|` in a text or pattern stands for a place."""

    def __init__(self, client, uri, language, text):
        self.client, self.uri, self.text, self.version = client, uri, text, 1
        client.send(method="textDocument/didOpen", params={"textDocument": {
            "uri": uri, "languageId": language, "version": 1, "text": text}})

    def change(self, text):
        self.text, self.version = text, self.version + 1
        self.client.send(method="textDocument/didChange", params={
            "textDocument": {"uri": self.uri, "version": self.version}, "contentChanges": [{"text": text}]})

    def close(self):
        self.version += 1
        self.client.send(method="textDocument/didClose", params={"textDocument": {"uri": self.uri}})

    def problems(self, version=None):
        """The diagnostics of the document's present version."""
        while True:
            for params in self.client.published.get(self.uri, []):
                if params.get("version") == (version or self.version):
                    return params["diagnostics"]
            self.client.receive()

    def position(self, pattern):
        """Where the pattern's `|` is, in UTF-16 code units."""
        plain = pattern.replace("|", "", 1)
        assert self.text.count(plain) == 1, f"{plain!r} stands {self.text.count(plain)} times"
        before = self.text[:self.text.index(plain) + pattern.index("|")]
        line = before.rsplit("\n", 1)[-1]
        return {"line": before.count("\n"), "character": len(line.encode("utf-16-le")) // 2}

    def get_text(self, place):
        """The text of a range."""
        lines = self.text.split("\n")
        start, end = place["start"], place["end"]
        assert start["line"] == end["line"], place
        line = lines[start["line"]].encode("utf-16-le")
        return line[2 * start["character"]:2 * end["character"]].decode("utf-16-le")

    def ask(self, method, pattern=None, **params):
        if pattern is not None:
            params["position"] = self.position(pattern)
        return self.client.get("textDocument/" + method, textDocument={"uri": self.uri}, **params)

    def hover(self, pattern):
        result = self.ask("hover", pattern)
        return result and result["contents"]["value"]

    def complete(self, pattern):
        """The completions at a place: labels to items."""
        return {item["label"]: item for item in self.ask("completion", pattern)["items"]}

    def complete_typed(self, text, mark="|"):
        """The same where the text becomes another one, with a `|` or another mark."""
        self.change(text.replace(mark, "", 1))
        before = text[:text.index(mark)]
        position = {"line": before.count("\n"), "character": len(before.rsplit("\n", 1)[-1])}
        return {item["label"]: item for item in self.ask("completion", position=position)["items"]}

    def define(self, pattern):
        return self.ask("definition", pattern)


class LspTest(unittest.TestCase):
    def setUp(self):
        self.clients = []
        self.client = self.start()
        self.capabilities = self.client.initialize()["capabilities"]

    def start(self, *arguments):
        client = Client(*arguments)
        self.clients.append(client)
        return client

    def tearDown(self):
        for client in self.clients:
            client.process.kill()
            client.process.wait()
            for stream in [client.process.stdin, client.process.stdout, client.process.stderr]:
                stream.close()

    def make_folder(self, files):
        """A folder, for as long as the test runs, with files of these names and texts."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        folder = pathlib.Path(holder.name).resolve()
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        return folder

    def assert_alive(self, client=None):
        self.assertEqual((client or self.client).exit(), 0)

    def assert_hovers(self, document, expected):
        """What is said at the patterns' places holds all of their words."""
        for pattern, words in expected.items():
            with self.subTest(pattern):
                text = document.hover(pattern)
                self.assertIsNotNone(text)
                for word in words:
                    self.assertIn(word, text)


GOOD = """// A mixer. 𝄞 é
mixer small(chunk: 1..1024 = 64, gated: bool = true) {
  doc "an example"
  source "nowhere"
  dim K = D / 2
  require H >= G, "key-value heads are not shared"

  weight rates [h: H] = log(1 + h) if gated
  frozen weight copy [H * D, M] = base.q_proj.weight

  q = base_q(x)
  if gated {
    q = q * exp(expand(rates, D))
  }
  y = recurrence(q, base_k(x), base_v(x), chunk = chunk)
  z = merge(y) + project(x, copy)
  return base_o(z)
}
"""

ARCH = GOOD + """
arch half {
  doc "half of it"
  model "models/tiny"
  recipe "runs/recipe.toml"

  // Candidates.
  layers 0..3, 7 = full | small(chunk = 16) | gla(rank = 8, chunk = 32) | gla
  layers 4..6 = "mixers/other.morph:mine(rank = 2)" | "kda" | none
  tie 0..3
  pin 7 = full | gla_2
  pattern one mine in every 4
  budget full_layers = 2
  budget decode_seconds = 0.02 at 4096 by "runs/costs.json"
}
"""
