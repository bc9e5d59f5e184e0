// SPDX-License-Identifier: Apache-2.0
// From an arch and a model to the space of choices: candidates by layer, constraints, budgets. S3, S5, S6.

#include "frontends/spec/SpecSpace.h"
#include "dialect/LinearMixers.h"
#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/morph/Mixers.h"
#include "frontends/morph/Parser.h"
#include "frontends/spec/CostTable.h"
#include "frontends/text/Utf8.h"
#include "runtime/choice/Solve.h"

#include "mlir/IR/Diagnostics.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"

#include <cmath>
#include <map>
#include <set>

using namespace morph;
using namespace morph::language;

namespace {

/// Bytes of a cached key's or value's element: what exports are made for.
constexpr int64_t kCacheElementBytes = 2;
constexpr double kPicoseconds = 1e12;
/// Budgets beyond it, which no model needs, are this one: its picoseconds are a whole number.
constexpr double kMaxSeconds = 1e6;
/// Of a line that messages and the resolved spec quote.
constexpr size_t kMaxQuote = 200;

/// A mixer with its options, known to the model.
struct KnownMixer {
  MixerReference reference;
  mlir::DictionaryAttr options;
  SourceRange place; ///< Where it is named first.
};

class SpaceBuilder {
public:
  SpaceBuilder(const Arch &arch, bool isFile, const spec::SpaceModel &model, Diagnostics &diagnostics)
      : arch_(arch), isFile_(isFile), target_(model), model_(model.op), diagnostics_(diagnostics),
        layers_(model_.getLayers()), files_(diagnostics) {}

  ~SpaceBuilder() {
    for (MixerOp mixer : borrowed_)
      mixer.erase();
  }

  std::optional<ChoiceSpace> run();

private:
  void error(SourceRange range, const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics_.error(range, message, hint);
  }
  ConstraintSource makeSource(const ArchLine &line, const std::string &text);
  /// The layers of a set that the model has; reports others.
  std::vector<int64_t> readLayers(const LayerSet &set);
  /// A mixer by its reference; null after an error, which is reported once.
  const KnownMixer *lookUp(const Word &text);
  std::optional<KnownMixer> declare(const Word &text, MixerReference reference);
  void readCandidates();
  /// Whether a layer has a window where others of the base have none. Such a layer is cheap already.
  bool hasWindowBesideOthers(int64_t layer) const;
  /// Whether it has one and keeps it, whatever else may stand in the others.
  bool keepsWindow(int64_t layer) const {
    return hasWindowBesideOthers(layer) && space_.layers[static_cast<size_t>(layer)].size() == 1;
  }
  void addCandidate(int64_t layer, const Word &text);
  void addPin(const ArchLine &line);
  void addTie(const ArchLine &line);
  void addPattern(const ArchLine &line);
  void addBudget(const ArchLine &line);
  void addFullLayers(const ArchLine &line);
  void addCosts(const ArchLine &line);
  void fillCacheBytes(const ArchLine &line, CostBudget &budget);
  /// False after an error.
  bool fillSeconds(const ArchLine &line, CostBudget &budget, double &fixed);
  /// Calls `visit` with the candidates of layers that are asked for and the mixers that they would be. Reports the
  /// first that does not fit the model.
  void forEachCandidate(llvm::function_ref<bool(size_t)> isAsked,
                        llvm::function_ref<void(size_t, size_t, TokenMixerOpInterface)> visit);
  /// Whether candidates fit the model, and which of them are trained.
  void checkCandidates();
  /// The space where what lines leave of layers to full attention alone is a constraint, which a conflict can name.
  ChoiceSpace withSingleCandidates();
  void reportConflict();
  /// The least that a budget could be, had the other lines their way; empty where there is none, or it takes too long.
  std::string describeLeast(size_t budget) const;

