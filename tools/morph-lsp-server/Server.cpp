// SPDX-License-Identifier: Apache-2.0

#include "tools/morph-lsp-server/Server.h"

#include "frontends/morph/LanguageService.h"
#include "frontends/spec/LanguageService.h"
#include "frontends/text/Json.h"
#include "frontends/text/TextFile.h"

#include "mlir/Tools/lsp-server-support/Protocol.h"

#include "llvm/Support/FormatVariadic.h"

using namespace morph;
using namespace morph::lsp;
using llvm::StringRef;
using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

/// Error codes of JSON-RPC and of the protocol.
enum ErrorCode {
  kParseError = -32700,
  kInvalidRequest = -32600,
  kMethodNotFound = -32601,
  kInvalidParams = -32602,
  kInternalError = -32603,
  kNotInitialized = -32002,
};

/// After a change, problems are looked for once nothing has come in for so long.
static constexpr int kQuietMilliseconds = 50;
/// Starts of MLIR's server in a session: a text that ends it does so with every letter.
static constexpr unsigned kMaxMlirStarts = 20;
/// Bytes of another file that a place is in.
static constexpr uint64_t kMaxOtherFileBytes = 16 << 20;
/// Documents that are open.
static constexpr size_t kMaxDocuments = 1000;

/// The path of a `file:` URI, empty of others.
static std::string getPath(StringRef uri) {
  llvm::Expected<mlir::lsp::URIForFile> file = mlir::lsp::URIForFile::fromURI(uri);
  if (!file) {
    llvm::consumeError(file.takeError());
    return "";
  }
  return file->scheme() == "file" ? file->file().str() : "";
}

/// What either of two servers can do.
static Value unite(const Value &a, const Value &b) {
  if (const Object *first = a.getAsObject(), *second = b.getAsObject(); first && second) {
    Object all = *first;
    for (const auto &[key, value] : *second)
      all[key] = all.get(key) ? unite(*all.get(key), value) : value;
    return all;
  }
  if (const Array *first = a.getAsArray(), *second = b.getAsArray(); first && second) {
    Array all = *first;
    for (const Value &value : *second)
      if (!llvm::is_contained(all, value))
        all.push_back(value);
    return all;
  }
  return a == Value(false) || a == Value(nullptr) ? b : a;
}

static int getCompletionKind(NameKind kind) {
  switch (kind) {
  case NameKind::Keyword:
    return 14;
  case NameKind::Function:
    return 3;
  case NameKind::Variable:
    return 6;
  case NameKind::Weight:
    return 5;
  case NameKind::Constant:
    return 21;
  case NameKind::Word:
    return 12;
  case NameKind::Section:
    return 9;
  case NameKind::Mixer:
    return 7;
  case NameKind::Parameter:
  case NameKind::Option:
  case NameKind::Key:
    return 10;
  }
  return 1;
}

static int getSymbolKind(NameKind kind) {
  switch (kind) {
  case NameKind::Mixer:
    return 5;
  case NameKind::Weight:
    return 8;
  case NameKind::Section:
    return 3;
  case NameKind::Key:
  case NameKind::Option:
    return 7;
  default:
    return 13;
  }
}

static Value makeMarkdown(std::string text) { return Object{{"kind", "markdown"}, {"value", std::move(text)}}; }

/// A member that is an object, or an empty one.
static const Object &getObject(const Object &object, StringRef name) {
  static const Object none;
  const Object *member = object.getObject(name);
  return member ? *member : none;
}

int Server::run() {
  while (!exited_) {
    std::optional<std::string> text = client_.read();
    if (!text)
      break;
    JsonError error;
    std::optional<Value> message = parseJson(*text, error);
    Object *object = message ? message->getAsObject() : nullptr;
    if (object)
      handle(std::move(*object));
    else
      client_.replyError(nullptr, message ? kInvalidRequest : kParseError,
                         message ? "expected an object" : error.message);
    if (!exited_ && !client_.hasInput(kQuietMilliseconds))
      publishProblems();
  }
  return exited_ && shutDown_ ? 0 : 1;
}

void Server::handle(Object message) {
  std::optional<StringRef> method = message.getString("method");
  const Object &params = getObject(message, "params");
  const Value *id = message.get("id");
  if (method && id)
    handleRequest(*method, params, message);
  else if (method)
    handleNotification(*method, params, message);
  else if (!id) // What has an id only is a reply, and nothing is asked of clients.
    client_.replyError(nullptr, kInvalidRequest, "the message has no method");
}

const std::map<StringRef, Server::Answer> &Server::getAnswers() {
  static const std::map<StringRef, Answer> answers = {
      {"textDocument/hover", &Server::hover},
      {"textDocument/completion", &Server::complete},
      {"textDocument/definition", &Server::define},
      {"textDocument/documentSymbol", &Server::listSymbols},
      {"textDocument/formatting", &Server::format},
      // What MLIR's server alone does, and editors ask of every document.
      {"textDocument/references", &Server::answerNothing},
      {"textDocument/codeAction", &Server::answerNothing},
      {"textDocument/inlayHint", &Server::answerNothing},
  };
  return answers;
}

