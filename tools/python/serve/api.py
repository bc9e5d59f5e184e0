# SPDX-License-Identifier: Apache-2.0
"""The routes: OpenAI's /v1/models, /v1/completions and /v1/chat/completions; /health and /metrics."""

import asyncio
import contextlib
import dataclasses
import hashlib
import hmac
import ipaddress
import json

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from answers import ChatCompletion, Completion, TokenTexts
from api_requests import ApiError, read_generation, read_messages, read_prompts, read_variables
from choices import Choice, Piece, Prompt, find_offsets, text_offsets
from data.files import InputError
from engine import EngineEnded, RequestError
from model_text import decode_whole, encode, encode_text, render_chat


def is_local(host):
    """Whether a host's name is this machine by itself."""
    if host in ("localhost", ""):
        return host == "localhost"
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Api:
    """What the routes share. `limits`: max_body (bytes), max_tokens, sequences (of one request), running (sequences of all,
    queued ones among them), timeout (s). With `keeps_answers` a chat's next turn begins where its last answer has ended, the
    same but for rounding."""

    def __init__(self, name, folder, tokenizer, ends, engine, limits, key=None, keeps_answers=False):
        self.name, self.folder, self.tokenizer, self.ends = name, folder, tokenizer, ends
        self.engine, self.limits, self.keeps_answers = engine, limits, keeps_answers
        self.key = None if key is None else hashlib.sha256(key.encode()).digest()
        self.texts = TokenTexts(tokenizer, ends)
        self.running = 0  # sequences
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
        given = read_prompts(body)
        self.check_sequences(len(given), options.n)

        def read(prompt):
            tells = options.echo and options.logprobs is not None
            if isinstance(prompt, str):
                encoding = encode(self.folder, self.tokenizer, prompt)
                return Prompt(encoding.ids, prompt, text_offsets(encoding) if tells else [])
            # A character that the prompt ends inside is the answer's.
            text = decode_whole(self.tokenizer, prompt) if options.echo else ""
            return Prompt(prompt, text, find_offsets(self.tokenizer, prompt) if tells else [])

        prompts = {}
        for param, prompt in given.items():
            if not isinstance(prompt, str):
                self.check_tokens(param, prompt)
            prompts[param] = await self.encode(param, read, prompt)
        return await self.answer(request, Completion(self.name, self.texts), prompts, options)

    async def chat_completions(self, request):
        self.check_access(request)
        body = await self.read_body(request)
        self.check_model(body.get("model"))
        options = read_generation(body, is_chat=True)
        messages, variables = read_messages(body), read_variables(body)
        self.check_sequences(1, options.n)

        def read():
            return Prompt(encode_text(self.folder, self.tokenizer, render_chat(self.folder, messages, variables), special=False))

        prompts = {"messages": await self.encode("messages", read)}
        return await self.answer(request, ChatCompletion(self.name, self.texts), prompts, options)

    async def encode(self, param, function, *arguments):
        """A prompt, made beside the loop."""
        try:
            return await asyncio.to_thread(function, *arguments)
        except InputError as error:
            # Where the model lies is nobody's business.
            raise ApiError(400, str(error).replace(str(self.folder), self.name), param, "invalid_value") from None

    def check_sequences(self, prompts, n):
        """Refuses a request of more sequences than one may have, or than there is ever room for."""
        count, param = prompts * n, "n" if prompts == 1 else "prompt"
        asked = f"{prompts} prompts with n = {n} are {count} sequences"
        if count > self.limits["sequences"]:
            raise ApiError(400, f"{asked}, a request may have {self.limits['sequences']} (--max-sequences)", param, "invalid_value")
        if count > self.limits["running"]:
            raise ApiError(400, f"{asked}, {self.limits['running']} can run or wait (--slots, --queue)", param, "invalid_value")

    def check_tokens(self, param, tokens):
        most = self.engine.ready["vocabulary"]
        for token in tokens:
            if not 0 <= token < most:
                raise ApiError(400, f"'{param}': token {token} is none of the model's {most}", param, "invalid_value")

    def count_tokens(self, param, prompt, options):
        """How many tokens an answer may have: what the request asks for, else what there is room for."""
        room = self.engine.ready["context"] - len(prompt)
        if room < (0 if options.max_tokens == 0 else 1):
            raise ApiError(400, f"the prompt has {len(prompt)} tokens, which leaves no room in a context of "
                           f"{self.engine.ready['context']} (--context)", param, "context_length_exceeded")
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

    async def answer(self, request, shape, prompts, options):
        """The answers to prompts, which have the parameter's names for them: n to each, those of a prompt behind those of the
        one before."""
        counts = [self.count_tokens(param, prompt.tokens, options) for param, prompt in prompts.items()]
        if self.is_stopping:
            raise ApiError(503, "the server is shutting down", None, "shutting_down")
        sequences, choices, is_chat = [], [], isinstance(shape, ChatCompletion)
        for prompt, count in zip(prompts.values(), counts):
            # Of a prompt that is only echoed nothing else is to be computed, and its tokens' logarithms are what that is for.
            scores = options.echo and (options.logprobs is not None or count == 0)
            for answer in range(options.n):
                sequences.append({
                    "tokens": prompt.tokens, "max_tokens": count, "temperature": options.temperature, "top_p": options.top_p,
                    "seed": options.seed_of(answer), "eos": self.ends, "top_logprobs": options.logprobs or 0, "prompt_logprobs": scores,
                    "keep_end": self.keeps_answers and is_chat})
                choices.append(Choice(len(choices), prompt, self.texts, self.ends, options, not is_chat))
        if self.running + len(sequences) > self.limits["running"]:
            raise ApiError(429, f"{self.running} sequences are running or waiting, there is room for {self.limits['running']} "
                           "(--slots, --queue); try again", None, "queue_full")
        deadline = asyncio.get_running_loop().time() + self.limits["timeout"]
        generation = self.engine.generate(sequences)
        self.running += len(sequences)
        release = self.releaser(generation, len(sequences), deadline)
        pieces = self.stream(choices, generation, release, deadline)
        has_logprobs = options.logprobs is not None
        try:
            # The first event says whether there is an answer at all: its errors have a status of their own.
            piece = await self.unless_disconnected(request, anext(pieces))
            if not options.stream:
                whole = [Piece(choice.index, "", []) for choice in choices]
                while piece is not None:
                    one = whole[piece.index]
                    one.text += piece.text
                    one.tokens += piece.tokens
                    one.reason = piece.reason
                    piece = await self.unless_disconnected(request, anext(pieces))
                # What is told of every token of long prompts takes a while to be written.
                return await asyncio.to_thread(lambda: JSONResponse(shape.whole(whole, has_logprobs, self.usage(choices))))
        except BaseException:
            release()
            await pieces.aclose()
            raise
        return StreamingResponse(self.send(shape, choices, piece, pieces, options), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    def releaser(self, generation, count, deadline):
        """Gives back the places among the sequences and the slots, once: when it is called, or at the deadline. By then an answer
        may wait for its client to read on, of which nothing else comes to know."""
        is_released = False

        def release():
            nonlocal is_released
            timer.cancel()
            if not is_released:
                is_released = True
                generation.cancel_all()
                self.running -= count

        timer = asyncio.get_running_loop().call_at(deadline, release)
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

    async def stream(self, choices, generation, release, deadline):
        """Pieces of all choices as they come, then None. Whatever ends it frees the slots."""
        try:
            while not all(choice.is_over for choice in choices):
                index, event = await self.next_event(generation, deadline)
                piece = choices[index].take(event)
                if choices[index].is_over:  # by a stop string of which the engine knows nothing
                    generation.cancel(index)
                if piece is not None:
                    yield piece
            yield None
        except RequestError as error:
            raise ApiError(400 if error.is_invalid else 500, f"{error}{'; ' + error.hint if error.hint else ''}") from None
        finally:
            release()

    async def next_event(self, generation, deadline):
        """The next event of a request, unless its time, or the server's, is over."""
        event = asyncio.ensure_future(anext(generation))
        cut = asyncio.ensure_future(self.is_cut.wait())
        try:
            time = asyncio.get_running_loop().time
            await asyncio.wait((event, cut), timeout=deadline - time(), return_when=asyncio.FIRST_COMPLETED)
            # Beyond its time a request is cancelled, and that it has ended so is no answer.
            is_late = time() >= deadline
            if event.done() and (not is_late or event.exception()):
                return event.result()
            if cut.done() and not is_late:
                raise ApiError(503, "the server is shutting down", None, "shutting_down")
            raise ApiError(504, f"the answer took longer than {self.limits['timeout']:g} s (--timeout-s)", None, "timeout")
        finally:
            for task in (event, cut):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

    @staticmethod
    def usage(choices):
        """The tokens of all choices; those of a prompt once, however many answers it has."""
        prompts = {id(choice.prompt): choice for choice in reversed(choices)}.values()  # of each the first answer
        read, written = sum(len(choice.prompt.tokens) for choice in prompts), sum(choice.count for choice in choices)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
                "prompt_tokens_details": {"cached_tokens": sum(choice.cached for choice in prompts)}}

    async def send(self, shape, choices, piece, pieces, options):
        """Server-sent events, from the first piece on. An error after that is an event, too."""
        line = lambda body: f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
        has_logprobs = options.logprobs is not None
        try:
            for choice in choices:
                if shape.first(choice.index) is not None:
                    yield line(shape.first(choice.index))
            while piece is not None:
                # A reason has an event of its own, behind all text.
                if piece.reason is None or piece.text or (has_logprobs and piece.tokens):
                    yield line(shape.piece(dataclasses.replace(piece, reason=None), has_logprobs))
                if piece.reason is not None:
                    yield line(shape.piece(Piece(piece.index, "", [], piece.reason), has_logprobs=False))
                piece = await anext(pieces)
            if options.includes_usage:
                yield line(shape.usage_piece(self.usage(choices)))
            yield "data: [DONE]\n\n"
        except ApiError as error:
            yield line(error.body())
        except EngineEnded as error:
            yield line(ApiError(500, str(error)).body())
        finally:
            await pieces.aclose()