  const Arch &arch_;
  bool isFile_;
  const spec::SpaceModel &target_;
  ModelOp model_;
  Diagnostics &diagnostics_;
  int64_t layers_;
  ChoiceSpace space_;
  MixerFiles files_;
  std::map<std::string, std::optional<KnownMixer>> mixers_; ///< By the text of the reference.
  std::vector<std::pair<ConstraintSource, SourceRange>> places_;
  std::map<const ArchLine *, std::vector<int64_t>> single_; ///< Lines that leave layers full attention alone.
  std::vector<MixerOp> borrowed_;                           ///< In the model as long as this lives.
  std::vector<double> fixedSeconds_;                        ///< By budget: of a token beside its mixers.
};

ConstraintSource SpaceBuilder::makeSource(const ArchLine &line, const std::string &text) {
  auto [row, column] = diagnostics_.getLineAndColumn(line.range);
  ConstraintSource source;
  source.text = text;
  if (row != 0)
    source.place =
        diagnostics_.getTextName(line.range).str() + ":" + std::to_string(row) + ":" + std::to_string(column);
  places_.emplace_back(source, line.range);
  return source;
}

/// The line as it stands in its text, with single blanks, and its beginning where it is long.
std::string quote(const ArchLine &line) {
  std::string text;
  const char *end = line.range.End.getPointer();
  for (const char *c = line.range.Start.getPointer(); c != end && text.size() <= kMaxQuote + 4; ++c)
    if (!llvm::isSpace(*c))
      text += *c;
    else if (!text.empty() && text.back() != ' ')
      text += ' ';
  if (text.size() > kMaxQuote)
    text = text.substr(0, findCharacterBegin(text, kMaxQuote)) + "...";
  return text;
}

std::vector<int64_t> SpaceBuilder::readLayers(const LayerSet &set) {
  std::vector<int64_t> layers;
  if (set.ranges.empty())
    for (int64_t layer = 0; layer < layers_; ++layer)
      layers.push_back(layer);
  for (const auto &[first, last] : set.ranges) {
    if (last.value >= double(layers_)) {
      error(last.range,
            "there is no layer " + last.text + ": the model has layers 0 to " + llvm::Twine(layers_ - 1) + " [S6]");
      continue;
    }
    for (auto layer = int64_t(first.value); layer <= int64_t(last.value); ++layer)
      layers.push_back(layer);
  }
  llvm::sort(layers);
  layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
  return layers;
}

std::optional<KnownMixer> SpaceBuilder::declare(const Word &text, MixerReference reference) {
  MixerOp mixer;
  if (!reference.path.empty()) {
    // The same mixer may be there with other options.
    auto known = llvm::find_if(mixers_, [&](const auto &entry) {
      return entry.second && entry.second->reference.path == reference.path &&
             entry.second->reference.name == reference.name;
    });
    mixer = known != mixers_.end() ? llvm::cast<MixerOp>(mlir::SymbolTable::lookupSymbolIn(model_, reference.name))
                                   : files_.declare(model_, reference.path, reference.name, text.range);
    if (!mixer)
      return std::nullopt;
  } else {
    llvm::ArrayRef<llvm::StringRef> known = getBuiltinMixers();
    if (!llvm::is_contained(known, reference.name)) {
      llvm::StringRef nearest = findNearest(reference.name, known);
      error(text.range, "unknown mixer '" + reference.name + "' [S3]",
            nearest.empty() ? "known are " + llvm::join(known, ", ") : "did you mean '" + nearest.str() + "'?");
      return std::nullopt;
    }
    for (const auto &[other, mixer] : mixers_)
      if (mixer && !mixer->reference.path.empty() && mixer->reference.name == reference.name) {
        error(text.range, "'" + text.text + "' and '" + other + "' are different mixers of one name [S3]",
              "rename the one of the file");
        return std::nullopt;
      }
    // A mixer that comes with Morph becomes part of the model when layers are paired.
    bool isKnown = mlir::SymbolTable::lookupSymbolIn(model_, reference.name) != nullptr;
    mixer = declareMixer(model_, reference.name);
    if (!isKnown)
      borrowed_.push_back(mixer);
  }
  mlir::MLIRContext &context = *model_.getContext();
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    error(text.range, diagnostic.str() + " [S3]");
    return mlir::success();
  });
  mlir::FailureOr<mlir::DictionaryAttr> options =
      makeMixerOptions(mixer, reference, [&] { return mlir::emitError(mlir::UnknownLoc::get(&context)); });
  if (failed(options))
    return std::nullopt;
  return KnownMixer{reference, *options, text.range};
}

