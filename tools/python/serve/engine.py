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
    """A request ends without an answer: what it asks for is invalid, or the model has failed. `hint` may be empty."""

    def __init__(self, message, hint, is_invalid):
        super().__init__(message)
        self.hint, self.is_invalid = hint, is_invalid


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Generation:
    """Sequences in the engine that one caller waits for. Iterates over (index of the sequence, event): of each
    {"prompt_token", "logprob"} where it asks for them, {"token", "logprob"}, then one {"finish", ...}."""

    def __init__(self, engine):
        self.engine = engine
        self.events = asyncio.Queue()
        self.running = {}  # the engine's name of each sequence that is not over, by its index

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.running and self.events.empty():
            raise StopAsyncIteration
        index, event = await self.events.get()
        if isinstance(event, Exception):
            raise event
        return index, event

    def cancel(self, index):
        """Frees a sequence's slot, and has it end there. Events that it has given already are still told."""
        if index in self.running:
            name = self.running.pop(index)
            self.engine.forget(name)
            self.engine.send({"cancel": name})
            self.events.put_nowait((index, {"finish": "cancelled"}))

    def cancel_all(self):
        """Frees all slots."""
        for index in list(self.running):
            self.cancel(index)


class Engine:
    def __init__(self, command):
        self.command = command
        self.ready = None  # what the engine says of itself once it serves
        self.ended = asyncio.Event()
        self.exit_code = None
        self.running = {}  # (generation, index) of each sequence by its name
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
        for generation, index in self.running.values():
            generation.running.clear()
            generation.events.put_nowait((index, error))
        self.running.clear()
        for waiting in self.stats_waiting:
            if not waiting.done():
                waiting.set_exception(error)
        self.ended.set()

    def deliver(self, event):
        if event["id"] not in self.running:
            return
        generation, index = self.running[event["id"]]
        if "finish" in event or "error" in event:
            del generation.running[index]
            self.forget(event["id"])
        if "error" in event:
            event = RequestError(event["error"], event["hint"], event["kind"] == "invalid")
        generation.events.put_nowait((index, event))

    def forget(self, name):
        self.running.pop(name, None)

    def send(self, message):
        if self.process.stdin.is_closing() or self.ended.is_set():
            return
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def generate(self, sequences):
        """Starts sequences, each an object: tokens, max_tokens, temperature, top_p, seed, eos, keep_end, top_logprobs,
        prompt_logprobs (LineServer.h)."""
        if self.ended.is_set():
            raise EngineEnded(f"the engine has ended with exit code {self.exit_code}")
        generation = Generation(self)
        for index, sequence in enumerate(sequences):
            name = str(next(self.numbers))
            self.running[name] = generation, index
            generation.running[index] = name
            self.send({"id": name, **sequence})
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
        for generation, _ in list(self.running.values()):
            generation.cancel_all()
        if not self.process.stdin.is_closing():
            self.process.stdin.close()
        await self.ended.wait()
        return self.exit_code
