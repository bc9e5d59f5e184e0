// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Mixers.h"

#include "frontends/morph/Lower.h"
#include "frontends/morph/Parser.h"

#include "mlir/IR/Verifier.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/SHA256.h"

using namespace mlir;
using namespace morph;

namespace {

struct Builtin {
  StringRef name, text;
};

/// Sorted by name.
constexpr Builtin kBuiltins[] = {
#define MORPH_MIXER(NAME, TEXT) {NAME, TEXT},
#include "frontends/BuiltinMixers.inc"
#undef MORPH_MIXER
};

/// Adds a mixer of a parsed file to a model, before its other symbols, where it is found fast. Null after an error.
MixerOp addMixer(ModelOp model, const language::CheckedMixer &mixer, const Diagnostics &diagnostics) {
  OpBuilder builder(model.getContext());
  Block &body = model.getBody().front();
  builder.setInsertionPointToStart(&body);
  for (auto known : body.getOps<MixerOp>())
    builder.setInsertionPointAfter(known);
  MixerOp op = language::lowerMixer(builder, mixer, diagnostics);
  // What follows trusts what a model has, and writes it to files.
  if (succeeded(verify(op)))
    return op;
  op.erase();
  return {};
}

} // namespace

ArrayRef<StringRef> morph::getBuiltinMixers() {
  static const SmallVector<StringRef> names =
      llvm::map_to_vector(kBuiltins, [](const Builtin &builtin) { return builtin.name; });
  return names;
}

StringRef morph::getBuiltinMixerText(StringRef name) {
  const auto *builtin = llvm::find_if(kBuiltins, [&](const Builtin &known) { return known.name == name; });
  return builtin == std::end(kBuiltins) ? "" : builtin->text;
}

MixerOp morph::declareMixer(ModelOp model, StringRef name) {
  if (Operation *symbol = SymbolTable::lookupSymbolIn(model, name))
    return dyn_cast<MixerOp>(symbol);
  StringRef builtin = getBuiltinMixerText(name);
  if (builtin.empty())
    return {};
  Diagnostics diagnostics("morph", llvm::errs());
  StringRef text = diagnostics.addText((name + ".morph").str(), builtin);
  std::unique_ptr<language::CheckedFile> file = language::readMixers(text, diagnostics);
  assert(file && file->mixers.size() == 1 && "the mixers of Morph are tested");
  return addMixer(model, file->mixers.front(), diagnostics);
}

bool morph::declareMixersOfFile(ModelOp model, StringRef path, Diagnostics &diagnostics) {
  std::optional<StringRef> text = diagnostics.addFile(path, language::kMaxFileBytes);
  std::unique_ptr<language::CheckedFile> file = text ? language::readMixers(*text, diagnostics) : nullptr;
  if (!file)
    return false;
  return llvm::all_of(file->mixers, [&](const language::CheckedMixer &mixer) {
    return static_cast<bool>(addMixer(model, mixer, diagnostics));
  });
}

std::string morph::digestDeclaration(MixerOp mixer) {
  std::string text;
  llvm::raw_string_ostream os(text);
  mixer.print(os, OpPrintingFlags().useLocalScope());
  return llvm::toHex(llvm::SHA256::hash(llvm::arrayRefFromStringRef(os.str())), /*LowerCase=*/true).substr(0, 16);
}

MixerFiles::MixerFiles(Diagnostics &diagnostics) : diagnostics_(diagnostics) {}
MixerFiles::~MixerFiles() = default;

MixerOp MixerFiles::declare(ModelOp model, StringRef path, StringRef name, SourceRange usedAt) {
  auto [entry, isNew] = files_.try_emplace(path.str());
  if (isNew)
    if (std::optional<StringRef> text = diagnostics_.addFile(path, language::kMaxFileBytes, usedAt))
      entry->second = language::readMixers(*text, diagnostics_);
  const language::CheckedFile *file = entry->second.get();
  if (!file)
    return {};
  auto getName = [](const language::CheckedMixer &known) -> const std::string & { return known.mixer->name.text; };
  auto mixer = llvm::find_if(file->mixers, [&](const auto &known) { return getName(known) == name; });
  if (mixer == file->mixers.end()) {
    auto names = llvm::map_range(file->mixers, getName);
    diagnostics_.error(usedAt, "'" + path + "' declares no mixer '" + name + "'",
                       file->mixers.empty() ? "it declares none" : "it declares " + llvm::join(names, ", "));
    return {};
  }
  if (SymbolTable::lookupSymbolIn(model, name)) {
    diagnostics_.error(usedAt, "a mixer cannot be called '" + name + "': the model has something of that name",
                       "rename it in '" + path.str() + "'");
    return {};
  }
  return addMixer(model, *mixer, diagnostics_);
}
