// SPDX-License-Identifier: Apache-2.0
// A spec: TOML to a resolved spec and the base's IR. Lines that begin with "#--set " are overrides of the command line.

#include "FuzzContext.h"
#include "MemoryFile.h"
#include "TokenMutator.h"

#include "frontends/ModelBuilder.h"
#include "frontends/spec/Schema.h"
#include "frontends/spec/Spec.h"

using namespace morph;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> words{"true", "false", "[[task]]", "[pretrain.base]", "\n"};
    for (const spec::Section &section : spec::getSections())
      words.push_back(("\n[" + section.name + "]\n").str());
    for (const spec::Key &key : spec::getKeys()) {
      words.push_back(spec::getLeafName(key).str());
      for (llvm::StringRef word : spec::getAllowedWords(key))
        words.push_back(word.str());
    }
    return words;
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::MemoryFile file;
  static fuzz::FuzzContext context(&loadModelDialects);
  file.set(data, size);
  SpecOptions options;
  options.configOnly = true;
  llvm::StringRef text(reinterpret_cast<const char *>(data), size);
  llvm::SmallVector<llvm::StringRef> lines;
  text.split(lines, '\n');
  for (llvm::StringRef line : lines)
    if (line.consume_front("#--set "))
      options.overrides.push_back(line.str());
  Diagnostics diagnostics("fuzz", llvm::nulls());
  std::optional<ImportedSpec> imported = importSpec(context.get(), file.path(), options, diagnostics);
  if (!imported)
    return 0;
  printSpec(imported->spec);
  if (imported->model.init)
    printBaseConfig(imported->model);
  return 0;
}
