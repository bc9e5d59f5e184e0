// SPDX-License-Identifier: Apache-2.0
// What can be told of an `arch` without its model.

#include "frontends/morph/CheckArch.h"

#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"
#include "frontends/morph/Parser.h"
#include "runtime/choice/Space.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>
#include <map>

using namespace morph;
using namespace morph::language;

namespace {

constexpr double kMaxNumber = 1 << 30; ///< Of layers and tokens.

class ArchChecker {
public:
  ArchChecker(const File &file, Diagnostics &diagnostics) : file_(file), diagnostics_(diagnostics) {}

  void check(const ArchLine &line) {
    using Kind = ArchLine::Kind;
    checkLayers(line.layers);
    switch (line.kind) {
    case Kind::Doc:
    case Kind::Model:
    case Kind::Recipe:
      return checkOnce(line);
    case Kind::Tie:
      return;
    case Kind::Layers:
      return checkCandidates(line);
    case Kind::Pin:
      for (const Word &name : line.mixers)
        checkName(name);
      return;
    case Kind::Pattern:
      checkName(line.mixers.front());
      if (checkWhole(line.count, 0) && checkWhole(line.every, 1) && line.count.value > line.every.value)
        diagnostics_.error(line.count.range,
                           line.count.text + " of every " + line.every.text + " layers are more than there are");
      return;
    case Kind::Budget:
      return checkBudget(line);
    }
  }

private:
  bool checkWhole(const Constant &number, double least) {
    if (number.value == std::floor(number.value) && number.value >= least && number.value <= kMaxNumber)
      return true;
    diagnostics_.error(number.range, "expected a whole number from " + printNumber(least) + " to " +
                                         printNumber(kMaxNumber) + ", found " + number.text);
    return false;
  }

  void checkLayers(const LayerSet &layers) {
    for (const auto &[first, last] : layers.ranges)
      if (checkWhole(first, 0) && checkWhole(last, 0) && last.value < first.value)
        diagnostics_.error(first.range, "layers " + first.text + ".." + last.text + " end before they begin");
  }

  void checkOnce(const ArchLine &line) {
    auto [known, isNew] = once_.try_emplace(line.kind, line.range);
    if (!isNew)
      diagnostics_.error(line.range, "this line stands twice", "", {{known->second, "it stands here first"}});
    if (line.text.text.empty() && line.kind != ArchLine::Kind::Doc)
      diagnostics_.error(line.text.range, "the path is empty");
  }

  void checkCandidates(const ArchLine &line) {
    std::map<std::string, SourceRange> seen;
    for (const Word &text : line.mixers) {
      if (llvm::StringRef(text.text).ends_with(".morph")) {
        diagnostics_.error(text.range, "'" + text.text + "' is a file; a mixer of it is FILE:NAME");
        continue;
      }
      std::string message;
      std::optional<MixerReference> reference = parseMixerReference(text.text, message);
      if (!reference) {
        diagnostics_.error(text.range, "'" + text.text + "' names no mixer: " + message);
        continue;
      }
      checkMixerName(text, *reference);
      if (reference->name == kFullAttention && !reference->options.empty())
        diagnostics_.error(text.range, "full attention has no options");
      auto [known, isNew] = seen.try_emplace(printMixerReference(*reference), text.range);
      if (!isNew)
        diagnostics_.error(text.range, "'" + text.text + "' is a candidate already", "",
                           {{known->second, "it is given here first"}});
    }
  }

  void checkName(const Word &name) {
    if (llvm::StringRef(name.text).find_first_of("(:") != llvm::StringRef::npos)
      diagnostics_.error(name.range, "expected a candidate's name, found '" + name.text + "'",
                         "options and files stand where the layers get it");
  }

