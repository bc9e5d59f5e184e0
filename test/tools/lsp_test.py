# SPDX-License-Identifier: Apache-2.0
"""morph-lsp-server through its protocol: life cycle, MLIR beside the other languages, hostile input."""

import os
import pathlib
import signal
import subprocess
import unittest

from lsp_client import BIN, Document, GOOD, LspTest, SECONDS


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
