// SPDX-License-Identifier: Apache-2.0
// IR through one pipeline, which the first line chooses: "// pipeline 12", or "// bytecode, pipeline 12" for a detour
// over bytecode.

#include "IrText.h"
#include "Pipelines.h"
#include "TokenMutator.h"

#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/Parser/Parser.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace morph;

static fuzz::Pipelines &pipelines() {
  static fuzz::Pipelines pipelines;
  return pipelines;
}

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> words{"base",
                                   "paired",
                                   "relaxed",
                                   "hybrid",
                                   "layer",
                                   "heads",
                                   "kv_heads",
                                   "head_dim",
                                   "window",
                                   "weights",
                                   "from",
                                   "rope",
                                   "scale",
                                   "norm_eps",
                                   "options",
                                   "init",
                                   "full",
                                   "lightning",
                                   "gated_deltanet",
                                   "i64",
                                   "f32",
                                   "bf16",
                                   "tensor<?x?xi64>",
                                   "tensor<?x?x16xf32>",
                                   "tensor<1xf32>",
                                   "return",
                                   "{",
                                   "}",
                                   "unit",
                                   "[]",
                                   "\n"};
    for (RegisteredOperationName name : pipelines().context().getRegisteredOperations())
      words.push_back(name.getStringRef().str());
    return words;
  }();
  return words;
}

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream os(text);
  module.print(os);
  return text;
}

/// The module written as bytecode and read back; aborts where that changes it. MLIR's reader trusts its input, so
/// bytecode of other makers is not fuzzed (and morph-translate refuses it).
static OwningOpRef<ModuleOp> throughBytecode(ModuleOp module) {
  std::string bytes;
  llvm::raw_string_ostream os(bytes);
  if (failed(writeBytecodeToFile(module, os)))
    return nullptr;
  OwningOpRef<ModuleOp> again = parseSourceString<ModuleOp>(bytes, module.getContext());
  if (!again || print(*again) != print(module)) {
    llvm::errs() << "bytecode reads back as " << (again ? "another module" : "no module") << "\n";
    std::abort();
  }
  return again;
}

/// Whether brackets nest so deep that MLIR's parser, which recurses without a limit, leaves the stack. The tools
/// contain that too (tools/Containment.h).
static bool nestsDeep(llvm::StringRef text) {
  int64_t depth = 0;
  bool quoted = false;
  for (char c : text) {
    quoted = c != '\n' && quoted != (c == '"');
    if (llvm::StringRef("([{<").contains(c) && ++depth > 256)
      return true;
    if (!quoted && llvm::StringRef(")]}>").contains(c) && depth > 0)
      --depth;
  }
  return false;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  // MLIR's lexer reads the zero behind the text, as of a file.
  std::string text(reinterpret_cast<const char *>(data), size);
  llvm::StringRef line = llvm::StringRef(text).take_until([](char c) { return c == '\n'; });
  bool bytecode = line.consume_front("// bytecode, pipeline ");
  unsigned number = 0;
  if (bytecode || line.consume_front("// pipeline "))
    line.consumeInteger(10, number);
  if (fuzz::refersForward(text) || nestsDeep(text))
    return 0;
  OwningOpRef<ModuleOp> module = parseSourceString<ModuleOp>(text, &pipelines().context());
  if (module && bytecode)
    module = throughBytecode(*module);
  if (module)
    pipelines().run(*module, number);
  return 0;
}
