// SPDX-License-Identifier: Apache-2.0
// A spec with everything filled in, and the model that it names.

#ifndef MORPH_FRONTENDS_SPEC_SPEC_H
#define MORPH_FRONTENDS_SPEC_SPEC_H

#include "frontends/Diagnostics.h"
#include "frontends/ModelConfig.h"

#include "dialect/MorphOps.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/JSON.h"

#include <optional>
#include <string>
#include <vector>

namespace morph {

/// A spec as its readers see it. Paths in it are dotted, elements of lists in brackets: "align.lr", "task[0].length".
struct Spec {
  std::string path;          ///< Of the file.
  llvm::json::Object values; ///< Mirrors the TOML with defaults; `[[task]]` is the list "tasks".
  llvm::StringMap<SourceRange> keyPlaces;
  llvm::StringMap<SourceRange> valuePlaces;
  SourceRange begin; ///< The file's first character.

  /// The value at a path; null where there is none.
  const llvm::json::Value *find(llvm::StringRef path) const;
  /// Whether the text or the command line gives the key.
  bool isGiven(llvm::StringRef path) const { return valuePlaces.contains(path); }
  /// The place of a value; where it is not given, of the nearest list or table around it that is.
  SourceRange getPlace(llvm::StringRef path) const;
  int64_t getInteger(llvm::StringRef path) const;
  double getNumber(llvm::StringRef path) const;
  std::string getString(llvm::StringRef path) const;
  std::vector<std::string> getStrings(llvm::StringRef path) const;
  std::vector<int64_t> getIntegers(llvm::StringRef path) const;
  /// The table at a path, to be changed; null where there is none.
  llvm::json::Object *getTable(llvm::StringRef path);
};

/// What is asked of a spec beside being right in itself.
struct SpecOptions {
  std::vector<std::string> overrides; ///< `key=value` of the command line.
  bool requireWeights = false;        ///< The model's folder must hold its weights.
  bool configOnly = false;            ///< For planning: files of data and weights need not be there.
  bool withoutTimes = false;          ///< Leaves budgets of decode_seconds out, whose tables need not be there.
};

/// A spec and its model's IR: imported from the folder, or the base that [pretrain] makes.
struct ImportedSpec {
  Spec spec;
  ModelConfig model;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// Reads, checks and completes a spec and builds its model. `path` may be a `.morph` file, or `FILE.morph:NAME`, with
/// an arch: then the spec is its recipe, or the one that Morph comes with. Prints errors, and returns nothing after
/// one.
std::optional<ImportedSpec> importSpec(mlir::MLIRContext &context, llvm::StringRef path, const SpecOptions &options,
                                       Diagnostics &diagnostics);

/// The same for the text of a spec that is, or will be, at that path; `diagnostics` has taken it in.
std::optional<ImportedSpec> importSpec(mlir::MLIRContext &context, llvm::StringRef path, llvm::StringRef text,
                                       const SpecOptions &options, Diagnostics &diagnostics);

/// The same for an arch in the text of a `.morph` file.
std::optional<ImportedSpec> importArch(mlir::MLIRContext &context, llvm::StringRef path, llvm::StringRef text,
                                       llvm::StringRef name, const SpecOptions &options, Diagnostics &diagnostics);

/// The resolved spec as indented JSON with sorted keys: the same spec gives the same bytes.
std::string printSpec(const Spec &spec);

/// config.json of the base: of the one that [pretrain.base] describes, or that of `model.path` with the RoPE parameters
/// that `model.context` asks for.
std::string printBaseConfig(const ModelConfig &model);

namespace spec {

struct Node;

/// Types, ranges, unknown keys and plain defaults, by the schema.
std::optional<Spec> readDocument(const Node &root, llvm::StringRef path, SourceRange begin, Diagnostics &diagnostics);

/// Constraints between keys that need no model: files, tasks, stages; fills in computed defaults. False after an error.
bool checkBeforeModel(Spec &spec, const SpecOptions &options, Diagnostics &diagnostics);

/// The part of checkBeforeModel that is about sizes: tasks that do not fit their lengths, stages beyond measure.
void checkSizes(const Spec &spec, Diagnostics &diagnostics);

/// Constraints between the spec and its model: token ranges, and what [budget] says of itself. False after an error.
bool checkAgainstModel(const Spec &spec, const ModelConfig &config, Diagnostics &diagnostics);

} // namespace spec

} // namespace morph

#endif // MORPH_FRONTENDS_SPEC_SPEC_H