/// "it declares mine, other": the mixers of a file, for a hint; empty where it cannot be read.
static std::string describeMixers(llvm::StringRef path) {
  Diagnostics quiet("morph", llvm::nulls());
  std::optional<llvm::StringRef> text = quiet.addFile(path, kMaxFileBytes);
  std::optional<File> file = text ? parseFile(*text, quiet) : std::nullopt;
  quiet.take();
  if (!file)
    return "";
  auto names = llvm::map_range(file->mixers, [](const Mixer &mixer) -> const std::string & { return mixer.name.text; });
  return file->mixers.empty() ? "it declares no mixer" : "it declares " + llvm::join(names, ", ");
}

const KnownMixer *SpaceBuilder::lookUp(const Word &text) {
  auto [entry, isNew] = mixers_.try_emplace(text.text);
  if (isNew) {
    std::string message;
    if (llvm::StringRef(text.text).ends_with(".morph"))
      error(text.range, "'" + text.text + "' is a file; a mixer of it is FILE:NAME [S3]", describeMixers(text.text));
    else if (std::optional<MixerReference> reference = parseMixerReference(text.text, message))
      entry->second = declare(text, *reference);
    else
      error(text.range, "'" + text.text + "' names no mixer: " + message + " [S3]",
            "gated_deltanet(conv = 4), for example");
  }
  return entry->second ? &*entry->second : nullptr;
}

bool SpaceBuilder::hasWindowBesideOthers(int64_t layer) const {
  const std::vector<LayerConfig> &layers = target_.config.layers;
  return layers[static_cast<size_t>(layer)].window > 0 &&
         llvm::any_of(layers, [](const LayerConfig &other) { return other.window == 0; });
}

void SpaceBuilder::addCandidate(int64_t layer, const Word &text) {
  const KnownMixer *mixer = lookUp(text);
  if (!mixer)
    return;
  std::vector<Candidate> &candidates = space_.layers[static_cast<size_t>(layer)];
  size_t number = 1;
  for (const Candidate &known : candidates) {
    if (known.reference.empty())
      continue;
    const KnownMixer &other = *mixers_.at(known.reference);
    if (other.reference.name != mixer->reference.name)
      continue;
    ++number;
    if (other.options == mixer->options)
      return error(text.range, "'" + text.text + "' is a candidate already [S3]");
  }
  // One text, however it was written.
  std::string reference = printMixerReference(mixer->reference);
  mixers_.try_emplace(reference, *mixer);
  candidates.push_back({makeCandidateName(mixer->reference.name, number), reference});
}

void SpaceBuilder::readCandidates() {
  // The last line that names a layer says what may stand in it.
  std::vector<const ArchLine *> lineOf(static_cast<size_t>(layers_));
  for (const ArchLine &line : arch_.lines)
    if (line.kind == ArchLine::Kind::Layers)
      for (int64_t layer : readLayers(line.layers))
        lineOf[static_cast<size_t>(layer)] = &line;
  unsigned before = diagnostics_.getErrorCount();
  std::map<const ArchLine *, std::vector<int64_t>> withoutFull;
  for (int64_t layer = 0; layer < layers_; ++layer) {
    space_.layers.push_back({{kFullAttention, ""}});
    const ArchLine *line = lineOf[static_cast<size_t>(layer)];
    if (!line) {
      error(arch_.name.range, "layer " + llvm::Twine(layer) + " has no candidates [S3]",
            "write for example layers all = full | gated_deltanet");
      return;
    }
    bool hasFull = false;
    // An arch says itself what may stand where.
    const bool isLeft = !isFile_ && !target_.choosesWindows && hasWindowBesideOthers(layer);
    for (const Word &text : line->mixers) {
      if (text.text != kFullAttention && !isLeft)
        addCandidate(layer, text);
      else if (text.text == kFullAttention && hasFull)
        error(text.range, "'full' is a candidate already [S3]");
      hasFull |= text.text == kFullAttention;
    }
    if (diagnostics_.getErrorCount() != before)
      return; // Every layer of the line would say the same.
    if (space_.layers.back().size() == 1)
      single_[line].push_back(layer);
    if (!hasFull)
      withoutFull[line].push_back(layer);
  }
  for (const auto &[line, layers] : withoutFull) {
    AllowedCandidates allowed{makeSource(*line, quote(*line)), layers, {}};
    for (int64_t layer : layers)
      for (const Candidate &candidate : llvm::drop_begin(space_.layers[static_cast<size_t>(layer)]))
        if (!llvm::is_contained(allowed.candidates, candidate.name))
          allowed.candidates.push_back(candidate.name);
    space_.allowed.push_back(std::move(allowed));
  }
}

