# SPDX-License-Identifier: Apache-2.0
"""The engine: `morph-run serve` as a child, requests and answers as lines of JSON (runtime/serve/LineServer.h)."""

import asyncio
import ctypes
import itertools
import json
import signal


class EngineEnded(Exception):
    """The engine is not there any more; the message says how it ended."""


class RequestError(Exception):
    """The engine refuses a request; `hint` may be empty."""

    def __init__(self, message, hint=""):
        super().__init__(message)
        self.hint = hint


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Generation:
    """One request in the engine. Iterates over {"token", "logprob"}, then one {"finish", ...}."""

    def __init__(self, engine, number):
        self.engine, self.id = engine, number
        self.events = asyncio.Queue()
        self.is_over = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.is_over and self.events.empty():
            raise StopAsyncIteration
        event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return event

    def cancel(self):
        """Frees the slot. Later events are dropped."""
        if not self.is_over:
            self.is_over = True
            self.engine.forget(self.id)
            self.engine.send({"cancel": self.id})


class Engine:
    def __init__(self, command):
        self.command = command
        self.ready = None  # what the engine says of itself once it serves
        self.ended = asyncio.Event()
        self.exit_code = None
        self.running = {}
        self.numbers = itertools.count()
        self.stats_waiting = []

    async def start(self):
        """Waits until the engine serves. EngineEnded where it never does."""
        # A line of an event is short; asyncio's own limit is 64 KiB.
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, preexec_fn=die_with_parent)
        is_ready = asyncio.get_running_loop().create_future()
        self.reader = asyncio.create_task(self.read(is_ready))
        await is_ready

    async def read(self, is_ready):
        async for line in self.process.stdout:
            event = json.loads(line)
            if "ready" in event:
                self.ready = event["ready"]
                is_ready.set_result(None)
            elif "stats" in event:
                for waiting in self.stats_waiting:
                    if not waiting.done():
                        waiting.set_result(event["stats"])
                self.stats_waiting.clear()
            else:
                self.deliver(event)
        self.exit_code = await self.process.wait()
        error = EngineEnded(f"the engine has ended with exit code {self.exit_code}")
        if not is_ready.done():
            is_ready.set_exception(error)
        for generation in list(self.running.values()):
            generation.is_over = True
            generation.events.put_nowait(error)
        self.running.clear()
        for waiting in self.stats_waiting:
            if not waiting.done():
                waiting.set_exception(error)
        self.ended.set()

    def deliver(self, event):
        generation = self.running.get(event["id"])
        if generation is None:
            return
        if "token" not in event:
            generation.is_over = True
            self.forget(generation.id)
        generation.events.put_nowait(RequestError(event["error"], event["hint"]) if "error" in event else event)

    def forget(self, number):
        self.running.pop(number, None)

    def send(self, message):
        if self.process.stdin.is_closing() or self.ended.is_set():
            return
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def generate(self, **request):
        """Starts a request: tokens, max_tokens, temperature, top_p, seed, eos, keep_end."""
        if self.ended.is_set():
            raise EngineEnded(f"the engine has ended with exit code {self.exit_code}")
        generation = Generation(self, str(next(self.numbers)))
        self.running[generation.id] = generation
        self.send({"id": generation.id, **request})
        return generation

    async def stats(self):
        if self.ended.is_set():
            raise EngineEnded(f"the engine has ended with exit code {self.exit_code}")
        waiting = asyncio.get_running_loop().create_future()
        self.stats_waiting.append(waiting)
        self.send({"stats": True})
        return await waiting

    async def close(self):
        """Ends the engine: what is running is cancelled, and its exit code is given back."""
        for generation in list(self.running.values()):
            generation.cancel()
        if not self.process.stdin.is_closing():
            self.process.stdin.close()
        await self.ended.wait()
        return self.exit_code
