# SPDX-License-Identifier: Apache-2.0
"""morph-lsp-server through its protocol: a real process, JSON-RPC on its standard input and output. A section a feature:
life cycle, `.morph`, specs, MLIR, hostile input."""

import json
import os
import pathlib
import queue
import signal
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

    def assert_alive(self, client=None):
        self.assertEqual((client or self.client).exit(), 0)


class LifeCycle(LspTest):
    def test_capabilities_are_those_of_all_languages(self):
        for name in ["hoverProvider", "completionProvider", "definitionProvider", "documentSymbolProvider",
                     "documentFormattingProvider", "referencesProvider"]:
            self.assertTrue(self.capabilities.get(name), name)
        self.assertEqual(self.capabilities["textDocumentSync"]["change"], 1)
        triggers = self.capabilities["completionProvider"]["triggerCharacters"]
        self.assertTrue({"[", "%"} <= set(triggers), triggers)

    def test_exit_codes(self):
        self.assertEqual(self.client.exit(), 0)
        client = self.start()
        client.initialize()
        self.assertEqual(client.exit(shutdown=False), 1)
        client = self.start("--stdio")
        client.initialize()
        client.process.stdin.close()
        self.assertEqual(client.process.wait(timeout=SECONDS), 1)

    def test_requests_out_of_order(self):
        client = self.start()
        self.assertEqual(client.ask("textDocument/hover")["error"]["code"], -32002)
        client.initialize()
        self.assertEqual(client.ask("initialize")["error"]["code"], -32600)
        client.ask("shutdown")
        self.assertEqual(client.ask("textDocument/hover")["error"]["code"], -32600)

    def test_unknown_methods_and_documents(self):
        error = self.client.ask("textDocument/brew")["error"]
        self.assertEqual(error["code"], -32601)
        self.assertIn("textDocument/brew", error["message"])
        self.client.send(method="textDocument/brewing", params={})
        error = self.client.ask("textDocument/hover", textDocument={"uri": "file:///nowhere.morph"},
                                position={"line": 0, "character": 0})["error"]
        self.assertEqual(error["code"], -32602)
        self.client.send(method="textDocument/didClose", params={"textDocument": {"uri": "file:///nowhere.morph"}})
        self.assert_alive()

    def test_usage(self):
        done = subprocess.run([BIN / "morph-lsp-server", "--brew"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("usage:", done.stderr)


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


class Morph(LspTest):
    def open(self, text, uri="file:///mixers/small.morph"):
        return Document(self.client, uri, "morph", text)

    # Diagnostics

    def test_an_error_with_note_and_hint(self):
        document = self.open(GOOD.replace("return base_o(z)", "return base_o(y)"))
        [problem] = document.problems()
        self.assertEqual(problem["severity"], 1)
        self.assertEqual(problem["source"], "morph")
        self.assertIn("'y' of 'base_o'", problem["message"])
        self.assertEqual(document.get_text(problem["range"]), "y")
        [note] = problem["relatedInformation"]
        self.assertEqual(note["location"]["uri"], document.uri)
        self.assertEqual(note["location"]["range"]["start"]["line"], document.text[:document.text.index("y = ")].count("\n"))

    def test_errors_come_and_go(self):
        document = self.open(GOOD)
        self.assertEqual(document.problems(), [])
        document.change(GOOD.replace("= chunk)", "= chunks)"))
        [problem] = document.problems()
        self.assertIn("'chunks' is not declared", problem["message"])
        self.assertIn("did you mean 'chunk'?", problem["message"])
        document.change(GOOD)
        self.assertEqual(document.problems(), [])

    def test_closing_clears(self):
        document = self.open("mixer {")
        self.assertTrue(document.problems())
        document.close()
        self.assert_alive()
        self.assertEqual([params["diagnostics"] for params in self.client.published[document.uri]][-1], [])

    def test_malformed_lines_are_reported_alone(self):
        # The value of the malformed line is missed in the next ones, and the weight is not used.
        document = self.open(GOOD.replace("q = base_q(x)", "q = base_q(x"))
        self.assertEqual(len(document.problems()), 1)

    def test_only_the_last_of_many_changes_is_looked_at(self):
        document = self.open(GOOD)
        for _ in range(20):
            document.change(GOOD.replace("gated {", "gatet {"))
        document.change(GOOD)
        self.assertEqual(document.problems(), [])
        self.assertLess(len(self.client.published[document.uri]), 20)

    def test_columns_are_code_units_of_utf16(self):
        document = self.open("mixer a() { // 𝄞\n  doc \"𝄞é\" return x }\n")
        problem = document.problems()[0]
        self.assertEqual(document.get_text(problem["range"]), "return")
        self.assertEqual(problem["range"]["start"]["character"], 12)

    # Hover

    def test_hover(self):
        document = self.open(GOOD)
        for pattern, words in {
            "base|_q(x)": ["base_q(x [M]) -> [H, D]", "the base's query projection", "Here it gives an activation [H, D]"],
            "recur|rence(": ["chunk number = 64", "a linear attention's state"],
            "chunk| = chunk": ["chunk number = 64"],
            "merge(y|)": ["an activation [H, D]", "y = recurrence("],
            "merge(y) |+": ["This is an activation [H * D]"],
            "|q * exp": ["an activation [H, D]", "q = base_q(x)"],
            "{\n    |q =": ["an activation [H, D]", "q = q * exp"],
            "expand(ra|tes": ["weight rates [h: H] = log(1 + h) if gated", "A weight [H]", "only if `gated`"],
            "(x, co|py)": ["A weight [H * D, M], never trained"],
            "chunk = ch|unk": ["chunk: 1..1024 = 64", "An option"],
            "if ga|ted {": ["gated: bool = true"],
            "dim |K": ["a size"],
            "= |D / 2": ["elements of a head"],
            "base_q(|x)": ["an activation [M]", "The mixer's input"],
            "log(1 + |h)": ["The index along `H`"],
            "= lo|g(1": ["log(x [*] | weight [*]) -> [*]", "of each element"],
            "|require": ["what must hold of the model"],
            "fro|zen": ["never trained"],
            "base.q_pr|oj.weight": ["A weight [H * D, M] of the base"],
            "mixer sm|all": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example", "From: nowhere"],
        }.items():
            with self.subTest(pattern):
                text = document.hover(pattern)
                self.assertIsNotNone(text)
                for word in words:
                    self.assertIn(word, text)
        self.assertIsNone(document.hover("A mix|er."))

    def test_hover_over_facts_of_the_base(self):
        text = GOOD.replace("if gated {", "if base.qk_norm {").replace("= log(1 + h) if gated", "= 1 if base.qk_norm")
        document = self.open(text)
        self.assertIn("a condition", document.hover("if base.qk_|norm {"))
        self.assertIn("normalises each head's queries and keys", document.hover("if base.qk_|norm {"))

    def test_hover_and_range_behind_characters_beyond_the_bmp(self):
        text = "mixer a() {\n  doc \"𝄞𝄞\" // 𝄞\n  /**/\n  return x\n}\n".replace("  /**/\n", "")
        document = self.open(text)
        result = document.ask("hover", "return |x")
        self.assertEqual(document.get_text(result["range"]), "x")
        document = self.open("mixer a() { return /* */ x }".replace("/* */", "x *"), "file:///b.morph")
        self.assertIn("[M]", document.hover("* |x"))

    def test_errors_elsewhere_do_not_matter(self):
        document = self.open(GOOD.replace("z = merge(y)", "z = merge(y"))
        self.assertTrue(document.problems())
        self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
        self.assertIn("A weight [H]", document.hover("expand(ra|tes"))

    def test_a_broken_head_falls_back_to_the_text_before(self):
        document = self.open(GOOD)
        self.assertEqual(document.problems(), [])
        document.change(GOOD.replace("chunk: 1..1024 = 64", "chunk: 1..1024 = 64, other:"))
        self.assertTrue(document.problems())
        self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
        self.assertEqual(document.get_text(document.define("recurrence(|q")["range"]), "q")
        self.assertIn("rates", document.complete("expand(|rates"))

    # Completion

    def test_completion_where_a_statement_begins(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("  z = ", "  |\n  z = "))
        self.assertTrue({"if", "return", "weight", "q", "y"} <= set(items), list(items))
        self.assertFalse({"base_q", "chunk", "z", "x"} & set(items), list(items))
        items = document.complete_typed(GOOD + "\nmi|")
        self.assertEqual(list(items), ["mixer", "arch"])
        self.assertEqual(items["mixer"]["textEdit"]["range"]["start"]["character"], 0)

    def test_completion_in_values(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("  z = ", "  w = ba|\n  z = "))
        self.assertTrue({"base_q", "silu", "x", "q", "y", "copy", "K", "H", "chunk", "base.layer"} <= set(items))
        self.assertFalse({"z", "w", "if", "h", "base.q_proj.weight"} & set(items), list(items))
        self.assertIn("[H, D]", items["y"]["detail"])
        self.assertEqual(items["silu"]["kind"], 3)
        self.assertEqual(document.get_text(items["base_q"]["textEdit"]["range"]), "ba")

    def test_completion_of_arguments_by_name(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("chunk = chunk)", "chunk = chunk, |)"))
        self.assertTrue({"decay =", "beta =", "scale ="} <= set(items), list(items))
        self.assertNotIn("chunk =", items)
        self.assertEqual(items["decay ="]["textEdit"]["newText"], "decay = ")

    def test_completion_in_declarations(self):
        document = self.open(GOOD)
        items = document.complete_typed(GOOD.replace("log(1 + h)", "log(1 + |)"))
        self.assertTrue({"h", "H", "chunk", "exp", "base.q_proj.weight"} <= set(items), list(items))
        self.assertFalse({"q", "x", "base_q", "silu"} & set(items), list(items))
        items = document.complete_typed(GOOD.replace("require H >= G", "require |"))
        self.assertTrue({"G", "base.qk_norm", "not"} <= set(items), list(items))
        self.assertFalse({"q", "h", "rates"} & set(items), list(items))
        items = document.complete_typed(GOOD.replace("= log(1 + h)", "~ |"))
        self.assertIn("normal", items)
        items = document.complete_typed(GOOD.replace("frozen weight copy", "frozen |"))
        self.assertEqual(list(items), ["weight"])

    def test_no_completion_in_comments_and_strings(self):
        document = self.open(GOOD)
        self.assertEqual(document.complete_typed(GOOD.replace("// A mixer.", "// A|")), {})
        self.assertEqual(document.complete_typed(GOOD.replace('"an example"', '"an |example"')), {})
        self.assertEqual(document.complete_typed(GOOD.replace("small(chunk", "small(|chunk")), {})
        self.assertEqual(list(document.complete_typed(GOOD.replace("gated: bool", "gated: |"))), ["bool", "real"])

    # Definition, outline, format

    def test_definition(self):
        document = self.open(GOOD)
        for pattern, line in {
            "recurrence(|q": "    q = q * exp",
            "|q * exp": "  q = base_q",
            "expand(|rates": "  weight rates",
            "if |gated {": "mixer small",
            "chunk = |chunk": "mixer small",
            "merge(|y)": "  y = ",
            "(1 + |h)": "  weight rates",
        }.items():
            with self.subTest(pattern):
                place = document.define(pattern)
                self.assertEqual(place["uri"], document.uri)
                name = pattern.split("|")[1].split(" ")[0].rstrip(")")
                self.assertEqual(document.get_text(place["range"]), name)
                self.assertTrue(document.text.split("\n")[place["range"]["start"]["line"]].startswith(line))
        self.assertIsNone(document.define("base|_q"))
        self.assertIsNone(document.define("base_q(|x)"))
        document.change(GOOD.replace("[H * D, M]", "[2 * K * H, M]"))
        place = document.define("[2 * |K")
        self.assertEqual(document.text.split("\n")[place["range"]["start"]["line"]], "  dim K = D / 2")

    def test_an_else_does_not_see_the_branch_before(self):
        text = "mixer a(c: bool = true) {\n  y = x\n  if c {\n    y = x + x\n  } else {\n    y = y * 2\n  }\n  return y\n}\n"
        document = self.open(text)
        self.assertEqual(document.define("|y * 2")["range"]["start"]["line"], 1)
        self.assertEqual(document.define("return |y")["range"]["start"]["line"], 5)

    def test_outline(self):
        document = self.open(GOOD)
        [mixer] = document.ask("documentSymbol")
        self.assertEqual((mixer["name"], mixer["detail"]), ("small", "an example"))
        self.assertEqual([(weight["name"], weight["detail"]) for weight in mixer["children"]],
                         [("rates", "[H]"), ("copy", "[H * D, M]")])
        self.assertEqual(document.get_text(mixer["selectionRange"]), "small")

    def test_format(self):
        untidy = GOOD.replace("  q = base_q(x)", "q   =   base_q( x )")
        document = self.open(untidy)
        options = {"options": {"tabSize": 2, "insertSpaces": True}}
        [edit] = document.ask("formatting", **options)
        self.assertEqual(edit["newText"], GOOD)
        self.assertEqual(edit["range"]["start"], {"line": 0, "character": 0})
        self.assertEqual(edit["range"]["end"], {"line": untidy.count("\n"), "character": 0})
        document.change(GOOD)
        self.assertEqual(document.ask("formatting", **options), [])
        document.change(untidy + "mixer {")
        self.assertEqual(document.ask("formatting", **options), [])

    def test_mixers_of_morph_have_no_problems(self):
        for path in sorted((SOURCE / "dialect/mixers").glob("*.morph")):
            with self.subTest(path.name):
                document = self.open(path.read_text(), path.as_uri())
                self.assertEqual(document.problems(), [])

    def test_what_others_ask_of_every_document(self):
        document = self.open(GOOD)
        self.assertIsNone(document.ask("references", "recurrence(|q", context={"includeDeclaration": True}))


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

OTHER = """mixer theirs() { return x }
mixer mine(rank: 1..8 = 4, rate: real 0..1 = 0.5, gated: bool = true) {
  doc "of another file"
  return x
}
"""


class Arch(LspTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        for name, text in [("mixers/other.morph", OTHER), ("runs/recipe.toml", "version = 1\n"), ("runs/costs.json", "{}")]:
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)

    def open(self, text=ARCH, name="half.morph"):
        return Document(self.client, (self.folder / name).as_uri(), "morph", text)

    def test_hover(self):
        document = self.open()
        self.assertEqual(document.problems(), [])
        for pattern, words in {
            "ar|ch half": ["what may stand in the layers"],
            "|doc \"half": ["what the arch is"],
            "mod|el \"": ["the base model"],
            "|recipe \"": ["data, tasks and stages"],
            "lay|ers 0": ["The last line that names a layer counts"],
            "tie| 0": ["take the same one"],
            "pin| 7": ["of their candidates these layers take one"],
            "patt|ern": ["exactly so many take the candidate"],
            "  |budget full": ["what the hybrid may cost"],
            "7 = |full | small": ["keeps the base's attention"],
            "pin 7 = fu|ll": ["keeps the base's attention"],
            "sma|ll(chunk = 16": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example"],
            "gl|a(rank": ["mixer gla(chunk: 1..1024 = 64, rank: 1..256 = 16)", "arXiv 2312.06635"],
            "gla|\n": ["mixer gla("],
            "mixers/oth|er.morph": ["mixer mine(rank: 1..8 = 4", "of another file"],
            '"k|da"': ["mixer kda("],
            "small(chu|nk = 16": ["chunk: 1..1024 = 64", "whole numbers of `1..1024`. Default: `64`"],
            "gla(ra|nk = 8": ["rank: 1..256 = 16"],
            "chunk| = 32": ["chunk: 1..1024 = 64"],
            "mine(ra|nk = 2": ["rank: 1..8 = 4"],
            "gla_|2": ["The candidate `gla`.", "mixer gla("],
            "one mi|ne in": ["The candidate `mixers/other.morph:mine(rank = 2)`.", "of another file"],
            "full_|layers = 2": ["**full_layers**: layers", "Exactly so many layers"],
            "decode_sec|onds": ["**decode_seconds**: seconds", "morph bench mixers"],
        }.items():
            with self.subTest(pattern):
                text = document.hover(pattern)
                self.assertIsNotNone(text)
                for word in words:
                    self.assertIn(word, text)
        for pattern in ["mine in| every", "at| 4096", "by| \"", "chunk = 1|6", "// Cand|idates", "half of| it"]:
            self.assertIsNone(document.hover(pattern), pattern)
        self.assertEqual(document.get_text(document.ask("hover", "gla(ra|nk = 8")["range"]), "rank")
        self.assertEqual(document.get_text(document.ask("hover", "mine(ra|nk = 2")["range"]), "rank")
        document.change(ARCH.replace("tie 0..3", "tie all").replace("rank = 2", "rate = 0.1, gated = false"))
        self.assertIn("every layer", document.hover("tie al|l"))
        self.assertIn("any number of `0..1`. Default: `0.5`", document.hover("mine(ra|te"))
        self.assertIn("`true` or `false`. Default: `true`", document.hover("ga|ted = false"))

    def test_lines_with_errors_do_not_matter(self):
        for name, text in [("a.morph", ARCH.replace("tie 0..3", "tie 0..")),
                           ("b.morph", ARCH.replace("layers 4..6", "layerz 4..6 = gla(\n  layers 4..6")),
                           ("c.morph", ARCH.replace("  doc \"half", "  ) ( doc \"half"))]:
            with self.subTest(name):
                document = self.open(text, name)
                self.assertTrue(document.problems())
                self.assertIn("rank: 1..256", document.hover("gla(ra|nk = 8"))
                self.assertIn("**full_layers**", document.hover("full_|layers = 2"))
                self.assertIn("The candidate `gla`.", document.hover("gla_|2"))
                self.assertIn("an example", document.hover("sma|ll(chunk = 16"))
                self.assertEqual([symbol["name"] for symbol in document.ask("documentSymbol")], ["small", "half"])
        document = self.open(ARCH.rstrip().rstrip("}"))
        self.assertTrue(document.problems())
        self.assertIn("**decode_seconds**", document.hover("decode_|seconds"))

    def test_what_follows_an_arch_is_no_part_of_it(self):
        for name, end in [("a.morph", "}"), ("b.morph", "")]:
            document = self.open("arch a {\n  tie 0..1\n" + end + "\n" + GOOD, name)
            self.assertIn("an activation [H, D]", document.hover("recurrence(|q"))
            self.assertIn("take the same one", document.hover("ti|e 0"))
            self.assertIn("an example", document.hover("mixer |small"))

    def complete(self, old, new):
        self.assertIn(old, ARCH)
        return self.document.complete_typed(ARCH.replace(old, new), "@")

    def test_completion_where_a_line_begins(self):
        self.document = self.open()
        words = ["doc", "model", "recipe", "layers", "tie", "pin", "pattern", "budget"]
        self.assertEqual(list(self.complete("  tie", "  @\n  tie")), words)
        self.assertEqual(list(self.complete("  tie 0..3", "  ti@")), words)
        self.assertEqual(list(self.complete("  tie 0..3", "  ti@e 0..3")), words)
        self.assertEqual(list(self.complete("arch half {", "arch half { @")), words)
        self.assertEqual(list(self.document.complete_typed("arch a {|")), words)
        self.assertEqual(self.document.complete_typed("arch |"), {})

    def test_completion_of_candidates(self):
        self.document = self.open()
        for old, new in [("| gla\n", "| @\n"), ("| gla\n", "| gl@\n"), ("= full | small", "= @ | small"),
                         ("tie 0..3", "layers all = @"), ("tie 0..3", "layers all = gla(rank = 8) | @"),
                         ("| gla\n", "|\n    @\n"), ("| gla\n", "|\n    gl@\n")]:
            with self.subTest(new):
                items = self.complete(old, new)
                self.assertTrue({"full", "small", "gla", "kda", "none"} <= set(items), list(items))
                self.assertFalse({"layers", "all"} & set(items), list(items))
                self.assertIn("mixer gla(", items["gla"]["documentation"]["value"])
                self.assertIn("an example", items["small"]["documentation"]["value"])
        for new in ['doc "@"', "layers 3, @", "layers 3 = gla @", 'layers 3 = "@"', "tie 0 = @", "// = @"]:
            self.assertEqual(self.complete("tie 0..3", new), {}, new)

    def test_completion_of_all_layers(self):
        self.document = self.open()
        for word in ["layers", "tie", "pin"]:
            self.assertEqual(list(self.complete("tie 0..3", word + " @")), ["all"])
        self.assertEqual(self.complete("tie 0..3", "tie 0, @"), {})
        self.assertEqual(self.complete("tie 0..3", "budget ratio @"), {})

    def test_completion_of_options(self):
        self.document = self.open()
        items = self.complete("gla(rank = 8, chunk = 32)", "gla(@")
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {"chunk =": "chunk = ", "rank =": "rank = "})
        self.assertIn("rank: 1..256 = 16", items["rank ="]["documentation"]["value"])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(rank = 8, @)")), ["chunk ="])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(@, chunk = 32)")), ["rank ="])
        self.assertEqual(list(self.complete("gla(rank = 8, chunk = 32)", "gla(\n  @\n  )")), ["chunk =", "rank ="])
        items = self.complete("gla(rank = 8, chunk = 32)", "gla(ra@ = 8, chunk = 32)")
        self.assertEqual(items["rank ="]["textEdit"]["newText"], "rank")
        self.assertEqual(self.document.get_text(items["rank ="]["textEdit"]["range"]), "ra")
        self.assertEqual(self.complete("gla(rank = 8, chunk = 32)", "gla(rank = @)"), {})
        self.assertEqual(list(self.complete("small(chunk = 16)", "small(chunk = 16, @)")), ["gated ="])
        self.assertEqual(list(self.complete("mine(rank = 2)", "mine(rank = 2, @)")), ["rate =", "gated ="])
        self.assertEqual(list(self.complete("mine(rank = 2)", "mine(ra@")), ["rank =", "rate =", "gated ="])
        self.assertEqual(self.complete("gla(rank = 8, chunk = 32)", "nothing(@)"), {})

    def test_completion_of_names(self):
        self.document = self.open()
        names = ["full", "small", "gla", "gla_2", "mine", "kda", "none"]
        self.assertEqual(list(self.complete("pin 7 = full | gla_2", "pin 7 = @")), names)
        self.assertEqual(list(self.complete("one mine", "one @")), names)
        self.assertEqual(list(self.complete("one mine", "2 m@")), names)
        self.assertEqual(self.complete("one mine in every", "one mine @"), {})
        self.assertIn("mine(rank = 2)", self.complete("one mine", "one @")["mine"]["documentation"]["value"])

    def test_completion_of_budgets(self):
        self.document = self.open()
        items = self.complete("budget full_layers = 2", "budget @")
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {name + " =": name + " = " for name in ["full_layers", "ratio", "cache_bytes", "decode_seconds"]})
        self.assertEqual(self.complete("full_layers = 2", "ra@ = 2")["ratio ="]["textEdit"]["newText"], "ratio")
        self.assertEqual(self.complete("full_layers = 2", "full_layers = @"), {})

    def test_definition(self):
        document = self.open()
        for pattern, text, line in [("sma|ll(chunk = 16", "small", "mixer small"),
                                    ("gla_|2", "gla", "  layers 0..3"),
                                    ("one mi|ne in", '"mixers/other.morph:mine(rank = 2)"', "  layers 4..6")]:
            with self.subTest(pattern):
                place = document.define(pattern)
                self.assertEqual(place["uri"], document.uri)
                self.assertEqual(document.get_text(place["range"]), text)
                self.assertTrue(ARCH.split("\n")[place["range"]["start"]["line"]].startswith(line))
        place = document.define("mixers/oth|er.morph")
        self.assertEqual(place["uri"], (self.folder / "mixers/other.morph").as_uri())
        self.assertEqual(place["range"], {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 10}})
        for pattern, name in [("runs/rec|ipe.toml", "runs/recipe.toml"), ("runs/co|sts.json", "runs/costs.json")]:
            place = document.define(pattern)
            self.assertEqual(place["uri"], (self.folder / name).as_uri())
            self.assertEqual(place["range"]["start"], {"line": 0, "character": 0})
        for pattern in ["models/ti|ny", "half o|f it", '"k|da"', "7 = fu|ll | small", "gl|a(rank", "lay|ers 0"]:
            self.assertIsNone(document.define(pattern), pattern)
        document.change(ARCH.replace("recipe.toml", "nothing.toml").replace("other.morph", "nothing.morph"))
        self.assertIsNone(document.define("runs/no|thing.toml"))
        self.assertIsNone(document.define("mixers/no|thing.morph"))

    def test_outline(self):
        mixer, arch = self.open().ask("documentSymbol")
        self.assertEqual((mixer["name"], arch["name"], arch["detail"]), ("small", "half", "half of it"))


