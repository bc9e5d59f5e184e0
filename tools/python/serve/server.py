# SPDX-License-Identifier: Apache-2.0
"""The HTTP front of `morph serve`, which starts it: OpenAI's completions and chat completions on the engine.

Exit status: 0 stopped by SIGTERM or SIGINT, 1 failed (the engine has ended), 2 wrong input.
"""

import argparse
import asyncio
import contextlib
import functools
import math
import os
import pathlib
import signal
import socket
import struct
import sys

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "text")]
try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    from api import Api, is_local
    from data.files import InputError, print_error
    from engine import Engine, EngineEnded
    from model_text import context_of, end_tokens, load_tokenizer
except ImportError as missing:
    print(f"morph: error: {missing}", file=sys.stderr)
    print("morph: hint: tools/setup makes an environment with tools/python/requirements.txt", file=sys.stderr)
    sys.exit(1)

LONGEST_KEY = 4096
# Seconds for answers that are cut to be written.
CUT_SECONDS = 5


def read_key(path):
    """The API key: a file's first line, else MORPH_API_KEY; None where there is none."""
    if path is None:
        key = os.environ.get("MORPH_API_KEY")
        where = "MORPH_API_KEY"
    else:
        try:
            with open(path, "rb") as file:
                key = file.read(LONGEST_KEY + 1).decode().split("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--api-key-file {path}: {error}") from error
        where = str(path)
    if key is None:
        return None
    if not 8 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"the API key of {where} must be 8 to {LONGEST_KEY} printable ASCII characters without spaces")
    return key


def listen(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.listen(128)
    return listener


class Connection(H11Protocol):
    """uvicorn's, which would wait for ever for a client that reads nothing of its answer; this one ends after `patience` s."""

    def __init__(self, patience, **options):
        super().__init__(**options)
        self.patience, self.timer = patience, None
        self.left = self.moved = 0  # bytes that are to be written, and since when they are as many

    def pause_writing(self):
        super().pause_writing()
        self.left = math.inf
        self.watch()

    def watch(self):
        left, now = self.transport.get_write_buffer_size(), self.loop.time()
        if left < self.left:
            self.left, self.moved = left, now
        if now - self.moved < self.patience:
            self.timer = self.loop.call_later(self.patience / 8, self.watch)
        else:
            # At once: the kernel would go on offering what it has.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def resume_writing(self):
        super().resume_writing()
        self.timer.cancel()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        if self.timer:
            self.timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's, whose signals are ours: it would end by them once it has shut down."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield


async def serve(arguments, folder, tokenizer, ends, key, listener):
    engine = Engine(arguments.engine)
    try:
        await engine.start()
    except EngineEnded as error:
        # It has said why.
        print(f"morph: {error}", file=sys.stderr)
        return 2 if engine.exit_code == 2 else 1
    limits = {"max_body": arguments.max_body_kb * 1000, "max_tokens": arguments.max_tokens,
              "sequences": arguments.max_sequences, "running": engine.ready["slots"] + arguments.queue, "timeout": arguments.timeout_s}
    api = Api(arguments.name or folder.resolve().name, folder, tokenizer, ends, engine, limits, key,
              arguments.keep_answers)
    config = uvicorn.Config(
        api.app, log_level="warning", access_log=False, lifespan="off", server_header=False, timeout_keep_alive=30,
        limit_concurrency=4 * limits["running"] + 64, h11_max_incomplete_event_size=64 << 10, ws="none",
        http=functools.partial(Connection, arguments.timeout_s), timeout_graceful_shutdown=int(arguments.grace_s) + CUT_SECONDS)
    server = Server(config)
    loop = asyncio.get_running_loop()

    def stop():
        if api.is_stopping:  # a second signal does not wait
            api.is_cut.set()
            server.force_exit = True
            return
        print("morph: stopping; what is running is finished", file=sys.stderr)
        api.is_stopping = server.should_exit = True
        loop.call_later(arguments.grace_s, api.is_cut.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)

    async def watch():
        await engine.ended.wait()
        server.should_exit = True

    watching = asyncio.create_task(watch())
    shown = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    print(f"morph: serving {api.name} on http://{shown}:{listener.getsockname()[1]}/v1 "
          f"({engine.ready['slots']} slots of {engine.ready['context']} tokens, {engine.ready['slot_bytes'] / 1e6:.1f} MB each)",
          flush=True)
    await server.serve(sockets=[listener])
    watching.cancel()
    if engine.ended.is_set():
        print(f"morph: error: the engine has ended with exit code {engine.exit_code}", file=sys.stderr)
        return 1
    return 0 if await engine.close() == 0 else 1


def number(kind, low):
    def read(text):
        value = kind(text)
        if not value >= low:
            raise argparse.ArgumentTypeError(f"must be {low} or more")
        return value

    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--api-key-file", type=pathlib.Path)
    parser.add_argument("--context", type=number(int, 0), default=0, help="0: the model's own")
    for option, kind, default in (("max-body-kb", int, 1024), ("max-tokens", int, 4096), ("max-sequences", int, 64),
                                  ("timeout-s", float, 600.0)):
        parser.add_argument(f"--{option}", type=number(kind, 1), default=default)
    for option, kind, default in (("queue", int, 64), ("grace-s", float, 20.0)):
        parser.add_argument(f"--{option}", type=number(kind, 0), default=default)
    parser.add_argument("--keep-answers", action="store_true")
    parser.add_argument("engine", nargs="+", help="the engine's command, without --context")
    arguments = parser.parse_args()
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        folder = arguments.model
        tokenizer = load_tokenizer(folder)
        ends = end_tokens(folder, tokenizer)
        context, note = context_of(folder, arguments.context)
        if note:
            print(f"morph: note: {note}", file=sys.stderr)
        arguments.engine += ["--context", str(context)]
        key = read_key(arguments.api_key_file)
        if not is_local(arguments.host) and key is None:
            raise InputError(f"--host {arguments.host} is open to others: give --api-key-file FILE, or set MORPH_API_KEY")
        if not 0 <= arguments.port <= 65535:
            raise InputError(f"--port {arguments.port} is none of 0 to 65535")
        # Before the engine reads its weights: who cannot listen need not wait.
        listener = listen(arguments.host, arguments.port)
    except InputError as error:
        print_error("morph", error)
        return 2
    return asyncio.run(serve(arguments, folder, tokenizer, ends, key, listener))


if __name__ == "__main__":
    sys.exit(main())
