# SPDX-License-Identifier: Apache-2.0
"""The HTTP front of `morph serve` (tools/python/serve) before an engine that says again what it is asked: how long a client may
leave its answer unread, what an engine's errors become, what conversations become."""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
import unittest

SOURCE = pathlib.Path(os.environ["MORPH_SOURCE_DIR"])
sys.path[:0] = [str(SOURCE / "tools/python" / name) for name in ("text", "serve", "")]
import model_text  # noqa: E402  pylint: disable=wrong-import-position
from api import Api  # noqa: E402  pylint: disable=wrong-import-position
from engine import Engine  # noqa: E402  pylint: disable=wrong-import-position

MODEL = SOURCE / "specs/models/tiny-recall"
VOCABULARY, SLOTS = 256, 4
# Tokens at which the engine fails, and at which it refuses; the tokenizer's <k0> and <k1>.
FAILS, REFUSES = 128, 129
TEMPLATE = """{% for m in messages %}
{{ m.role }}{{ " " + m.name if m.name is defined }}{{ " of " + m.tool_call_id if m.tool_call_id is defined }}: {{ m.content }}
{%- for call in m.tool_calls or [] %} {{ call.function.name }}({{ call.function.arguments.items() | list | tojson }}){% endfor %}
{{ " (" + m.reasoning_content + ")" if m.reasoning_content is defined }}{{ " no calls" if "tool_calls" not in m }};
{%- endfor %}{{ " thinking" if enable_thinking else "" }} assistant: """
TIMEOUT = 5