void Server::handleRequest(StringRef method, const Object &params, const Object &message) {
  const Value &id = *message.get("id");
  if (method == "initialize") {
    if (initialized_)
      return client_.replyError(id, kInvalidRequest, "the server is initialized already");
    initialized_ = true;
    initialization_ = message;
    return client_.reply(id, initialize(message));
  }
  if (!initialized_)
    return client_.replyError(id, kNotInitialized, "expected initialize first");
  if (shutDown_)
    return client_.replyError(id, kInvalidRequest, "the server is shut down");
  if (method == "shutdown") {
    shutDown_ = true;
    return client_.reply(id, nullptr);
  }
  auto answer = getAnswers().find(method);
  bool isKnown = answer != getAnswers().end();
  Document *document = findDocument(params);
  // Of requests only those of MLIR's server have no document: mlir/convertFromBytecode and the like.
  bool isForMlir = document ? document->isMlir && method != "textDocument/formatting" : method.starts_with("mlir/");
  if (isForMlir) {
    if (!reviveMlir() || !mlir_.forward(message))
      client_.replyError(id, kInternalError, "MLIR's language server does not run");
    return;
  }
  if (!isKnown)
    return client_.replyError(id, kMethodNotFound, ("unknown method " + method).str());
  if (!document)
    return client_.replyError(id, kInvalidParams, "the document is not open");
  client_.reply(id, document->service ? (this->*answer->second)(*document, params) : Value(nullptr));
}

void Server::handleNotification(StringRef method, const Object &params, const Object &message) {
  if (method == "exit") {
    exited_ = true;
    return;
  }
  if (!initialized_ || shutDown_)
    return;
  if (method == "textDocument/didOpen")
    return open(getObject(params, "textDocument"), message);
  Document *document = findDocument(params);
  if (document && method == "textDocument/didChange")
    change(*document, params, message);
  else if (document && method == "textDocument/didClose")
    close(*document, message);
  else if (document ? document->isMlir : method == "initialized")
    mlir_.forward(message);
}

Value Server::initialize(const Object &message) {
  Value capabilities = Object{
      {"positionEncoding", "utf-16"},
      {"textDocumentSync", Object{{"openClose", true}, {"change", 1}}},
      {"hoverProvider", true},
      {"completionProvider", Object{{"triggerCharacters", Array{"[", "\"", "."}}}},
      {"definitionProvider", true},
      {"documentSymbolProvider", true},
      {"documentFormattingProvider", true},
  };
  ++mlirStarts_;
  if (mlir_.start())
    if (std::optional<Value> result = mlir_.call(message))
      if (const Object *object = result->getAsObject())
        if (const Object *others = object->getObject("capabilities"))
          capabilities = unite(capabilities, Object(*others));
  return Object{{"capabilities", std::move(capabilities)}, {"serverInfo", Object{{"name", "morph-lsp-server"}}}};
}

bool Server::reviveMlir() {
  if (mlir_.isRunning())
    return true;
  if (mlirStarts_ == kMaxMlirStarts)
    return false;
  ++mlirStarts_;
  if (!mlir_.start() || !mlir_.call(initialization_))
    return false;
  mlir_.forward(Object{{"jsonrpc", "2.0"}, {"method", "initialized"}, {"params", Object()}});
  for (const auto &[uri, document] : documents_)
    if (document.isMlir)
      mlir_.forward(Object{{"jsonrpc", "2.0"},
                           {"method", "textDocument/didOpen"},
                           {"params", Object{{"textDocument", Object{{"uri", uri},
                                                                     {"languageId", "mlir"},
                                                                     {"version", document.version},
                                                                     {"text", document.lines.getText()}}}}}});
  return true;
}

void Server::open(const Object &item, const Object &message) {
  std::optional<StringRef> uri = item.getString("uri"), text = item.getString("text");
  if (!uri || !text || documents_.size() == kMaxDocuments)
    return;
  Document &document = documents_[uri->str()];
  document = Document();
  document.uri = uri->str();
  StringRef language = item.getString("languageId").value_or("");
  if (language != "morph" && language != "toml" && language != "mlir")
    language = uri->rsplit('.').second;
  document.isMlir = language == "mlir";
  if (language == "morph")
    document.service = language::makeLanguageService(getPath(*uri), spec::findArchProblems);
  else if (language == "toml")
    document.service = spec::makeLanguageService(getPath(*uri));
  if (const Value *version = item.get("version"))
    document.version = *version;
  setText(document, *text);
  tellMlir(document, message);
}

void Server::tellMlir(const Document &document, const Object &message) {
  // One that is started again gets the documents as they have become.
  if (document.isMlir && !mlir_.forward(message))
    reviveMlir();
}

void Server::change(Document &document, const Object &params, const Object &message) {
  const Array *changes = params.getArray("contentChanges");
  const Object *last = changes && !changes->empty() ? changes->back().getAsObject() : nullptr;
  std::optional<StringRef> text = last ? last->getString("text") : std::nullopt;
  if (!text)
    return;
  if (const Value *version = getObject(params, "textDocument").get("version"))
    document.version = *version;
  setText(document, *text);
  tellMlir(document, message);
}

