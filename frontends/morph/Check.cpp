// SPDX-License-Identifier: Apache-2.0
// The checks of a file, and what every mixer knows.

#include "frontends/morph/Check.h"

#include "frontends/morph/BaseNames.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/morph/MixerChecker.h"
#include "frontends/morph/Parser.h"
#include "runtime/choice/Space.h"

#include "llvm/ADT/StringMap.h"

using namespace morph;
using namespace morph::language;

bool morph::language::isSizeOfEveryMixer(llvm::StringRef name) {
  return name.size() == 1 && llvm::StringRef("MHGD").contains(name);
}

MixerChecker::MixerChecker(const File &file, const Mixer &mixer, CheckedMixer &result, Diagnostics &diagnostics)
    : file_(file), mixer_(mixer), result_(result), diagnostics_(diagnostics) {
  for (const BaseName &size : getBaseSizes())
    symbols_[size.name] = {Symbol::Kind::Size, {size.kind, {}}, {}, /*isSize=*/true};
  for (const BaseName &fact : getBaseFacts())
    symbols_[fact.name] = {Symbol::Kind::Fact, {fact.kind, {}}, {}};
  symbols_["x"] = {Symbol::Kind::Input, {ValueKind::Activation, {SizePolynomial::makeName("M")}}, {}};
}

void MixerChecker::run() {
  scope_ = Scope::Model;
  checkOptions();
  checkDimensions();
  checkRequirements();
  checkWeights();
  scope_ = Scope::Values;
  checkStatements(mixer_.statements);
  checkReturn();
  checkWeightUses();
}

static void checkFile(CheckedFile &result, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  llvm::StringMap<SourceRange> names;
  for (const Mixer &mixer : result.file.mixers) {
    if (llvm::StringRef(mixer.name.text).contains('.'))
      diagnostics.error(mixer.name.range, "the name of mixer '" + mixer.name.text + "' has a dot");
    if (mixer.name.text == kFullAttention)
      diagnostics.error(mixer.name.range, "a mixer cannot be called 'full': that is the base's own attention");
    auto [known, isNew] = names.try_emplace(mixer.name.text, mixer.name.range);
    if (!isNew)
      diagnostics.error(mixer.name.range, "mixer '" + mixer.name.text + "' stands twice", "",
                        {{known->second, "it stands here first"}});
    CheckedMixer &checked = result.mixers.emplace_back();
    checked.mixer = &mixer;
    MixerChecker(result.file, mixer, checked, diagnostics).run();
    if (diagnostics.getErrorCount() >= before + kMaxErrors)
      break;
  }
  for (const Arch &arch : result.file.archs) {
    auto [known, isNew] = names.try_emplace(arch.name.text, arch.name.range);
    if (!isNew)
      diagnostics.error(arch.name.range, "'" + arch.name.text + "' stands twice", "",
                        {{known->second, "it stands here first"}});
    checkArch(arch, result.file, diagnostics);
  }
}

std::unique_ptr<CheckedFile> morph::language::readMixers(llvm::StringRef text, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  std::optional<File> file = parseFile(text, diagnostics);
  if (!file)
    return nullptr;
  auto result = std::make_unique<CheckedFile>();
  result->file = std::move(*file);
  checkFile(*result, diagnostics);
  if (diagnostics.getErrorCount() != before)
    return nullptr;
  return result;
}

std::unique_ptr<CheckedFile> morph::language::readMixersPartly(llvm::StringRef text, Diagnostics &diagnostics) {
  unsigned before = diagnostics.getErrorCount();
  auto result = std::make_unique<CheckedFile>();
  result->file = parsePartly(text, diagnostics);
  // Lines that were left out would be missed as well.
  Diagnostics unheard("", llvm::nulls());
  checkFile(*result, diagnostics.getErrorCount() == before ? diagnostics : unheard);
  unheard.take();
  return result;
}