void SpaceBuilder::addPin(const ArchLine &line) {
  AllowedCandidates allowed;
  allowed.layers = readLayers(line.layers);
  for (const Word &name : line.mixers)
    allowed.candidates.push_back(name.text);
  if (line.mixers.empty()) // A spec's budget.linear.
    for (int64_t layer : allowed.layers) {
      if (keepsWindow(layer))
        return error(line.range, "layer " + llvm::Twine(layer) + " keeps its window, and is not to choose [S6]",
                     "linear.windows = true lets it be linear");
      for (const Candidate &candidate : llvm::drop_begin(space_.layers[static_cast<size_t>(layer)]))
        if (!llvm::is_contained(allowed.candidates, candidate.name))
          allowed.candidates.push_back(candidate.name);
    }
  for (const Word &name : line.mixers)
    for (int64_t layer : allowed.layers) {
      const std::vector<Candidate> &candidates = space_.layers[static_cast<size_t>(layer)];
      if (llvm::none_of(candidates, [&](const Candidate &candidate) { return candidate.name == name.text; })) {
        auto names = llvm::map_range(candidates, [](const Candidate &c) -> const std::string & { return c.name; });
        return error(name.range, "layer " + llvm::Twine(layer) + " has no candidate '" + name.text + "' [S6]",
                     "its candidates are " + llvm::join(names, ", "));
      }
    }
  std::string key = line.mixers.empty() ? "budget.linear = " : "budget.keep = ";
  allowed.source = makeSource(line, isFile_ ? quote(line) : key + quote(line));
  space_.allowed.push_back(std::move(allowed));
}

void SpaceBuilder::addTie(const ArchLine &line) {
  TiedLayers tie{makeSource(line, quote(line)), readLayers(line.layers)};
  auto isSame = [](const Candidate &a, const Candidate &b) { return a.name == b.name && a.reference == b.reference; };
  for (int64_t layer : tie.layers) {
    const std::vector<Candidate> &first = space_.layers[static_cast<size_t>(tie.layers.front())];
    const std::vector<Candidate> &other = space_.layers[static_cast<size_t>(layer)];
    if (!std::equal(first.begin(), first.end(), other.begin(), other.end(), isSame))
      return error(line.range, "layers " + llvm::Twine(tie.layers.front()) + " and " + llvm::Twine(layer) +
                                   " are tied, but have different candidates [S6]");
  }
  space_.ties.push_back(std::move(tie));
}

void SpaceBuilder::addPattern(const ArchLine &line) {
  ConstraintSource source = makeSource(line, quote(line));
  const Word &name = line.mixers.front();
  auto has = [&](const std::vector<Candidate> &candidates) {
    return llvm::any_of(candidates, [&](const Candidate &candidate) { return candidate.name == name.text; });
  };
  if (llvm::none_of(space_.layers, has))
    return error(name.range, "no layer has the candidate '" + name.text + "' [S6]");
  auto every = int64_t(line.every.value), count = int64_t(line.count.value);
  for (int64_t first = 0; first < layers_; first += every) {
    CandidateCount block{source, {}, name.text, count, count};
    for (int64_t layer = first; layer < std::min(first + every, layers_); ++layer)
      block.layers.push_back(layer);
    // The last block may be cut off.
    if (first + every > layers_) {
      block.least = 0;
      block.most = std::min(count, layers_ - first);
    }
    if (llvm::any_of(block.layers, [&](int64_t layer) { return has(space_.layers[static_cast<size_t>(layer)]); }))
      space_.counts.push_back(std::move(block));
    else if (block.least > 0)
      return error(name.range, "layers " + llvm::Twine(first) + " to " + llvm::Twine(block.layers.back()) +
                                   " have no candidate '" + name.text + "' [S6]");
  }
}

