// SPDX-License-Identifier: Apache-2.0

#include "frontends/spec/SpecArch.h"

#include "dialect/MixerReference.h"
#include "frontends/morph/Check.h"
#include "frontends/morph/CheckArch.h"
#include "frontends/morph/Parser.h"
#include "frontends/spec/Schema.h"
#include "runtime/choice/Space.h"
#include "runtime/spec/ArchName.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <tuple>

using namespace morph;
using namespace morph::language;

namespace {

std::string makeAbsolute(llvm::StringRef path, llvm::StringRef folder) {
  llvm::SmallString<256> resolved;
  if (!llvm::sys::path::is_absolute(path))
    resolved = folder;
  llvm::sys::path::append(resolved, path);
  llvm::sys::fs::make_absolute(resolved);
  llvm::sys::path::remove_dots(resolved, /*remove_dot_dot=*/true);
  return std::string(resolved);
}

/// Makes the files of an arch absolute, and the mixers of its own file references to it.
void resolveFiles(Arch &arch, const File &file, llvm::StringRef path) {
  llvm::StringRef folder = llvm::sys::path::parent_path(path);
  for (ArchLine &line : arch.lines) {
    if (line.table)
      line.table->text = makeAbsolute(line.table->text, folder);
    if (line.kind == ArchLine::Kind::Recipe)
      line.text.text = makeAbsolute(line.text.text, folder);
    if (line.kind != ArchLine::Kind::Layers)
      continue;
    for (Word &text : line.mixers) {
      std::string message;
      std::optional<MixerReference> reference = parseMixerReference(text.text, message);
      if (!reference)
        continue; // Reported by the checks.
      bool isOwn = llvm::any_of(file.mixers, [&](const Mixer &mixer) { return mixer.name.text == reference->name; });
      if (!reference->path.empty())
        reference->path = makeAbsolute(reference->path, folder);
      else if (isOwn)
        reference->path = makeAbsolute(path, "");
      text.text = printMixerReference(*reference);
    }
  }
}

/// One constant of a spec's number, as it is written there.
Constant makeConstant(const Spec &spec, llvm::StringRef path) {
  double value = spec.getNumber(path);
  return {printNumber(value), value, spec.getPlace(path)};
}

LayerSet makeLayers(const Spec &spec, llvm::StringRef path) {
  LayerSet layers;
  layers.range = spec.getPlace(path);
  for (const auto &[index, layer] : llvm::enumerate(spec.getIntegers(path))) {
    Constant constant{std::to_string(layer), double(layer),
                      spec.getPlace((path + "[" + llvm::Twine(index) + "]").str())};
    layers.ranges.emplace_back(constant, constant);
  }
  return layers;
}

bool givesBudget(const Spec &spec) {
  return llvm::any_of(spec::getKeys(), [&](const spec::Key &key) {
    return spec::getSectionName(key) == "budget" && spec.isGiven(key.path);
  });
}

} // namespace

std::pair<llvm::StringRef, llvm::StringRef> spec::splitArchReference(llvm::StringRef reference) {
  const ArchWords words = splitArch(reference);
  return {words.file, words.name};
}

std::optional<Arch> spec::readArchFile(llvm::StringRef reference, SourceRange usedAt, Diagnostics &diagnostics) {
  llvm::StringRef path, name;
  std::tie(path, name) = splitArchReference(reference); // Lambdas do not capture structured bindings.
  std::optional<llvm::StringRef> text = diagnostics.addFile(path, kMaxFileBytes, usedAt);
  return text ? readArchText(path, name, *text, usedAt, diagnostics) : std::nullopt;
}

std::optional<Arch> spec::readArchText(llvm::StringRef path, llvm::StringRef name, llvm::StringRef text,
                                       SourceRange usedAt, Diagnostics &diagnostics) {
  std::unique_ptr<CheckedFile> file = readMixers(text, diagnostics);
  if (!file)
    return std::nullopt;
  std::vector<Arch> &archs = file->file.archs;
  auto names = llvm::map_range(archs, [](const Arch &arch) -> const std::string & { return arch.name.text; });
  auto found =
      name.empty() ? archs.begin() : llvm::find_if(archs, [&](const Arch &arch) { return arch.name.text == name; });
  if (found == archs.end() || (name.empty() && archs.size() > 1)) {
    std::string known = archs.empty() ? std::string("it declares none") : "it declares " + llvm::join(names, ", ");
    if (name.empty() && archs.size() > 1)
      diagnostics.error(usedAt, "'" + path + "' declares several archs [S22]",
                        "name one: \"" + path + ":" + archs.front().name.text + "\"; " + known);
    else
      diagnostics.error(
          usedAt, "'" + path + "' declares no arch" + (name.empty() ? llvm::Twine() : " '" + name + "'") + " [S22]",
          known);
    return std::nullopt;
  }
  resolveFiles(*found, file->file, path);
  return std::move(*found);
}

