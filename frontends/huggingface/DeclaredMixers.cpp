// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/DeclaredMixers.h"

#include "dialect/MorphOps.h"

#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace morph;

/// Bytes of a file of declarations, and brackets within each other.
static constexpr uint64_t kMaxBytes = 1 << 20;
static constexpr size_t kMaxDepth = 64;

/// Whether brackets are nested deeper than that: MLIR's parser calls itself for each.
static bool isTooDeep(StringRef text) {
  size_t depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '"' || c == '\n')
      quoted = c == '"' && !quoted; // A string ends with its line.
    else if (quoted)
      i += c == '\\';
    else if (StringRef("([{<").contains(c) && ++depth > kMaxDepth)
      return true;
    else if (StringRef(")]}>").contains(c) && depth > 0 && !(c == '>' && text[i - 1] == '-'))
      --depth;
  }
  return false;
}

std::optional<OwningOpRef<ModuleOp>> morph::readDeclaredMixers(MLIRContext &context, StringRef folder,
                                                               Diagnostics &diagnostics) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, "mixers.mlir");
  if (!llvm::sys::fs::exists(path))
    return OwningOpRef<ModuleOp>();
  std::optional<StringRef> text = diagnostics.addFile(path, kMaxBytes);
  if (!text)
    return std::nullopt;
  if (isBytecode(llvm::MemoryBufferRef(*text, path))) {
    // MLIR's reader of bytecode trusts its input.
    diagnostics.error("'" + path.str() + "' is MLIR bytecode, expected text");
    return std::nullopt;
  }
  if (isTooDeep(*text)) {
    diagnostics.error("'" + path.str() + "' has more than " + llvm::Twine(kMaxDepth) + " brackets within each other");
    return std::nullopt;
  }
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    std::string place = path.str().str();
    if (auto location = diagnostic.getLocation()->findInstanceOf<FileLineColLoc>())
      place += ":" + std::to_string(location.getLine()) + ":" + std::to_string(location.getColumn());
    diagnostics.error(place + ": " + diagnostic.str());
    return success();
  });
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(*text, ParserConfig(&context), path);
  if (!module)
    return std::nullopt;
  auto models = module->getOps<ModelOp>();
  bool isAlone = llvm::hasSingleElement(module->getBody()->getOperations()) && llvm::hasSingleElement(models);
  if (!isAlone || llvm::any_of((*models.begin()).getBody().front(), [](Operation &op) { return !isa<MixerOp>(op); })) {
    diagnostics.error("'" + path.str() + "' holds something else than one morph.model of morph.mixers");
    return std::nullopt;
  }
  return module;
}