void SpaceBuilder::addFullLayers(const ArchLine &line) {
  bool isRatio = line.text.text == "ratio";
  int64_t windows = llvm::count_if(llvm::seq<int64_t>(0, layers_), [&](int64_t layer) { return keepsWindow(layer); });
  double counted = double(layers_ - windows);
  double full = isRatio ? std::max(1.0, std::round(line.limit.value * counted)) : line.limit.value;
  if (full > counted)
    return error(line.limit.range,
                 "the budget is " + line.limit.text + " layers of full attention, but the model has " +
                     llvm::Twine(layers_ - windows) + " layers" + (windows ? " without a window" : "") + " [S5]");
  // Layers that keep their windows keep the first candidate, too.
  full += double(windows);
  CandidateCount count{makeSource(line, isFile_ ? quote(line) : "budget." + line.text.text + " = " + line.limit.text),
                       {},
                       kFullAttention,
                       int64_t(full),
                       int64_t(full)};
  for (int64_t layer = 0; layer < layers_; ++layer)
    count.layers.push_back(layer);
  space_.counts.push_back(std::move(count));
}

static std::string describePlace(mlir::Location location) {
  auto at = location->findInstanceOf<mlir::FileLineColLoc>();
  return at ? ("at " + at.getFilename().getValue() + ":" + llvm::Twine(at.getLine()) + ":" +
               llvm::Twine(at.getColumn()))
                  .str()
            : "";
}

/// Where in the mixer's declaration an error arises: by its note of a place, or else the declaration itself.
static std::string describePlace(mlir::Diagnostic &diagnostic, MixerOp mixer) {
  for (mlir::Diagnostic &note : diagnostic.getNotes())
    if (std::string place = describePlace(note.getLocation()); !place.empty())
      return place;
  return describePlace(mixer.getLoc());
}

void SpaceBuilder::forEachCandidate(llvm::function_ref<bool(size_t)> isAsked,
                                    llvm::function_ref<void(size_t, size_t, TokenMixerOpInterface)> visit) {
  auto forward = llvm::dyn_cast_or_null<mlir::func::FuncOp>(mlir::SymbolTable::lookupSymbolIn(model_, "forward"));
  if (!forward)
    return;
  std::vector<SoftmaxMixerOp> mixers;
  forward.walk([&](SoftmaxMixerOp mixer) { mixers.push_back(mixer); });
  bool reported = false;
  for (SoftmaxMixerOp softmax : mixers) {
    auto layer = static_cast<size_t>(softmax.getLayer());
    if (layer >= space_.layers.size() || !isAsked(layer))
      continue;
    visit(layer, 0, llvm::cast<TokenMixerOpInterface>(softmax.getOperation()));
    for (size_t c = 1; c < space_.layers[layer].size() && !reported; ++c) {
      const KnownMixer &known = *mixers_.at(space_.layers[layer][c].reference);
      mlir::OpBuilder builder(softmax);
      auto mixer = llvm::cast<MixerOp>(mlir::SymbolTable::lookupSymbolIn(model_, known.reference.name));
      LinearMixerOp built = createLinearMixer(builder, softmax, mixer, known.options, "candidate");
      mlir::ScopedDiagnosticHandler handler(model_.getContext(), [&](mlir::Diagnostic &diagnostic) {
        // What the op and its constraint are called, no author of a mixer has to know.
        std::string text = diagnostic.str();
        llvm::StringRef message = text;
        if (message.consume_front("'"))
          message = message.split("' op ").second;
        if (auto [label, rest] = message.split(": "); label.contains("_c") && !rest.empty())
          message = rest;
        if (!reported)
          error(known.place,
                "'" + known.reference.name + "' does not fit layer " + llvm::Twine(layer) + ": " + message + " [S3]",
                describePlace(diagnostic, mixer));
        reported = true;
        return mlir::success();
      });
      if (succeeded(MixerExpander::check(built, /*isNew=*/true)))
        visit(layer, c, llvm::cast<TokenMixerOpInterface>(built.getOperation()));
      built.erase();
    }
  }
}