std::string spec::resolveArch(Spec &spec, const Diagnostics &diagnostics) {
  llvm::StringRef text = diagnostics.getTextName(spec.getPlace("arch"));
  std::string path = makeAbsolute(spec.getString("arch"), text == "--set" ? "" : llvm::sys::path::parent_path(text));
  spec.values["arch"] = path;
  return path;
}

void spec::mergeArch(Spec &spec, const Arch &arch, Diagnostics &diagnostics) {
  const ArchLine *model = findLine(arch, ArchLine::Kind::Model);
  auto refuse = [&](llvm::StringRef key) {
    diagnostics.error(spec.getPlace(key), "'" + key + "' says what the arch '" + arch.name.text + "' says [S22]",
                      "leave out one of them",
                      {{key == "model.path" ? model->range : arch.name.range, "the arch is here"}});
  };
  for (const Key &key : getKeys())
    if ((getSectionName(key) == "linear" || getSectionName(key) == "budget") && spec.isGiven(key.path))
      refuse(key.path);
  if (!model && !spec.isGiven("model.path") && !spec.values.getObject("pretrain"))
    diagnostics.error(arch.name.range, "the arch names no model [S2]", "write model \"FOLDER\"");
  if (!model)
    return;
  if (spec.isGiven("model.path"))
    return refuse("model.path");
  (*spec.getTable("model"))["path"] = model->text.text;
  spec.keyPlaces["model.path"] = spec.valuePlaces["model.path"] = model->text.range;
}

Arch spec::makeArch(const Spec &spec) {
  Arch arch;
  arch.range = spec.getPlace("budget.full_layers");
  ArchLine &layers = arch.lines.emplace_back();
  layers.kind = ArchLine::Kind::Layers;
  layers.range = spec.getPlace("linear.backend");
  layers.mixers.push_back({kFullAttention, layers.range});
  layers.mixers.push_back({spec.getString("linear.backend"), layers.range});
  for (const auto &[index, text] : llvm::enumerate(spec.getStrings("linear.candidates")))
    layers.mixers.push_back({text, spec.getPlace("linear.candidates[" + std::to_string(index) + "]")});

  if (!spec.getIntegers("budget.keep").empty()) {
    ArchLine &pin = arch.lines.emplace_back();
    pin.kind = ArchLine::Kind::Pin;
    pin.range = spec.getPlace("budget.keep");
    pin.layers = makeLayers(spec, "budget.keep");
    pin.mixers.push_back({kFullAttention, pin.range});
  }
  if (!spec.getIntegers("budget.linear").empty()) {
    ArchLine &pin = arch.lines.emplace_back();
    pin.kind = ArchLine::Kind::Pin;
    pin.range = spec.getPlace("budget.linear");
    pin.layers = makeLayers(spec, "budget.linear");
    // All but the first: names that a layer's candidates get are not known yet.
  }
  if (spec.values.getObject("pretrain") && !givesBudget(spec)) {
    ArchLine &all = arch.lines.emplace_back();
    all.kind = ArchLine::Kind::Budget;
    all.range = spec.getPlace("pretrain");
    all.text = {"ratio", all.range};
    all.limit = {"1", 1, all.range};
  }
  for (const char *measure : {"full_layers", "ratio", "cache_bytes", "decode_seconds"}) {
    std::string path = std::string("budget.") + measure;
    // Together with full_layers a ratio is reported by the checks of the spec.
    if (!spec.isGiven(path) || (path == "budget.ratio" && spec.isGiven("budget.full_layers")))
      continue;
    ArchLine &budget = arch.lines.emplace_back();
    budget.kind = ArchLine::Kind::Budget;
    budget.range = spec.getPlace(path);
    budget.text = {measure, budget.range};
    budget.limit = makeConstant(spec, path);
    bool isCost = llvm::StringRef(measure).contains('_') && llvm::StringRef(measure) != "full_layers";
    if (isCost && spec.isGiven("budget.context"))
      budget.context = makeConstant(spec, "budget.context");
    if (llvm::StringRef(measure) == "decode_seconds" && spec.isGiven("budget.costs"))
      budget.table = {spec.getString("budget.costs"), spec.getPlace("budget.costs")};
  }
  return arch;
}