def run_engine():
    """Lines as `morph-run serve` reads and writes them (runtime/serve/LineServer.h)."""
    context = int(sys.argv[sys.argv.index("--context") + 1])
    say = lambda **event: print(json.dumps(event), flush=True)
    say(ready={"slots": SLOTS, "context": context, "vocabulary": VOCABULARY, "slot_bytes": 1})
    for line in map(json.loads, sys.stdin):
        if "tokens" not in line:
            continue
        tokens, name = line["tokens"], line["id"]
        if tokens[0] == REFUSES:
            say(id=name, error="it is not taken", hint="ask otherwise", kind="invalid")
            continue
        top = [[token, -1.5] for token in range(100, 100 + line["top_logprobs"])]
        told = {"logprob": -1.5} | ({"top": top} if top else {})
        first = {"cached_tokens": len(tokens) // 2}  # Of the first event alone.
        for token in tokens[1:] if line["prompt_logprobs"] else []:
            say(id=name, prompt_token=token, **told, **first)
            first = {}
        said = [tokens[i % len(tokens)] for i in range(line["max_tokens"])]
        for token in said:
            if token == FAILS:
                say(id=name, error="the logits are not finite", hint="", kind="failed")
                break
            say(id=name, token=token, **told, **first)
            first = {}
        else:
            say(id=name, finish="length", prompt_tokens=len(tokens), tokens=len(said), **first)


def start_server(folder):
    """A server of a folder before the engine that says again, and its port."""
    command = [sys.executable, SOURCE / "tools/python/serve/server.py", "--model", folder, "--name", "model", "--port", "0",
               "--queue", "0", "--context", "100000", "--timeout-s", str(TIMEOUT), "--", sys.executable, __file__, "engine"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return server, int(server.stdout.readline().split("/v1")[0].rsplit(":", 1)[1])


def stop_server(server):
    server.send_signal(signal.SIGTERM)
    said = server.communicate(timeout=60)[1]
    if server.returncode != 0 or "Traceback" in said:
        raise AssertionError((server.returncode, said))


class ServeFrontTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.holder.name)
        for path in MODEL.iterdir():
            (folder / path.name).symlink_to(path)
        (folder / "chat_template.jinja").write_text(TEMPLATE)
        cls.server, cls.port = start_server(folder)

    @classmethod
    def tearDownClass(cls):
        stop_server(cls.server)
        cls.holder.cleanup()

    def post(self, path="completions", **body):
        """Status and body of an answer; of a stream its events."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            text = json.dumps({"model": "model", **body})
            connection.request("POST", f"/v1/{path}", text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            read = answer.read().decode()
        if body.get("stream") and answer.status == 200:
            return 200, [json.loads(line.removeprefix("data: ")) for line in read.splitlines() if line.startswith("data: {")]
        return answer.status, json.loads(read)

    def chat(self, messages, **body):
        """What the engine has read of a conversation."""
        status, answer = self.post("chat/completions", messages=messages, max_tokens=1000, **body)
        self.assertEqual(status, 200, answer)
        return answer["choices"][0]["message"]["content"][:answer["usage"]["prompt_tokens"]]

    def refused(self, param, **body):
        status, answer = self.post("chat/completions", max_tokens=1, **body)
        self.assertEqual((status, answer["error"]["param"]), (400, param), answer)
        return answer["error"]["message"]

    def stream_much(self):
        """A connection with the beginning of a stream that takes all places, and of which its buffers hold a part."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.settimeout(60)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # The sender's buffer goes by it.
        connection.connect(("127.0.0.1", self.port))
        body = json.dumps({"model": "model", "prompt": list(range(60)) * 30, "n": SLOTS, "max_tokens": 50, "logprobs": 20,
                           "echo": True, "stream": True}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.assertIn(b"200 OK", connection.recv(100))
        self.assertEqual(self.post(prompt="a", max_tokens=1)[0], 429)
        return connection

    def wait_for_places(self):
        while self.post(prompt="a", max_tokens=1)[0] == 429:
            self.assertLess(time.monotonic() - self.began, 30, "its places are never free again")
            time.sleep(0.1)
        self.assertGreater(time.monotonic() - self.began, TIMEOUT)

    def test_a_client_that_reads_nothing(self):
        """Its places are free once its time is over, and its connection ends."""
        self.began = time.monotonic()
        connection = self.stream_much()
        self.wait_for_places()
        poll = select.poll()
        poll.register(connection, 0)  # its end alone
        self.assertTrue(poll.poll(30_000), "it stays open")

    def test_a_client_that_reads_late(self):
        """It is told that its time is over."""
        self.began = time.monotonic()
        connection = self.stream_much()
        time.sleep(TIMEOUT / 2)
        for _ in range(50):
            connection.recv(4096)
        self.wait_for_places()
        read = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        self.assertIn(b"longer than 5 s", read[-200:])
        self.assertEqual(read.count(b"cancelled"), 0)

    def test_an_engines_errors(self):
        for stream in (False, True):
            status, answer = self.post(prompt=[REFUSES], max_tokens=1, stream=stream)
            self.assertEqual((status, answer["error"]["type"]), (400, "invalid_request_error"))
            self.assertEqual(answer["error"]["message"], "it is not taken; ask otherwise")
            status, answer = self.post(prompt=[FAILS], max_tokens=1, stream=stream)
            self.assertEqual((status, answer["error"]["type"]), (500, "server_error"))
            self.assertEqual(answer["error"]["message"], "the logits are not finite")
        # In the middle of a stream it is an event.
        status, events = self.post(prompt=[97, 98, FAILS], max_tokens=5, stream=True)
        self.assertEqual(status, 200)
        self.assertEqual("".join(event["choices"][0]["text"] for event in events[:-1]), "ab")
        self.assertEqual(events[-1]["error"]["type"], "server_error")
        self.assertEqual(self.post(prompt=[97, 98, FAILS], max_tokens=5)[0], 500)

    def test_what_was_kept_is_told_of_every_answer(self):
        for options in ({}, {"stop": "d"}, {"stop": "d", "n": 2}, {"echo": True, "logprobs": 1}, {"echo": True, "max_tokens": 0}):
            body = {"prompt": "abcdef", "max_tokens": 6, **options}
            status, answer = self.post(**body)
            self.assertEqual(status, 200, answer)
            self.assertEqual(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 3, options)
            _, events = self.post(**body, stream=True, stream_options={"include_usage": True})
            self.assertEqual(events[-1]["usage"]["prompt_tokens_details"]["cached_tokens"], 3, options)

    def test_offsets_behind_special_tokens(self):
        """Names of special tokens are a part of a prompt that is a text."""
        folder = pathlib.Path(self.holder.name)
        tokenizer = json.loads((MODEL / "tokenizer.json").read_text())
        for token in tokenizer["added_tokens"]:
            token["special"] = token["content"] in ("<k2>", "<k3>")
        (folder / "special").mkdir()
        for path in MODEL.iterdir():
            (folder / "special" / path.name).symlink_to(path)
        (folder / "special/tokenizer.json").unlink()
        (folder / "special/tokenizer.json").write_text(json.dumps(tokenizer))
        server, self.port = start_server(folder / "special")  # The class has the port of the others.
        self.addCleanup(stop_server, server)
        _, answer = self.post(prompt="<k2>ab<k3>c", max_tokens=3, logprobs=0, echo=True)
        told = answer["choices"][0]
        # The engine says the first three again, of which one has no text.
        self.assertEqual(told["text"], "<k2>ab<k3>cab")
        self.assertEqual(told["logprobs"]["tokens"], ["<k2>", "a", "b", "<k3>", "c", "<k2>", "a", "b"])
        self.assertEqual(told["logprobs"]["text_offset"], [0, 4, 5, 6, 10, 11, 11, 12])

    def test_variables_of_the_template(self):
        messages = [{"role": "user", "content": "a"}]
        self.assertEqual(self.chat(messages), "user: a no calls; assistant: ")
        self.assertEqual(self.chat(messages, chat_template_kwargs={"enable_thinking": True}),
                         "user: a no calls; thinking assistant: ")
        self.assertEqual(self.chat(messages, chat_template_kwargs=None), "user: a no calls; assistant: ")
        self.assertIn("must be an object", self.refused("chat_template_kwargs", messages=messages, chat_template_kwargs=[]))
        for name in ("messages", "tools", "add_generation_prompt", "chat_template"):
            param = f"chat_template_kwargs.{name}"
            self.assertIn(param, self.refused(param, messages=messages, chat_template_kwargs={name: None}))
        status, answer = self.post(prompt="a", chat_template_kwargs={"enable_thinking": True})
        self.assertEqual((status, answer["error"]["param"]), (400, "chat_template_kwargs"))

    def test_all_that_messages_have(self):
        call = lambda arguments: {"id": "1", "type": "function", "function": {"name": "find", "arguments": arguments}}
        arguments = {"what": "tea & <cake>"}
        for content in (None, ""):
            told = self.chat([
                {"role": "user", "content": "a", "name": "Ann"},
                {"role": "assistant", "content": content, "tool_calls": [call(json.dumps(arguments)), call(arguments), call("")],
                 "reasoning_content": "hm", "refusal": None},
                {"role": "tool", "content": [{"type": "text", "text": "b"}], "tool_call_id": "1"},
                {"role": "assistant", "content": "c", "tool_calls": [], "reasoning": "so"}])
            pairs = '([["what", "tea & <cake>"]])'
            self.assertEqual(told, f"user Ann: a no calls;assistant:  find{pairs} find{pairs} find([]) (hm);"
                             "tool of 1: b no calls;assistant: c (so) no calls; assistant: ")
        answer = lambda **members: [{"role": "assistant", **members}]
        for messages, param in ((answer(content=None), "messages[0]"), (answer(content=None, tool_calls=[]), "messages[0]"),
                                (answer(tool_calls={}), "messages[0].tool_calls"), (answer(tool_calls=[{}]), "messages[0].tool_calls[0]"),
                                (answer(tool_calls=[call("no JSON")]), "messages[0].tool_calls[0].function.arguments"),
                                (answer(tool_calls=[call("[1]")]), "messages[0].tool_calls[0].function.arguments"),
                                (answer(tool_calls=[call([])]), "messages[0].tool_calls[0].function.arguments")):
            self.refused(param, messages=messages)


class ApiTest(unittest.IsolatedAsyncioTestCase):
    async def test_an_answer_that_nobody_takes(self):
        """Its places are free and its sequences cancelled at its deadline, while its sending still waits."""
        tokenizer = model_text.load_tokenizer(MODEL)
        engine, told = Engine([]), []
        engine.ready = {"slots": SLOTS, "context": 100, "vocabulary": VOCABULARY}
        engine.process = types.SimpleNamespace(stdin=types.SimpleNamespace(is_closing=lambda: False, write=told.append))
        limits = {"max_body": 1000, "max_tokens": 100, "sequences": 2, "running": 2, "timeout": 0.5}
        api = Api("model", MODEL, tokenizer, [], engine, limits)
        body = json.dumps({"model": "model", "prompt": "a", "n": 2, "stream": True}).encode()
        messages = [{"type": "http.request", "body": body}]
        is_sending = asyncio.Event()

        async def receive():
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "http.response.body":
                is_sending.set()
                await asyncio.Event().wait()

        scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
                 "scheme": "http", "path": "/v1/completions", "query_string": b"",
                 "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")]}
        asked = asyncio.create_task(api.app(scope, receive, send))
        while len(told) < 2:
            await asyncio.sleep(0.01)
        engine.deliver({"id": "0", "token": 97, "logprob": -1.5, "cached_tokens": 0})
        await is_sending.wait()
        self.assertEqual(api.running, 2)
        await asyncio.sleep(0.6)
        self.assertEqual(api.running, 0)
        self.assertEqual([json.loads(line) for line in told[2:]], [{"cancel": "0"}, {"cancel": "1"}])
        self.assertFalse(asked.done())
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
        self.assertEqual(api.running, 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["engine"]:
        run_engine()
    else:
        unittest.main()