/// Whether a declaration says `base.layer` somewhere.
static bool readsLayer(MixerOp mixer) {
  std::string text;
  llvm::raw_string_ostream os(text);
  mixer.print(os);
  static const llvm::Regex layer("base\\.layer([^A-Za-z0-9_]|$)");
  return layer.match(os.str());
}

void SpaceBuilder::checkCandidates() {
  // Layers between two of the same candidates differ in nothing but their number, which few declarations read.
  auto names = [&](size_t layer) {
    std::vector<std::string> list;
    for (const Candidate &candidate : space_.layers[layer])
      list.push_back(candidate.reference);
    return list;
  };
  std::map<std::string, bool> numbered;
  for (const auto &[reference, known] : mixers_)
    if (known)
      numbered[reference] =
          readsLayer(llvm::cast<MixerOp>(mlir::SymbolTable::lookupSymbolIn(model_, known->reference.name)));
  auto isAsked = [&](size_t layer) {
    return layer == 0 || layer + 1 == space_.layers.size() || names(layer) != names(layer - 1) ||
           names(layer) != names(layer + 1) ||
           llvm::any_of(names(layer), [&](const std::string &name) { return numbered[name]; });
  };
  unsigned before = diagnostics_.getErrorCount();
  std::set<std::string> trained;
  forEachCandidate(isAsked, [&](size_t layer, size_t candidate, TokenMixerOpInterface mixer) {
    if (candidate > 0 &&
        llvm::any_of(mixer.getMixerParameters(), [](const MixerParameter &parameter) { return parameter.trainable; }))
      trained.insert(space_.layers[layer][candidate].reference);
  });
  if (diagnostics_.getErrorCount() != before)
    return;
  bool any = false, anyChoice = false;
  for (std::vector<Candidate> &candidates : space_.layers) {
    anyChoice |= candidates.size() > 1;
    for (Candidate &candidate : candidates)
      any |= candidate.trained = trained.count(candidate.reference) > 0;
  }
  if (anyChoice && !any && !target_.config.init)
    error(isFile_ ? arch_.name.range : arch_.lines.front().range,
          "no candidate beside full attention has weights that could be trained [S3]",
          "'none' stands beside others: full | gated_deltanet | none");
}

void SpaceBuilder::fillCacheBytes(const ArchLine &line, CostBudget &budget) {
  budget.unit = "bytes";
  budget.limit = int64_t(line.limit.value);
  forEachCandidate([](size_t) { return true; },
                   [&](size_t layer, size_t candidate, TokenMixerOpInterface mixer) {
                     budget.costs[layer][candidate] = mixer.getMixerCacheBytes(budget.context, kCacheElementBytes);
                   });
}

bool SpaceBuilder::fillSeconds(const ArchLine &line, CostBudget &budget, double &fixed) {
  std::optional<spec::CostTable> table = spec::readCostTable(line.table->text, diagnostics_, line.table->range);
  if (!table)
    return false;
  auto refuse = [&](const llvm::Twine &message, const llvm::Twine &hint) {
    error(line.table->range, message + " [S5]", hint);
    return false;
  };
  if (std::string difference = table->differenceFrom(target_.config); !difference.empty())
    return refuse("the table of costs is of another model: " + difference,
                  "'morph bench mixers' with --spec or --model measures this one");
  if (table->precision != target_.precision)
    return refuse("the table of costs is of products in " + table->precision + ", and the model's are in " +
                      target_.precision,
                  "'morph bench mixers --precision " + target_.precision + "' measures these");
  fixed = table->fixedSeconds(layers_);
  if (fixed > line.limit.value) {
    error(line.limit.range, "a token takes " + printNumber(fixed) + " s beside its mixers by '" + line.table->text +
                                "', and the budget is " + line.limit.text + " s [S6]");
    return false;
  }
  budget.unit = "picoseconds";
  budget.limit = std::llround(std::min(line.limit.value - fixed, kMaxSeconds) * kPicoseconds);
  std::map<std::string, int64_t> known;
  for (size_t layer = 0; layer < space_.layers.size(); ++layer)
    for (size_t c = 0; c < space_.layers[layer].size(); ++c) {
      const std::string &text = space_.layers[layer][c].reference;
      auto [entry, isNew] = known.try_emplace(text.empty() ? kFullAttention : text);
      if (isNew) {
        std::string message;
        std::string declaration;
        if (const KnownMixer *mixer = text.empty() ? nullptr : &*mixers_.at(text);
            mixer && !mixer->reference.path.empty())
          declaration =
              digestDeclaration(llvm::cast<MixerOp>(mlir::SymbolTable::lookupSymbolIn(model_, mixer->reference.name)));
        std::optional<double> seconds = table->secondsOf(entry->first, declaration, double(budget.context), message);
        if (!seconds)
          return refuse(message, "'morph bench mixers' with --spec measures it");
        entry->second = std::llround(*seconds * kPicoseconds);
      }
      budget.costs[layer][c] = entry->second;
    }
  return true;
}

