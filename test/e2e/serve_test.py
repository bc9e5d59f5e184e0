# SPDX-License-Identifier: Apache-2.0
"""morph serve with the `openai` package: answers, streams, errors, limits, keys, disconnects, signals, many clients."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import openai
from support import BIN, SOURCE, run

sys.path.insert(1, str(SOURCE / "tools/python/bench"))
from serve_load import Server

MODEL = SOURCE / "specs/models/tiny-recall"
PROMPT = "A hacker is one who enjoys "


def client_of(url, key="none"):
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)


def address(url):
    host, port = url.removeprefix("http://").removesuffix("/v1").split(":")
    return host, int(port)


def refused(status, function, *arguments, **options):
    """The error of a call that must fail with a status."""
    try:
        function(*arguments, **options)
    except openai.APIStatusError as error:
        assert error.status_code == status, error
        assert {"message", "type", "param", "code"} == set(error.body), error.body
        return error.body["message"]
    raise AssertionError(f"expected {status}")


def post(url, body, headers=(), path="/v1/completions"):
    connection = http.client.HTTPConnection(*address(url), timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json", **dict(headers)})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def metrics(url):
    connection = http.client.HTTPConnection(*address(url), timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return {line.split()[0].removeprefix("morph_"): int(line.split()[1]) for line in lines if not line.startswith("#")}


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def check_answers(client, model):
    assert [m.id for m in client.models.list()] == ["model"]
    options = dict(model="model", prompt=PROMPT, max_tokens=24, temperature=0)
    whole = client.completions.create(**options)
    told = json.loads(run("morph", "generate", model, "--prompt", PROMPT, "--max-tokens", 24, "--json").stdout)
    assert whole.choices[0].text == told["text"], (whole, told)
    assert whole.choices[0].finish_reason == "length" and whole.object == "text_completion"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(PROMPT), 24), whole.usage
    pieces = list(client.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(p.choices[0].text for p in pieces if p.choices) == told["text"]
    assert pieces[-1].usage == whole.usage or pieces[-1].usage.total_tokens == whole.usage.total_tokens
    assert pieces[-2].choices[0].finish_reason == "length"
    # Token ids instead of a text.
    ids = client.completions.create(**{**options, "prompt": told_ids(model)})
    assert ids.choices[0].text == told["text"]

    # A stop string is not given out, nor what comes after it; streamed, nothing that may become one.
    text = told["text"]
    stop = text[9:12]
    cut = text[:text.index(stop)]
    stopped = client.completions.create(**options, stop=[stop, "never"])
    assert (stopped.choices[0].text, stopped.choices[0].finish_reason) == (cut, "stop"), stopped
    streamed = list(client.completions.create(**options, stop=stop, stream=True))
    assert "".join(p.choices[0].text for p in streamed) == cut and streamed[-1].choices[0].finish_reason == "stop"

    # Probabilities of what was chosen.
    told = client.completions.create(**options, logprobs=0).choices[0].logprobs
    assert len(told.tokens) == 24 and all(p <= 0 for p in told.token_logprobs) and "".join(told.tokens) == text

    # What is drawn is the seed's.
    draw = lambda seed: client.completions.create(**{**options, "temperature": 1.5, "top_p": 0.95}, seed=seed).choices[0].text
    assert draw(1) == draw(1) and len({draw(1), draw(2), draw(3)}) > 1
    assert len({client.completions.create(**{**options, "temperature": 1.5}).choices[0].text for _ in range(3)}) > 1

    chat = dict(model="model", messages=[{"role": "user", "content": "A hacker"}], max_completion_tokens=12, temperature=0)
    answer = client.chat.completions.create(**chat)
    assert answer.choices[0].message.role == "assistant" and len(answer.choices[0].message.content) > 0, answer
    pieces = list(client.chat.completions.create(**chat, stream=True, logprobs=True))
    assert pieces[0].choices[0].delta.role == "assistant"
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == answer.choices[0].message.content
    assert sum(len(p.choices[0].logprobs.content) for p in pieces if p.choices[0].logprobs) == 12
    parts = [{"role": "user", "content": [{"type": "text", "text": "A "}, {"type": "text", "text": "hacker"}]}]
    assert client.chat.completions.create(**{**chat, "messages": parts}).choices[0].message == answer.choices[0].message


def told_ids(model):
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(model / "tokenizer.json")).encode(PROMPT).ids


def check_prefixes(client, url):
    before = metrics(url)["cached_tokens_total"]
    # Longer than a chunk (--chunk 64): its beginning is kept, and what follows is the same as without.
    prompt = "the art of " * 30
    first = client.completions.create(model="model", prompt=prompt + "one", max_tokens=20, temperature=0)
    again = client.completions.create(model="model", prompt=prompt + "one", max_tokens=20, temperature=0)
    assert again.choices[0].text == first.choices[0].text
    assert first.usage.prompt_tokens_details.cached_tokens == 0 and again.usage.prompt_tokens_details.cached_tokens >= 256
    # Also of an answer that a stop string ends, of whose end the engine is not asked.
    stop = first.choices[0].text[3:6]
    stopped = client.completions.create(model="model", prompt=prompt + "one", max_tokens=20, temperature=0, stop=stop)
    assert stopped.choices[0].finish_reason == "stop", stopped
    assert stopped.usage.prompt_tokens_details == again.usage.prompt_tokens_details, stopped
    assert metrics(url)["cached_tokens_total"] > before


def check_errors(client, url):
    create = client.completions.create
    ask = dict(model="model", prompt="a")
    assert "no model 'other'" in refused(404, create, **{**ask, "model": "other"})
    for change, message in (
        ({"temperature": 3}, "'temperature' must be from 0 to 2"),
        ({"top_p": -1}, "'top_p'"), ({"max_tokens": 0}, "'max_tokens'"), ({"max_tokens": 10**9}, "--max-tokens"),
        ({"prompt": ""}, "empty"), ({"prompt": [1, 100_000]}, "token 100000 is none"),
        ({"prompt": [-1]}, "token -1 is none"), ({"stop": [""]}, "'stop'"), ({"stop": ["a"] * 17}, "'stop'"),
        ({"presence_penalty": 1}, "'presence_penalty'"),
        ({"extra_body": {"top_k": 5}}, "'top_k' is not supported other than as 0"), ({"extra_body": {"tok_k": 5}}, "'tok_k' is no field"), ({"prompt": "a" * 600}, "--context"),
        ({"max_tokens": 500, "prompt": "a" * 100}, "--context"),
    ):
        assert message in refused(400, create, **{**ask, **change}), change
    chat = client.chat.completions.create
    for messages, message in (([], "'messages'"), ([{"role": "user"}], "content"), ([{"content": "a"}], "role"),
                              ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "'text' only"),
                              ([{"role": "fails", "content": "a"}], "the chat template says: no such role")):
        assert message in refused(400, chat, model="model", messages=messages), messages
    assert "'tools'" in refused(400, chat, model="model", messages=[{"role": "user", "content": "a"}],
                                tools=[{"type": "function", "function": {"name": "f"}}])
    for body, status in ((b"{", 400), (b"[]", 400), (b"\xff", 400), (b"[" * 30_000, 400), (b'{"model": 1}', 404), (b'{"prompt": "a"}', 400),
                         (b'{"model": "model", "prompt": true}', 400), (b'{"model": "model", "prompt": [true]}', 400),
                         (b'{"model": "model", "prompt": "a", "seed": 1e400}', 400),
                         (b'{"model": "model", "prompt": "a", "max_tokens": true}', 400), (b"x" * 40_000, 413)):
        told = post(url, body)
        assert told[0] == status and told[1]["error"]["message"], (body[:50], told)
    # A body whose length nobody tells.
    assert post(url, iter([b"x" * 1000] * 50))[0] == 413
    assert post(url, b"{}", {"Content-Type": "text/plain"})[0] == 415
    assert post(url, b"{}", {"Host": "example.com"})[0] == 403
    assert post(url, b"{}", path="/v1/none")[0] == 404
    assert post(url, b"{}", path="/v1/models")[0] == 405
    # What is no HTTP at all.
    with socket.create_connection(address(url), timeout=60) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00nothing\r\n\r\n")
        assert b"400" in connection.recv(1000)
    assert create(**ask, max_tokens=1).choices, "it serves no more"


def check_queue(client, url):
    """Two slots and a queue of two: the fifth is sent away, and who hangs up makes room."""
    long = dict(model="model", prompt="a", max_tokens=400, temperature=0, stream=True)
    streams = []

    def start():
        streams.append(client.completions.create(**long))

    threads = [concurrent.futures.ThreadPoolExecutor(1) for _ in range(4)]
    for thread in threads:
        thread.submit(start)
    wait_for(lambda: metrics(url)["running"] + metrics(url)["queued"] == 4 or len(streams) == 4)
    statuses = [post(url, json.dumps({"model": "model", "prompt": "b", "max_tokens": 1}).encode())[0] for _ in range(3)]
    assert set(statuses) <= {200, 429}, statuses
    wait_for(lambda: len(streams) == 4)
    for stream in streams:
        stream.close()
    wait_for(lambda: metrics(url)["running"] + metrics(url)["queued"] == 0)
    assert client.completions.create(model="model", prompt="a", max_tokens=1).choices


def check_limits(model):
    """A queue of none and one slot; a time that nothing long can keep."""
    server = Server(BIN / "morph", model, "--slots", 1, "--queue", 0, "--context", 100_000, "--max-tokens", 90_000, "--timeout-s", 3)
    client = client_of(server.url)
    stream = client.completions.create(model="model", prompt="a", max_tokens=90_000, temperature=0, stream=True)
    next(stream)
    assert "try again" in refused(429, client.completions.create, model="model", prompt="a")
    # Its time comes in the middle of the stream, as an event.
    try:
        for _ in stream:
            pass
        raise AssertionError("it ended in time")
    except openai.APIError as error:
        assert "longer than 3 s" in str(error), error
    assert "longer than 3 s" in refused(504, client.completions.create, model="model", prompt="a", max_tokens=90_000)
    # Signals: what is running has its time, which is short here, and nobody new is let in.
    stream = client.completions.create(model="model", prompt="a", max_tokens=90_000, temperature=0, stream=True)
    next(stream)
    assert server.stop() == 0
    server = Server(BIN / "morph", model, "--slots", 2, "--grace-s", 60)
    client = client_of(server.url)
    stream = client.completions.create(model="model", prompt="a", max_tokens=200, temperature=0, stream=True)
    next(stream)
    server.process.send_signal(signal.SIGTERM)
    pieces = list(stream)
    assert pieces[-1].choices[0].finish_reason == "length", pieces[-1]
    assert server.process.wait(60) == 0
    try:
        client.models.list()
        raise AssertionError("it still serves")
    except openai.APIConnectionError:
        pass


def check_engine_death(model):
    server = Server(BIN / "morph", model, "--slots", 1, "--context", 100_000, "--max-tokens", 90_000)
    stream = client_of(server.url).completions.create(model="model", prompt="a", max_tokens=90_000, stream=True)
    next(stream)
    engine = server.processes()[-1]
    assert "morph-run" in pathlib.Path(f"/proc/{engine}/comm").read_text()
    os.kill(engine, signal.SIGKILL)
    try:
        for _ in stream:
            pass
        raise AssertionError("the stream ended well")
    except openai.APIError as error:
        assert "the engine has ended" in str(error), error
    assert server.process.wait(60) == 1


def check_keys(folder, model):
    (folder / "key").write_text("a-long-secret\n")
    server = Server(BIN / "morph", model, "--api-key-file", folder / "key", "--slots", 1)
    assert client_of(server.url, "a-long-secret").models.list().data[0].id == "model"
    for key in ("a-long-secre", "a-long-secrets", "none"):
        assert "API key" in refused(401, client_of(server.url, key).models.list)
        assert "API key" in refused(401, client_of(server.url, key).completions.create, model="model", prompt="a")
    assert post(server.url, b"{}", {"Authorization": "a-long-secret"})[0] == 401
    assert server.stop() == 0


def check_refusals(folder, model):
    (folder / "short").write_text("x")
    taken = socket.create_server(("127.0.0.1", 0))
    for arguments, message in ((["--host", "0.0.0.0"], "--api-key-file"), (["--api-key-file", folder / "short"], "8 to 4096"),
                               (["--api-key-file", folder / "none"], "No such file"), (["--host", "no.such.host.invalid"], "--api-key-file"),
                               (["--port", taken.getsockname()[1]], "cannot listen on 127.0.0.1"), (["--port", 70000], "--port"),
                               (["--slots", 4096, "--context", 10**7], "are free"), (["--memory-limit", 1e-6], "are allowed"),
                               (["--slots", 0], "--slots"), (["--timeout-s", 0], "--timeout-s")):
        said = run("morph", "serve", model, *arguments, expect=2, timeout=120).stderr
        assert message in said, (arguments, said)
    assert "no such model folder" in run("morph", "serve", folder / "none", expect=2).stderr
    taken.close()


def check_load(model):
    """Many clients at once; the same script runs with 64 for ten minutes."""
    command = [sys.executable, SOURCE / "tools/python/bench/serve_load.py", "--model", model, "--morph", BIN / "morph", "--clients", "16",
               "--rounds", "3", "--prompts", "12", "--longest", "400", "--serve", "--context", "512", "--precision", "bf16"]
    told = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout + told.stderr
    result = json.loads(told.stdout)
    assert result["wrong"] == 0 and result["requests"] + result["hung_up"] == 48, result


def main():
    with tempfile.TemporaryDirectory() as holder:
        folder = pathlib.Path(holder)
        model = folder / "model"
        shutil.copytree(MODEL, model)
        (model / "chat_template.jinja").write_text(
            "{% for m in messages %}{% if m.role == 'fails' %}{{ raise_exception('no such role') }}{% endif %}{{ m.role }}: {{ m.content }}\n"
            "{% endfor %}assistant: ")
        check_refusals(folder, model)
        server = Server(BIN / "morph", model, "--slots", 2, "--queue", 2, "--context", 512, "--chunk", 64, "--max-body-kb", 32)
        client = client_of(server.url)
        check_answers(client, model)
        check_prefixes(client, server.url)
        check_errors(client, server.url)
        check_queue(client, server.url)
        assert server.stop() == 0
        check_limits(model)
        check_engine_death(model)
        check_keys(folder, model)
        check_load(model)


if __name__ == "__main__":
    main()