  void checkBudget(const ArchLine &line) {
    auto measures = llvm::map_to_vector(getBudgetMeasures(), [](const BudgetMeasure &known) { return known.name; });
    llvm::StringRef measure = line.text.text;
    if (!llvm::is_contained(measures, measure)) {
      llvm::StringRef nearest = findNearest(measure, measures);
      return diagnostics_.error(line.text.range, "there is no budget of '" + measure + "'",
                                nearest.empty() ? "budgets are of full_layers, ratio, cache_bytes or decode_seconds"
                                                : "did you mean '" + nearest.str() + "'?");
    }
    bool isCost = measure == "cache_bytes" || measure == "decode_seconds";
    if (isCost && !line.context)
      diagnostics_.error(line.range, "a budget of " + measure + " holds at a context",
                         "write for example ... at 32768");
    if (!isCost && (line.context || line.table))
      diagnostics_.error(line.range, "a budget of " + measure + " has no context and no table");
    if (measure == "decode_seconds" && !line.table)
      diagnostics_.error(line.range, "a budget of decode_seconds needs a table of costs",
                         "write by \"costs.json\", which 'morph bench mixers' makes");
    if (measure == "cache_bytes" && line.table)
      diagnostics_.error(line.range, "a budget of cache_bytes needs no table: the mixers' states are known");
    if (line.context)
      checkWhole(*line.context, 1);
    if (measure == "full_layers")
      checkWhole(line.limit, 0);
    else if (!(line.limit.value > 0) || (measure == "ratio" && line.limit.value > 1) || line.limit.value > 1e15)
      diagnostics_.error(line.limit.range, "a budget of " + measure + " is a number above 0" +
                                               (measure == "ratio" ? ", at most 1" : "") + ", not " + line.limit.text);
    auto [known, isNew] = budgets_.try_emplace(measure.str() + (line.context ? line.context->text : ""), line.range);
    if (!isNew)
      diagnostics_.error(line.range, "this budget stands twice", "", {{known->second, "it stands here first"}});
  }

  /// A mixer of this file or of Morph; those of other files are looked up when they are read.
  void checkMixerName(const Word &text, const MixerReference &reference) {
    llvm::SmallVector<llvm::StringRef> known(getBuiltinMixers());
    known.push_back(kFullAttention);
    for (const Mixer &mixer : file_.mixers)
      known.push_back(mixer.name.text);
    if (!reference.path.empty() || llvm::is_contained(known, reference.name))
      return;
    llvm::StringRef nearest = findNearest(reference.name, known);
    diagnostics_.error(text.range, "unknown mixer '" + reference.name + "'",
                       nearest.empty() ? "neither this file nor Morph declares it: 'morph mixers' lists Morph's"
                                       : "did you mean '" + nearest.str() + "'?");
  }

  const File &file_;
  Diagnostics &diagnostics_;
  std::map<ArchLine::Kind, SourceRange> once_;
  std::map<std::string, SourceRange> budgets_;
};

} // namespace

llvm::ArrayRef<BudgetMeasure> morph::language::getBudgetMeasures() {
  static constexpr BudgetMeasure measures[] = {
      {"full_layers", "layers", "Exactly so many layers keep full attention."},
      {"ratio", "a share of the layers",
       "Exactly this share of the layers keeps full attention, rounded, but at least one layer; layers that keep a "
       "window are not counted. Above 0, at most 1."},
      {"cache_bytes", "bytes",
       "One sequence's caches and states take at most so much at the context, in tokens, that follows `at`."},
      {"decode_seconds", "seconds",
       "A token takes at most so long at the context, in tokens, that follows `at`, by the table of costs that follows "
       "`by` and that `morph bench mixers` makes."},
  };
  return measures;
}

void morph::language::checkArch(const Arch &arch, const File &file, Diagnostics &diagnostics) {
  ArchChecker checker(file, diagnostics);
  for (const ArchLine &line : arch.lines)
    checker.check(line);
}

const ArchLine *morph::language::findLine(const Arch &arch, ArchLine::Kind kind) {
  for (const ArchLine &line : arch.lines)
    if (line.kind == kind)
      return &line;
  return nullptr;
}