void SpaceBuilder::addCosts(const ArchLine &line) {
  bool isTime = line.text.text == "decode_seconds";
  // A context or a table that is missing is reported by the checks of the spec.
  if (!line.context || (isTime && (!line.table || target_.withoutTimes)))
    return;
  CostBudget budget;
  budget.measure = line.text.text;
  budget.context = int64_t(line.context->value);
  budget.source = makeSource(line, isFile_ ? quote(line) : "budget." + line.text.text + " = " + line.limit.text);
  for (const std::vector<Candidate> &candidates : space_.layers)
    budget.costs.emplace_back(candidates.size(), 0);
  double fixed = 0;
  if (!isTime)
    fillCacheBytes(line, budget);
  else if (!fillSeconds(line, budget, fixed))
    return;
  space_.budgets.push_back(std::move(budget));
  fixedSeconds_.push_back(fixed);
}

void SpaceBuilder::addBudget(const ArchLine &line) {
  if (line.text.text == "full_layers" || line.text.text == "ratio")
    return addFullLayers(line);
  addCosts(line);
}

ChoiceSpace SpaceBuilder::withSingleCandidates() {
  ChoiceSpace space = space_;
  for (const auto &[line, layers] : single_) {
    for (int64_t layer : layers) {
      space.layers[static_cast<size_t>(layer)].push_back({"any other", ""});
      for (CostBudget &budget : space.budgets)
        budget.costs[static_cast<size_t>(layer)].push_back(0);
    }
    space.allowed.push_back({makeSource(*line, quote(*line)), layers, {kFullAttention}});
  }
  return space;
}

std::string SpaceBuilder::describeLeast(size_t index) const {
  ChoiceSpace space = space_;
  const CostBudget budget = space.budgets[index];
  space.budgets.erase(space.budgets.begin() + static_cast<ptrdiff_t>(index));
  CandidateTable values;
  for (const std::vector<int64_t> &costs : budget.costs) {
    std::vector<double> &layer = values.emplace_back();
    for (int64_t cost : costs)
      layer.push_back(-double(cost));
  }
  StatusOr<Choice> choice = solve(space, values);
  if (!choice.ok())
    return "";
  double sum = 0;
  for (auto [costs, candidate] : llvm::zip_equal(budget.costs, *choice))
    sum += double(costs[candidate]);
  if (budget.measure != "decode_seconds")
    return printNumber(sum) + " bytes";
  // Few digits, rounded up.
  const double seconds = fixedSeconds_[index] + sum / kPicoseconds;
  char text[32];
  for (double more = 1; std::snprintf(text, sizeof text, "%.4g", seconds * more), std::strtod(text, nullptr) < seconds;)
    more += 1e-4;
  return std::string(text) + " s";
}

