// SPDX-License-Identifier: Apache-2.0
// The language server: one session with an editor. Documents of Morph's own languages are answered here, those of MLIR
// by its own server.

#ifndef MORPH_TOOLS_MORPHLSPSERVER_SERVER_H
#define MORPH_TOOLS_MORPHLSPSERVER_SERVER_H

#include "frontends/LanguageService.h"
#include "tools/morph-lsp-server/Channel.h"
#include "tools/morph-lsp-server/MlirProcess.h"
#include "tools/morph-lsp-server/TextLines.h"

#include <map>

namespace morph::lsp {

class Server {
public:
  explicit Server(Channel &client) : client_(client), mlir_(client) {}

  /// Serves until the client says `exit` or is gone. The exit code: 0 where it said `shutdown` before.
  int run();

private:
  struct Document {
    std::string uri;
    llvm::json::Value version = nullptr;
    TextLines lines{""};
    std::unique_ptr<LanguageService> service; ///< Null where the language is none of ours.
    bool isMlir = false;
    bool changed = false; ///< Its problems have not been published.
  };
  /// Answers a request about a document.
  using Answer = llvm::json::Value (Server::*)(Document &document, const llvm::json::Object &params);

  void handle(llvm::json::Object message);
  void handleRequest(llvm::StringRef method, const llvm::json::Object &params, const llvm::json::Object &message);
  void handleNotification(llvm::StringRef method, const llvm::json::Object &params, const llvm::json::Object &message);
  static const std::map<llvm::StringRef, Answer> &getAnswers();

  llvm::json::Value initialize(const llvm::json::Object &message);
  void open(const llvm::json::Object &item, const llvm::json::Object &message);
  void change(Document &document, const llvm::json::Object &params, const llvm::json::Object &message);
  void close(Document &document, const llvm::json::Object &message);
  void setText(Document &document, llvm::StringRef text);
  void publishProblems();

  llvm::json::Value hover(Document &document, const llvm::json::Object &params);
  llvm::json::Value complete(Document &document, const llvm::json::Object &params);
  llvm::json::Value define(Document &document, const llvm::json::Object &params);
  llvm::json::Value listSymbols(Document &document, const llvm::json::Object &params);
  llvm::json::Value format(Document &document, const llvm::json::Object &params);
  llvm::json::Value answerNothing(Document &document, const llvm::json::Object &params) { return nullptr; }

  /// Starts MLIR's server again where it has ended, with all its documents. False where it does not run.
  bool reviveMlir();
  /// Passes on that an MLIR document is new or changed.
  void tellMlir(const Document &document, const llvm::json::Object &message);
  void publish(const Document &document, llvm::json::Array problems);
  Document *findDocument(const llvm::json::Object &params);
  llvm::json::Object getLocation(const Document &document, const TextPlace &place);

  Channel &client_;
  MlirProcess mlir_;
  unsigned mlirStarts_ = 0;
  llvm::json::Object initialization_; ///< The client's request.
  std::map<std::string, Document, std::less<>> documents_;
  bool initialized_ = false, shutDown_ = false, exited_ = false;
};

} // namespace morph::lsp

#endif // MORPH_TOOLS_MORPHLSPSERVER_SERVER_H
