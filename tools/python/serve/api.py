# SPDX-License-Identifier: Apache-2.0
"""The routes: OpenAI's /v1/models, /v1/completions and /v1/chat/completions; /health and /metrics."""

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import json

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from answers import ChatCompletion, Completion, TextStream
from engine import EngineEnded, RequestError
from model_text import InputError, encode_text, render_chat
from api_requests import ApiError, read_generation, read_messages, read_prompt


def is_local(host):
    """Whether a host's name is this machine by itself."""
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Api:
    """What the routes share. `limits`: max_body (bytes), max_tokens, requests (running and queued), timeout (s). With
    `keeps_answers` a chat's next turn begins where its last answer has ended, the same but for rounding."""

    def __init__(self, name, folder, tokenizer, ends, engine, limits, key=None, keeps_answers=False):
        self.name, self.folder, self.tokenizer, self.ends = name, folder, tokenizer, ends
        self.engine, self.limits, self.keeps_answers = engine, limits, keeps_answers
        self.key = None if key is None else hashlib.sha256(key.encode()).digest()
        self.running = 0
        self.is_stopping = False
        self.is_cut = asyncio.Event()  # the time for what was running is over
        self.app = Starlette(
            routes=[Route("/health", self.health), Route("/metrics", self.metrics), Route("/v1/models", self.models),
                    Route("/v1/models/{name:path}", self.model),
                    Route("/v1/completions", self.completions, methods=["POST"]),
                    Route("/v1/chat/completions", self.chat_completions, methods=["POST"])],
            exception_handlers={ApiError: self.show_error, HTTPException: self.show_http_error,
                                EngineEnded: self.show_engine_error, Exception: self.show_fault})

    async def show_error(self, request, error):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {"Retry-After": "1"} if error.status == 429 else {}
        # What is left of a body that was not read would be taken for the next request.
        if error.status in (408, 413):
            headers["Connection"] = "close"
        return JSONResponse(error.body(), error.status, headers)

    async def show_http_error(self, request, error):
        return JSONResponse(ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}").body(), error.status_code)

    async def show_engine_error(self, request, error):
        return JSONResponse(ApiError(500, str(error)).body(), 500)

    async def show_fault(self, request, error):
        return JSONResponse(ApiError(500, "the server has made a mistake; its terminal says which").body(), 500)

    def check_access(self, request):
        if self.key is None:
            # A page of a browser may have a name of its own lead to this machine.
            if not is_local(request.url.hostname or ""):
                raise ApiError(403, f"the host '{request.url.hostname}' is not this machine's own name", None, "forbidden_host")
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(key.strip().encode()).digest()
        if not hmac.compare_digest(given, self.key) or scheme.lower() != "bearer":
            raise ApiError(401, "wrong or missing API key: expected 'Authorization: Bearer KEY'", None, "invalid_api_key")

    async def health(self, request):
        if self.engine.ended.is_set() or self.is_stopping:
            return JSONResponse({"status": "stopping"}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, request):
        self.check_access(request)
        stats = await self.engine.stats()
        now = ("running", "queued", "cache_bytes", "cache_entries")
        lines = []
        for name, value in stats.items():
            metric = f"morph_{name}" if name in now else f"morph_{name}_total"
            lines += [f"# TYPE {metric} {'gauge' if name in now else 'counter'}", f"{metric} {value}"]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    def describe(self):
        return {"id": self.name, "object": "model", "created": 0, "owned_by": "morph"}

    async def models(self, request):
        self.check_access(request)
        return JSONResponse({"object": "list", "data": [self.describe()]})

    async def model(self, request):
        self.check_access(request)
        self.check_model(request.path_params["name"])
        return JSONResponse(self.describe())

    def check_model(self, name):
        if name is None:
            raise ApiError(400, f"'model' is missing: '{self.name}'", "model", "missing")
        if name != self.name:
            raise ApiError(404, f"there is no model '{str(name)[:100]}', only '{self.name}'", "model", "model_not_found")

    async def read_body(self, request):
        """The JSON object of a request's body."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(415, "expected Content-Type: application/json", None, "unsupported_media_type")
        most = self.limits["max_body"]
        too_large = ApiError(413, f"the body has more than {most} bytes (--max-body-kb)", None, "body_too_large")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.limits["timeout"]):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise too_large
                    parts.append(part)
        except TimeoutError:
            raise ApiError(408, "the body did not come in time", None, "timeout") from None
        try:
            body = json.loads(b"".join(parts))
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body is no JSON: {' '.join(str(error).split())[:200]}", None, "invalid_json") from None
        if not isinstance(body, dict):
            raise ApiError(400, "the body must be a JSON object", None, "invalid_json")
        return body

    async def completions(self, request):
        self.check_access(request)
        body = await self.read_body(request)
        self.check_model(body.get("model"))
        options = read_generation(body, is_chat=False)
        prompt = read_prompt(body)
        if isinstance(prompt, str):
            prompt = await self.encode("prompt", encode_text, self.folder, self.tokenizer, prompt)
        return await self.answer(request, Completion(self.name, self.tokenizer), prompt, options)

    async def chat_completions(self, request):
        self.check_access(request)
        body = await self.read_body(request)
        self.check_model(body.get("model"))
        options = read_generation(body, is_chat=True)
        messages = read_messages(body)

        def tokens():
            return encode_text(self.folder, self.tokenizer, render_chat(self.folder, messages), special=False)

        prompt = await self.encode("messages", tokens)
        return await self.answer(request, ChatCompletion(self.name, self.tokenizer), prompt, options)

    async def encode(self, param, function, *arguments):
        """Tokens of a text, made beside the loop."""
        try:
            return await asyncio.to_thread(function, *arguments)
        except InputError as error:
            # Where the model lies is nobody's business.
            raise ApiError(400, str(error).replace(str(self.folder), self.name), param, "invalid_value") from None

    def count_tokens(self, prompt, options):
        """How many tokens a request may have: what it asks for, else what there is room for."""
        room = self.engine.ready["context"] - len(prompt)
        if room < 1:
            raise ApiError(400, f"the prompt has {len(prompt)} tokens, which leaves no room in a context of "
                           f"{self.engine.ready['context']} (--context)", "prompt", "context_length_exceeded")
        most = self.limits["max_tokens"]
        if options.max_tokens is None:
            return min(room, most)
        if options.max_tokens > most:
            raise ApiError(400, f"max_tokens is {options.max_tokens}, at most {most} can be asked for (--max-tokens)", "max_tokens",
                           "invalid_value")
        if options.max_tokens > room:
            raise ApiError(400, f"the prompt has {len(prompt)} tokens and asks for {options.max_tokens} more, a context has "
                           f"{self.engine.ready['context']} (--context)", "max_tokens", "context_length_exceeded")
        return options.max_tokens

    async def answer(self, request, shape, prompt, options):
        count = self.count_tokens(prompt, options)
        if self.is_stopping:
            raise ApiError(503, "the server is shutting down", None, "shutting_down")
        if self.running >= self.limits["requests"]:
            raise ApiError(429, f"{self.running} requests are running or waiting (--slots, --queue); try again", None, "queue_full")
        generation = self.engine.generate(
            tokens=prompt, max_tokens=count, temperature=options.temperature, top_p=options.top_p, seed=options.seed,
            eos=self.ends, keep_end=self.keeps_answers and isinstance(shape, ChatCompletion))
        self.running += 1
        release = self.releaser(generation)
        pieces = self.stream(prompt, generation, options, release)
        try:
            # The first event says whether there is an answer at all: its errors have a status of their own.
            first = await self.unless_disconnected(request, anext(pieces))
            if not options.stream:
                texts, tokens = [], []
                piece = first
                while not isinstance(piece, End):
                    texts.append(piece.text)
                    tokens += piece.tokens
                    piece = await self.unless_disconnected(request, anext(pieces))
                texts.append(piece.text)
                tokens += piece.tokens
                return JSONResponse(shape.whole("".join(texts), piece.reason, tokens if options.has_logprobs else None, piece.usage))
        except BaseException:
            release()
            await pieces.aclose()
            raise
        return StreamingResponse(self.send(shape, first, pieces, options), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    def releaser(self, generation):
        """Gives back a place among the requests and the slot, once."""
        is_released = False

        def release():
            nonlocal is_released
            if not is_released:
                is_released = True
                generation.cancel()
                self.running -= 1

        return release

    async def unless_disconnected(self, request, awaitable):
        """Its result, unless the client goes first."""
        work = asyncio.ensure_future(awaitable)
        gone = asyncio.ensure_future(self.wait_for_disconnect(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ApiError(499, "the client has gone")
        finally:
            for task in (work, gone):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task

    async def wait_for_disconnect(self, request):
        while (await request.receive())["type"] != "http.disconnect":
            pass

    async def stream(self, prompt, generation, options, release):
        """Pieces of an answer, and its End. Whatever ends it frees the slot."""
        text = TextStream(self.tokenizer, self.ends, options.stop)
        try:
            sent = 0
            tokens = []
            deadline = asyncio.get_running_loop().time() + self.limits["timeout"]
            while True:
                event = await self.next_event(generation, deadline)
                if "token" not in event:
                    reason = event["finish"]
                    usage = self.usage(event["prompt_tokens"], event["tokens"], event["cached_tokens"])
                    yield End(text.finish(), tokens, reason, usage)
                    return
                sent += 1
                tokens.append((event["token"], event["logprob"]))
                piece = text.add(event["token"])
                if text.has_stopped:
                    yield End(piece, tokens, "stop", self.usage(len(prompt), sent, 0))
                    return
                if piece or sent == 1:
                    yield Piece(piece, tokens)
                    tokens = []
        except RequestError as error:
            raise ApiError(400, f"{error}{'; ' + error.hint if error.hint else ''}") from None
        finally:
            release()

    async def next_event(self, generation, deadline):
        """The next event of a request, unless its time, or the server's, is over."""
        event = asyncio.ensure_future(anext(generation))
        cut = asyncio.ensure_future(self.is_cut.wait())
        try:
            await asyncio.wait((event, cut), timeout=deadline - asyncio.get_running_loop().time(),
                               return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                return event.result()
            if cut.done():
                raise ApiError(503, "the server is shutting down", None, "shutting_down")
            raise ApiError(504, f"the answer took longer than {self.limits['timeout']:g} s (--timeout-s)", None, "timeout")
        finally:
            for task in (event, cut):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    @staticmethod
    def usage(prompt, tokens, cached):
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens,
                "prompt_tokens_details": {"cached_tokens": cached}}

    async def send(self, shape, first, pieces, options):
        """Server-sent events. An error after the first one is an event, too."""
        line = lambda body: f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
        probabilities = lambda piece: piece.tokens if options.has_logprobs else None
        try:
            if shape.first() is not None:
                yield line(shape.first())
            piece = first
            while not isinstance(piece, End):
                yield line(shape.piece(piece.text, tokens=probabilities(piece)))
                piece = await anext(pieces)
            if piece.text or (options.has_logprobs and piece.tokens):
                yield line(shape.piece(piece.text, tokens=probabilities(piece)))
            yield line(shape.piece("", piece.reason))
            if options.includes_usage:
                yield line(shape.usage_piece(piece.usage))
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield line(error.body())
        except EngineEnded as error:
            yield line(ApiError(500, str(error)).body())
        finally:
            await pieces.aclose()


class Piece:
    """Some text of an answer, and the tokens since the last piece."""

    def __init__(self, text, tokens):
        self.text, self.tokens = text, tokens


class End(Piece):
    """The last of it."""

    def __init__(self, text, tokens, reason, usage):
        super().__init__(text, tokens)
        self.reason, self.usage = reason, usage