void SpaceBuilder::reportConflict() {
  StatusOr<std::vector<ConstraintSource>> conflict = findConflict(space_);
  if (conflict.ok() && !conflict->empty() && !single_.empty())
    conflict = findConflict(withSingleCandidates());
  if (!conflict.ok())
    return diagnostics_.error(arch_.range, conflict.status().message() + " [S6]", conflict.status().hint());
  if (conflict->empty())
    return;
  std::vector<SourceRange> ranges;
  for (const ConstraintSource &source : *conflict)
    for (const auto &[known, range] : places_)
      if (known.text == source.text && known.place == source.place) {
        ranges.push_back(range);
        break;
      }
  std::vector<Note> notes;
  for (size_t i = 1; i < conflict->size(); ++i)
    notes.push_back({ranges[i], "'" + (*conflict)[i].text + "' is one of the lines that exclude each other"});
  std::string hint = conflict->size() == 1 ? "relax it" : "relax one of them";
  for (size_t index = 0; index < space_.budgets.size(); ++index) {
    const ConstraintSource &limit = space_.budgets[index].source;
    if (llvm::any_of(*conflict, [&](const ConstraintSource &source) {
          return source.text == limit.text && source.place == limit.place;
        }))
      if (std::string least = describeLeast(index); !least.empty())
        hint += "; the other lines allow '" + limit.text + "' to be no less than " + least;
  }
  diagnostics_.error(ranges.front(),
                     conflict->size() == 1 ? "no choice of layers satisfies '" + conflict->front().text + "' [S6]"
                                           : "no choice of layers satisfies '" + conflict->front().text +
                                                 "' together with what the notes name [S6]",
                     hint, notes);
}

std::optional<ChoiceSpace> SpaceBuilder::run() {
  unsigned before = diagnostics_.getErrorCount();
  using Kind = ArchLine::Kind;
  if (llvm::none_of(arch_.lines,
                    [](const ArchLine &line) { return line.kind == Kind::Budget || line.kind == Kind::Pattern; })) {
    error(isFile_ ? arch_.name.range : arch_.range, "the budget is missing [S5]",
          isFile_ ? "write budget full_layers = " + std::to_string(std::max<int64_t>(1, layers_ / 4))
                  : "give full_layers = " + std::to_string(std::max<int64_t>(1, layers_ / 4)) +
                        " or ratio = 0.25 in [budget]");
  }
  readCandidates();
  if (diagnostics_.getErrorCount() == before)
    checkCandidates();
  // What does not depend on candidates is said together with what is wrong with them.
  const bool hasCandidates = diagnostics_.getErrorCount() == before;
  // Costs take the longest: their number is known before.
  size_t costs = llvm::count_if(arch_.lines, [](const ArchLine &line) { return line.context.has_value(); });
  if (size_t size = sizeOf(space_) * (1 + costs); hasCandidates && size > kMaxSpaceSize) {
    diagnostics_.error(arch_.range, "the layers have " + llvm::Twine(size) +
                                        " candidates and costs, expected at most " + llvm::Twine(kMaxSpaceSize) +
                                        " [S6]");
    return std::nullopt;
  }
  for (const ArchLine &line : arch_.lines) {
    if (sizeOf(space_) > kMaxSpaceSize)
      break; // Refused below.
    if (!hasCandidates) {
      if (line.kind == Kind::Tie || line.kind == Kind::Pin)
        readLayers(line.layers);
      else if (line.kind == Kind::Budget && (line.text.text == "full_layers" || line.text.text == "ratio"))
        addFullLayers(line);
    } else if (line.kind == Kind::Tie)
      addTie(line);
    else if (line.kind == Kind::Pin)
      addPin(line);
    else if (line.kind == Kind::Pattern)
      addPattern(line);
    else if (line.kind == Kind::Budget)
      addBudget(line);
  }
  if (diagnostics_.getErrorCount() != before)
    return std::nullopt;
  if (Status status = checkSpace(space_); !status.ok()) {
    diagnostics_.error(arch_.range, status.message() + " [S6]");
    return std::nullopt;
  }
  reportConflict();
  if (diagnostics_.getErrorCount() != before)
    return std::nullopt;
  return std::move(space_);
}

} // namespace

std::optional<ChoiceSpace> spec::buildSpace(const Arch &arch, bool isFile, const SpaceModel &model,
                                            Diagnostics &diagnostics) {
  return SpaceBuilder(arch, isFile, model, diagnostics).run();
}
