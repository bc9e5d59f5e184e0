# SPDX-License-Identifier: Apache-2.0
"""Many clients at once against `morph serve`: is every token the one that greedy decoding of one request at a time gives, and
does memory stay flat?

    serve_load.py --model DIR --morph build/bin/morph [--clients 64] [--seconds 600 | --rounds N] [--prompts 48] [--serve ARGUMENT ...]

The prompts' answers are made first by `morph serve --slots 1 --prefix-cache-mb 0`, one after the other. Then clients of the
`openai` package ask for them again and again, half of them streaming, one in sixteen hanging up in the middle. A token that
differs is wrong.
Prints JSON: requests, tokens, wrong, tokens a second, and the memory of both processes over time. Exit status 1 where a token
is wrong or a request fails.
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

PYTHON = pathlib.Path(__file__).resolve().parents[1]
sys.path[1:1] = [str(PYTHON), str(PYTHON / "text")]
from data.files import model_folder
from model_text import load_tokenizer
from morph_data import exit_status

WORDS = "a hacker is one who enjoys exploring the details of programmable systems and how to stretch their capabilities".split()


class Server:
    """A server of its own, on a port that is free."""

    def __init__(self, morph, model, *arguments):
        self.process = subprocess.Popen([morph, "serve", model, "--port", "0", "--name", "model", *map(str, arguments)],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+/v1", line)
        if not found:
            raise SystemExit(f"serve_load: error: the server said {line!r} and ended with {self.process.wait()}")
        self.url = found[0]

    def processes(self):
        """Ids of the front and the engine."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found[1:]

    def resident(self):
        """Megabytes of each of them."""
        size = lambda pid: int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
        return [round(size(pid) / 1000, 1) for pid in self.processes()]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def make_prompts(tokenizer, count, most, seed):
    """Texts of different lengths, some of which share their beginnings, and how many tokens each asks for."""
    random.seed(seed)
    prompts = []
    for i in range(count):
        words = random.choices(WORDS, k=random.choice((3, 10, 30, 100)))
        if i % 3 == 2:
            words = prompts[i // 3][0].split() + words
        text = " ".join(words)
        while len(tokenizer.encode(text).ids) > most:
            text = text[:len(text) // 2]
        prompts.append((text, random.randrange(1, 64)))
    return prompts


async def ask(client, prompt, streams=False):
    """The texts of an answer's tokens."""
    text, count = prompt
    options = dict(model="model", prompt=text, max_tokens=count, temperature=0, logprobs=0)
    if not streams:
        answer = (await client.completions.create(**options)).choices[0]
        return answer.logprobs.tokens
    tokens = []
    async for piece in await client.completions.create(**options, stream=True):
        if piece.choices and piece.choices[0].logprobs:
            tokens += piece.choices[0].logprobs.tokens
    return tokens


async def ask_all(url, prompts):
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600, max_retries=0) as client:
        return [await ask(client, prompt) for prompt in prompts]


async def load(url, prompts, expected, arguments, server):
    import openai

    counts = {"requests": 0, "tokens": 0, "hung_up": 0, "failed": 0}
    wrong, memory, errors = [], [], []
    end = time.monotonic() + arguments.seconds
    is_over = asyncio.Event()

    async def run_client(number):
        draw = random.Random(number)
        async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600, max_retries=0) as client:
            rounds = 0
            while rounds < arguments.rounds if arguments.rounds else time.monotonic() < end:
                rounds += 1
                i = draw.randrange(len(prompts))
                try:
                    if draw.randrange(16) == 0:
                        stream = await client.completions.create(model="model", prompt=prompts[i][0], max_tokens=prompts[i][1],
                                                                 temperature=0, stream=True)
                        async for _ in stream:
                            break
                        await stream.close()
                        counts["hung_up"] += 1
                        continue
                    tokens = await ask(client, prompts[i], streams=draw.randrange(2) == 0)
                except Exception as error:
                    counts["failed"] += 1
                    errors.append(f"{type(error).__name__}: {error}"[:200])
                    continue
                counts["requests"] += 1
                counts["tokens"] += len(tokens)
                if tokens != expected[i]:
                    place = next((n for n, (a, b) in enumerate(zip(tokens, expected[i])) if a != b), min(len(tokens), len(expected[i])))
                    wrong.append({"prompt": i, "token": place, "of": len(expected[i]), "got": tokens[place:place + 1]})

    async def watch():
        begin = time.monotonic()
        while not is_over.is_set():
            memory.append([round(time.monotonic() - begin), *server.resident()])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), max(1, arguments.seconds / 20))

    watching = asyncio.create_task(watch())
    begin = time.monotonic()
    await asyncio.gather(*(run_client(i) for i in range(arguments.clients)))
    seconds = time.monotonic() - begin
    is_over.set()
    await watching
    memory.append([round(seconds), *server.resident()])
    return {**counts, "wrong": len(wrong), "first_wrong": wrong[:5], "first_errors": errors[:5], "seconds": round(seconds, 1),
            "tokens_per_second": round(counts["tokens"] / seconds, 1), "memory_mb": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--morph", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rounds", type=int, default=0, help="requests of a client, instead of the time")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--longest", type=int, default=900, help="tokens of a prompt at most")
    parser.add_argument("--prefix-cache-mb", type=int, default=512, help="of the server with many clients; what is kept changes "
                        "no token, as chunks behind it are cut as they are without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="arguments of both servers, at the end")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(model_folder(arguments.model))
    prompts = make_prompts(tokenizer, arguments.prompts, arguments.longest, arguments.seed)
    alone = Server(arguments.morph, arguments.model, "--slots", 1, "--prefix-cache-mb", 0, *arguments.serve)
    expected = asyncio.run(ask_all(alone.url, prompts))
    stopped = [alone.stop()]
    server = Server(arguments.morph, arguments.model, "--slots", 16, "--prefix-cache-mb", arguments.prefix_cache_mb,
                    "--queue", 4 * arguments.clients, *arguments.serve)
    result = asyncio.run(load(server.url, prompts, expected, arguments, server))
    stopped.append(server.stop())
    print(json.dumps({**result, "exit_codes": stopped}, indent=2))
    sys.exit(int(result["wrong"] > 0 or result["failed"] > 0 or any(stopped) or result["requests"] == 0))


if __name__ == "__main__":
    sys.exit(exit_status("serve_load", main))