void Server::setText(Document &document, StringRef text) {
  document.lines = TextLines(text.str());
  if (!document.service)
    return;
  document.service->setText(document.lines.getText());
  document.changed = true;
}

void Server::close(Document &document, const Object &message) {
  if (document.isMlir)
    mlir_.forward(message);
  if (document.service)
    publish(document, {});
  documents_.erase(documents_.find(document.uri));
}

void Server::publishProblems() {
  for (auto &[uri, document] : documents_) {
    if (!std::exchange(document.changed, false))
      continue;
    Array problems;
    for (const Problem &problem : document.service->getProblems()) {
      Array notes;
      for (const Problem::Note &note : problem.notes)
        notes.push_back(Object{{"location", getLocation(document, note.place)}, {"message", note.message}});
      Object object{{"range", document.lines.getRange(problem.range)},
                    {"severity", 1},
                    {"source", "morph"},
                    {"message", problem.message}};
      if (!notes.empty())
        object["relatedInformation"] = std::move(notes);
      problems.push_back(std::move(object));
    }
    publish(document, std::move(problems));
  }
}

void Server::publish(const Document &document, Array problems) {
  Object params{{"uri", document.uri}, {"diagnostics", std::move(problems)}};
  if (document.version.getAsInteger())
    params["version"] = document.version;
  client_.write(
      Value(Object{{"jsonrpc", "2.0"}, {"method", "textDocument/publishDiagnostics"}, {"params", std::move(params)}}));
}

Value Server::hover(Document &document, const Object &params) {
  std::optional<Hover> hover = document.service->getHover(document.lines.getOffset(getObject(params, "position")));
  if (!hover)
    return nullptr;
  return Object{{"contents", makeMarkdown(hover->markdown)}, {"range", document.lines.getRange(hover->range)}};
}

Value Server::complete(Document &document, const Object &params) {
  Array items;
  size_t offset = document.lines.getOffset(getObject(params, "position"));
  for (const Completion &completion : document.service->getCompletions(offset)) {
    Object item{{"label", completion.label},
                {"kind", getCompletionKind(completion.kind)},
                // Editors sort by name where nothing else is said.
                {"sortText", llvm::formatv("{0,0+5}", items.size()).str()},
                {"textEdit", Object{{"range", document.lines.getRange(completion.replaced)},
                                    {"newText", completion.text.empty() ? completion.label : completion.text}}}};
    if (!completion.detail.empty())
      item["detail"] = completion.detail;
    if (!completion.markdown.empty())
      item["documentation"] = makeMarkdown(completion.markdown);
    items.push_back(std::move(item));
  }
  return Object{{"isIncomplete", false}, {"items", std::move(items)}};
}

Value Server::define(Document &document, const Object &params) {
  size_t offset = document.lines.getOffset(getObject(params, "position"));
  std::optional<TextPlace> place = document.service->findDefinition(offset);
  return place ? Value(getLocation(document, *place)) : Value(nullptr);
}

static Array makeSymbols(const TextLines &lines, llvm::ArrayRef<Symbol> symbols) {
  Array array;
  for (const Symbol &symbol : symbols)
    array.push_back(Object{{"name", symbol.name},
                           {"detail", symbol.detail},
                           {"kind", getSymbolKind(symbol.kind)},
                           {"range", lines.getRange(symbol.range)},
                           {"selectionRange", lines.getRange(symbol.nameRange)},
                           {"children", makeSymbols(lines, symbol.children)}});
  return array;
}

Value Server::listSymbols(Document &document, const Object &params) {
  return makeSymbols(document.lines, document.service->getSymbols());
}

Value Server::format(Document &document, const Object &params) {
  std::optional<std::string> text = document.service->format();
  if (!text || *text == document.lines.getText())
    return Array();
  TextRange whole{0, document.lines.getText().size()};
  return Array{Object{{"range", document.lines.getRange(whole)}, {"newText", *text}}};
}

Server::Document *Server::findDocument(const Object &params) {
  std::optional<StringRef> uri = getObject(params, "textDocument").getString("uri");
  auto found = uri ? documents_.find(*uri) : documents_.end();
  return found == documents_.end() ? nullptr : &found->second;
}

Object Server::getLocation(const Document &document, const TextPlace &place) {
  if (place.path.empty())
    return Object{{"uri", document.uri}, {"range", document.lines.getRange(place.range)}};
  llvm::Expected<mlir::lsp::URIForFile> uri = mlir::lsp::URIForFile::fromFile(place.path);
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> buffer = readTextFile(place.path, kMaxOtherFileBytes);
  // What is no file any more has a first line.
  TextLines lines(buffer ? (*buffer)->getBuffer().str() : "");
  if (!buffer)
    llvm::consumeError(buffer.takeError());
  std::string text = uri ? uri->uri().str() : document.uri;
  if (!uri)
    llvm::consumeError(uri.takeError());
  return Object{{"uri", text}, {"range", lines.getRange(place.range)}};
}