SPEC = """# Ein Beispiel: 𝄞
version = 1
seed = 3

[model]
path = "models/tiny-recall"
precision = "fp32"

[linear]
backend = "mixers/mine.morph:small(chunk = 32)"
candidates = ["kda", "gated_deltanet(conv = 4)"]

[budget]
full_layers = 2

[[task]]
name = "recall"
kind = "mqar"
space = "tokens"
background = "noise"
needles = 3
length = 64
key_tokens = [0, 8]
value_tokens = [8, 16]
noise_tokens = [16, 32]

[align]
steps = 0

[select]
steps = 1
tasks = [
  "recall", # not "other"
]

[distill]
steps = 0
"""


class Spec(LspTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        (self.folder / "mixers").mkdir()
        (self.folder / "mixers/mine.morph").write_text(GOOD)
        (self.folder / "models").symlink_to(SOURCE / "specs/models")

    def open(self, text, name="spec.toml"):
        return Document(self.client, (self.folder / name).as_uri(), "toml", text)

    # Diagnostics

    def test_a_good_spec(self):
        self.assertEqual(self.open(SPEC).problems(), [])

    def test_errors_are_those_of_morph(self):
        document = self.open(SPEC)
        for old, new, words, place in [
            ('"fp32"', '"fp31"', "expected fp32, bf16", '"fp31"'),
            ('"fp32"', '"fp32', "malformed TOML", None),
            ("seed", "sead", "did you mean 'seed'?", "sead"),
            ("full_layers = 2", "full_layers = 200", "[S5]", "200"),
            ('"kda"', '"kba"', "did you mean 'kda'?", '"kba"'),
            ("mine.morph:small", "mine.morph:large", "it declares small", '"mixers/mine.morph:large(chunk = 32)"'),
            ("models/tiny", "models/other", "models/other-recall", None),
        ]:
            with self.subTest(new):
                document.change(SPEC.replace(old, new))
                problem = document.problems()[0]
                self.assertIn(words, problem["message"])
                if place:
                    self.assertEqual(document.get_text(problem["range"]), place)
                done = subprocess.run([BIN / "morph-translate", "--import-spec", "spec.toml", "-o", "/dev/null"],
                                      input=None, cwd=self.write(document.text), capture_output=True, text=True)
                self.assertIn("error: " + problem["message"].split("\n")[0], done.stderr)
        document.change(SPEC)
        self.assertEqual(document.problems(), [])

    def write(self, text):
        (self.folder / "spec.toml").write_text(text)
        return self.folder

    def test_an_error_of_a_mixer_file_is_shown_where_the_spec_names_it(self):
        (self.folder / "mixers/mine.morph").write_text(GOOD.replace("= chunk)", "= chunks)"))
        document = self.open(SPEC)
        [problem] = document.problems()
        self.assertIn("'chunks' is not declared", problem["message"])
        self.assertEqual(document.get_text(problem["range"]), "mine.morph")
        place = problem["relatedInformation"][0]["location"]
        self.assertEqual(place["uri"], (self.folder / "mixers/mine.morph").as_uri())
        self.assertEqual(GOOD.split("\n")[place["range"]["start"]["line"]].strip()[:15], "y = recurrence(")

    def test_other_toml_is_left_alone(self):
        for text in ["[package]\nname = \"a\"\nversion = \"1\"\n[dependencies]\nb = \"2\"\n", "a = [\n",
                     "version = 3\n[[package]]\nname = 7\n", "[model]\nlayers = 2\n[other]\n"]:
            with self.subTest(text):
                document = self.open(text, "Cargo.toml")
                self.assertEqual(document.problems(), [])
                self.assertEqual(document.complete_typed(text + "[|"), {})
                document.close()
                self.client.published.clear()
        document = self.open("[package]\nname = \"a\"\n", "Cargo.toml")
        self.assertIsNone(document.hover("na|me"))

    def test_a_spec_without_a_file(self):
        document = Document(self.client, "untitled:Untitled-1", "toml", "version = 1\n[align]\nstep = 3\n")
        self.assertTrue([problem for problem in document.problems() if "did you mean 'steps'?" in problem["message"]])

    # Hover

    def test_hover(self):
        document = self.open(SPEC)
        for pattern, words in {
            "[ali|gn]": ["**[align]**", "every linear branch learns", "`normalize`"],
            "[[ta|sk]]": ["**[[task]]**", "retrieval task"],
            "se|ed": ["**seed**: integer", "default: `0`", "allowed: `>= 0`"],
            "precisi|on": ["**model.precision**: string", 'default: `"fp32"`', "`fp32 | bf16`"],
            "leng|th": ["**task[].length**: list of integers (tokens)"],
            "pa|th = ": ["required without [pretrain]"],
            "[select]\nste|ps": ["**select.steps**: integer (steps)"],
            "[align]\nsteps = |0": ["**align.steps**", "- required"],
            '"k|da"': ["mixer kda(", "delta rule with a decay a key element"],
            "gated_|deltanet(conv": ["mixer gated_deltanet(", "gated delta rule"],
            "mine.mo|rph": ["mixer small(chunk: 1..1024 = 64, gated: bool = true)", "an example"],
        }.items():
            with self.subTest(pattern):
                text = document.hover(pattern)
                self.assertIsNotNone(text)
                for word in words:
                    self.assertIn(word, text)
        self.assertIsNone(document.hover("# Ein| Beispiel"))
        self.assertEqual(document.get_text(document.ask("hover", "precisi|on")["range"]), "precision")

    def test_a_malformed_spec_is_documented_too(self):
        document = self.open(SPEC.replace("seed = 3", "seed = [3,").replace('"fp32"', '"fp32'))
        self.assertIn("**linear.backend**", document.hover("back|end ="))

    # Completion

    def test_completion_of_sections(self):
        document = self.open(SPEC)
        for typed in ["[|", "[|]", "[ev|"]:
            items = document.complete_typed(SPEC + typed)
            self.assertTrue({"[evaluate]", "[finetune]", "[[task]]", "[pretrain.base]"} <= set(items), list(items))
            self.assertNotIn("[align]", items)
            self.assertEqual(document.get_text(items["[evaluate]"]["textEdit"]["range"]), typed.replace("|", ""))
        self.assertIn("[model]", self.open("", "new.toml").complete_typed("[|"))

    def test_completion_of_keys(self):
        document = self.open(SPEC)
        items = document.complete_typed(SPEC.replace("[budget]\n", "[budget]\n|\n"))
        self.assertEqual(list(items), ["ratio", "keep", "linear", "cache_bytes", "decode_seconds", "context", "costs"])
        self.assertEqual(items["keep"]["textEdit"]["newText"], "keep = ")
        items = document.complete_typed(SPEC.replace("seed = 3", "na|"))
        self.assertEqual(list(items), ["name", "arch", "seed"])
        self.assertEqual(document.get_text(items["name"]["textEdit"]["range"]), "na")
        items = document.complete_typed(SPEC.replace("space =", "kin| =").replace('kind = "mqar"\n', ""))
        self.assertEqual(items["kind"]["textEdit"]["newText"], "kind")

    def test_completion_of_values(self):
        document = self.open(SPEC)
        items = document.complete_typed(SPEC.replace('precision = "fp32"', "precision = |"))
        self.assertEqual({name: item["textEdit"]["newText"] for name, item in items.items()},
                         {"fp32": '"fp32"', "bf16": '"bf16"'})
        items = document.complete_typed(SPEC.replace('precision = "fp32"', 'precision = "b|"'))
        self.assertEqual(items["bf16"]["textEdit"]["newText"], "bf16")
        self.assertEqual(document.get_text(items["bf16"]["textEdit"]["range"]), "b")
        items = document.complete_typed(SPEC.replace('"kda"', '"|"'))
        self.assertTrue({"kda", "gated_deltanet", "sliding_window"} <= set(items), list(items))
        self.assertIn("mixer kda(", items["kda"]["documentation"]["value"])
        items = document.complete_typed(SPEC.replace('  "recall", #', '  "|", #'))
        self.assertEqual(list(items), ["recall"])
        items = document.complete_typed(SPEC.replace("needles = 3", "chat = |"))
        self.assertEqual(list(items), ["true", "false"])
        self.assertEqual(document.complete_typed(SPEC.replace("seed = 3", "seed = |")), {})
        self.assertEqual(document.complete_typed(SPEC.replace("# Ein", "# Ein |")), {})

    # Definition, outline

    def test_definition(self):
        document = self.open(SPEC)
        place = document.define("mixers/mi|ne.morph")
        self.assertEqual(place["uri"], (self.folder / "mixers/mine.morph").as_uri())
        self.assertEqual(place["range"], {"start": {"line": 1, "character": 6}, "end": {"line": 1, "character": 11}})
        place = document.define('"re|call", #')
        self.assertEqual(place["uri"], document.uri)
        self.assertEqual(place["range"]["start"], document.position('name = "|recall"'))
        for pattern in ['"k|da"', "models/|tiny-recall", "se|ed", '"oth|er"']:
            self.assertIsNone(document.define(pattern), pattern)
        document.change(SPEC.replace("mine.morph", "nowhere.morph"))
        self.assertIsNone(document.define("mixers/no|where"))

    def test_definition_of_an_arch(self):
        (self.folder / "half.morph").write_text(ARCH.replace("tie 0..3", "tie"))
        (self.folder / "two.morph").write_text("arch first { tie 0 }\narch second { tie 0 }\n")
        document = self.open('version = 1\narch = "half.morph"\n')
        self.assertIn("whose `arch` says", document.hover("ha|lf"))
        line = ARCH.split("\n").index("arch half {")
        for text, place in [("half.morph", (line, 5)), ("half.morph:half", (line, 5)), ("two.morph:second", (1, 5)),
                            ("two.morph", None), ("half.morph:small", None), ("three.morph:half", None)]:
            with self.subTest(text):
                document.change(f'version = 1\narch = "{text}"\n')
                found = document.define(f'"|{text}')
                self.assertEqual(found and tuple(found["range"]["start"].values())[::-1], place)
                if place:
                    self.assertEqual(found["uri"], (self.folder / text.split(":")[0]).as_uri())

    def test_outline(self):
        symbols = self.open(SPEC).ask("documentSymbol")
        self.assertEqual([symbol["name"] for symbol in symbols],
                         ["[model]", "[linear]", "[budget]", "[[task]]", "[align]", "[select]", "[distill]"])

    def test_specs_of_morph_have_no_problems_but_missing_models(self):
        for path in sorted((SOURCE / "specs").glob("*.toml")):
            with self.subTest(path.name):
                document = Document(self.client, path.as_uri(), "toml", path.read_text())
                for problem in document.problems():
                    self.assertRegex(problem["message"], "model|cannot read|S2|S7")

    def test_files_that_are_none(self):
        os.mkfifo(self.folder / "pipe.morph")
        document = self.open(SPEC.replace("mixers/mine.morph", "pipe.morph"))
        self.assertIn("pipe.morph", document.problems()[0]["message"])
        self.assertIsNone(document.define("pipe|.morph"))
        document.change(SPEC.replace("models/tiny-recall", "/dev/stdin"))
        self.assertTrue(document.problems())
        self.assert_alive()


MLIR = """func.func @f(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  %y = morph.silu %x : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}
"""


class Mlir(LspTest):
    def open(self, text, uri="file:///model.mlir"):
        return Document(self.client, uri, "mlir", text)

    def test_diagnostics_and_hover(self):
        document = self.open(MLIR)
        self.assertEqual(document.problems(), [])
        self.assertIn("morph.silu", document.hover("morph.|silu"))
        self.assertEqual(document.define("return %|y")[0]["range"]["start"]["line"], 1)
        self.assertEqual(len(document.ask("references", "return %|y", context={"includeDeclaration": False})), 2)
        document.change(MLIR.replace("morph.silu", "morph.split_heads").replace("%x :", "%x heads 3 :"))
        self.assertIn("H = heads is 3", document.problems()[0]["message"])
        self.assertIsNone(document.ask("formatting", options={}))
        self.assert_alive()

    def test_beside_the_other_languages(self):
        model, mixer = self.open(MLIR), Document(self.client, "file:///a.morph", "morph", GOOD)
        self.assertIn("morph.silu", model.hover("morph.|silu"))
        self.assertIn("[H, D]", mixer.hover("base|_q"))

    def test_documents_are_told_by_their_ending_too(self):
        document = Document(self.client, "file:///model.mlir", "plaintext", MLIR)
        self.assertIn("morph.silu", document.hover("morph.|silu"))

    def child(self):
        children = pathlib.Path(f"/proc/{self.client.process.pid}/task/{self.client.process.pid}/children").read_text()
        [child] = children.split()
        return int(child)

    def test_a_server_that_has_died_is_started_again(self):
        document = self.open(MLIR)
        self.assertEqual(document.problems(), [])
        first = self.child()
        os.kill(first, signal.SIGSEGV)
        document.change(MLIR.replace("morph.silu", "morph.sigmoid"))
        while True:
            reply = self.client.ask("textDocument/hover", textDocument={"uri": document.uri},
                                    position=document.position("morph.|sigmoid"))
            if "result" in reply: # An error where the process was just about to end.
                break
        self.assertIn("morph.sigmoid", reply["result"]["contents"]["value"])
        self.assertNotEqual(self.child(), first)

    def test_nothing_is_left_behind(self):
        child = self.child()
        self.assertEqual(self.client.exit(), 0)
        self.assertFalse(pathlib.Path(f"/proc/{child}").exists())


class Hostile(LspTest):
    def test_messages_that_are_none(self):
        for text in ["", "{", "[]", "7", "null", "\"a\"", "{}", "[" * 100000, b"\xff\xfe", "{\"a\":" * 50000]:
            if text:
                self.client.send_text(text)
        self.client.send_bytes(b"Content-Length: x\r\n\r\nContent-Type: a\r\n\r\n" + b"a" * 100000 + b"\r\n")
        self.client.send(method="textDocument/didOpen")
        self.client.send(method="textDocument/didOpen", params=[1])
        self.client.send(method="textDocument/didOpen", params={"textDocument": {"uri": 7, "text": []}})
        self.client.send(method=7)
        self.client.send(id={"a": [1]}, method="textDocument/hover", params={"textDocument": {"uri": "file:///a"}})
        self.client.send(id=3000, result="nobody asked")
        self.assert_alive()

    def test_changes_that_are_none(self):
        document = Document(self.client, "file:///a.morph", "morph", GOOD)
        for changes in [[], [7], [{}], {}, [{"text": 7}]]:
            self.client.send(method="textDocument/didChange", params={"textDocument": {"uri": document.uri},
                                                                      "contentChanges": changes})
        self.assertIn("[H, D]", document.hover("base|_q"))

    def test_positions_beyond_the_text(self):
        document = Document(self.client, "file:///a.morph", "morph", GOOD)
        for line in [-1, 0, 3, 10**6, 2**62]:
            for character in [-1, 10**6, 2**62]:
                for method in ["hover", "definition", "completion"]:
                    document.ask(method, position={"line": line, "character": character})
        document.ask("hover", position={})
        document.ask("hover", position=7)
        document.ask("hover")

    def test_documents_of_garbage(self):
        for language in ["morph", "toml"]:
            for text in ["", "\0", "\0\x1b[31m\n" * 100, "(" * 300000, "a\n(" * 100000, "{" * 300000, "\ud7ff" * 1000, "\r",
                         "mixer a {" + "if c {\n" * 1000, "mixer a() {\n x = f(\n" + "a\n" * 300000, "[" * 100000,
                         "a = [" * 50000, "mixer " * 50000, "x" * (2 << 20), "version = 1\n[task]\n" + "'''\n" * 1000,
                         "version = 1\n[model]\n" + "a." * 100000, "\"" * 100001, "arch a {\n" * 50000,
                         "arch a {\nlayers all = " + "gla(" * 100000, "arch a {\n" + "layers all = a | a\n" * 50000,
                         "arch a {\nlayers 0 = \"" + "a:b(" * 10000 + "\"", "version = 1\r[linear]\rbackend = "]:
                with self.subTest(language=language, text=text[:20]):
                    document = Document(self.client, f"untitled:{language}", language, text)
                    document.problems()
                    middle = {"line": text.count("\n") // 2, "character": 1}
                    for position in [middle, {"line": 10**6, "character": 0}]:
                        for method in ["hover", "definition", "completion"]:
                            document.ask(method, position=position)
                    document.ask("documentSymbol")
                    document.ask("formatting", options={})
                    document.close()
                    self.client.published.clear()
        self.assert_alive()


if __name__ == "__main__":
    unittest.main(verbosity=2)
