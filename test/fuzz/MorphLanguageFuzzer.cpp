// SPDX-License-Identifier: Apache-2.0
// A `.morph` file: parsed, checked and formatted, and asked of as editors do. What parses has a canonical text that
// says the same and is its own.

#include "TokenMutator.h"

#include "frontends/morph/Check.h"
#include "frontends/morph/Format.h"
#include "frontends/morph/LanguageService.h"
#include "frontends/morph/Parser.h"

#include <cstdlib>

using namespace morph;
using namespace morph::language;

const std::vector<std::string> &fuzz::formatWords() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> list{"mixer a {\n",
                                  "arch b {\n",
                                  "layers all = ",
                                  "full",
                                  "gla(rank = 8)",
                                  "\"m.morph:m(k = 2)\"",
                                  "tie 0..3\n",
                                  "pin 3 = ",
                                  "pattern one full in every 4\n",
                                  "budget cache_bytes = ",
                                  " at 4096",
                                  " by \"c.json\"\n",
                                  "}\n",
                                  "model \"a\"",
                                  "recipe \"a\"",
                                  "budget cache_bytes = ",
                                  "budget decode_seconds = 1 at 2 by \"a\"",
                                  "weight ",
                                  "frozen ",
                                  "dim K = ",
                                  "require ",
                                  "if ",
                                  "else",
                                  "return ",
                                  "doc \"a\"",
                                  "source \"b\"",
                                  "~ normal(",
                                  "repeat(",
                                  "base",
                                  "H",
                                  "M",
                                  "G",
                                  "D",
                                  "x",
                                  "and",
                                  "or",
                                  "not",
                                  "base.qk_norm",
                                  "base.layer",
                                  "real",
                                  "bool",
                                  "true",
                                  "// c\n",
                                  "base.q_proj.bias",
                                  "\n",
                                  "heads = G",
                                  "..",
                                  "|",
                                  " ^ 0.5",
                                  "1e308",
                                  "2147483647"};
    for (const auto &function : getTensorFunctions()) {
      list.push_back(function.first + "(");
      for (const Parameter &parameter : function.second.parameters)
        list.push_back(parameter.name + " = ");
    }
    for (llvm::StringRef name : getScalarFunctionNames())
      list.push_back((name + "(").str());
    return list;
  }();
  return words;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  llvm::StringRef input(reinterpret_cast<const char *>(data), size);
  // What an editor asks, in the middle and at the end.
  std::unique_ptr<LanguageService> service = makeLanguageService("");
  service->setText(input);
  for (size_t at : {size / 2, size}) {
    service->getHover(at);
    service->getCompletions(at);
    service->findDefinition(at);
  }
  service->getSymbols();
  Diagnostics diagnostics("fuzz", llvm::nulls());
  readMixers(diagnostics.addText("input", input), diagnostics);
  std::optional<File> file = parseFile(diagnostics.addText("input", input), diagnostics);
  if (!file)
    return 0;
  std::string formatted = formatFile(*file);
  std::optional<File> again = parseFile(diagnostics.addText("formatted", formatted), diagnostics);
  if (!again || !haveSameMeaning(*file, *again) || formatFile(*again) != formatted)
    std::abort();
  return 0;
}
