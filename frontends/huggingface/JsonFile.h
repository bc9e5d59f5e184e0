// SPDX-License-Identifier: Apache-2.0
// A JSON file whose members are asked for by path, with errors at their places.

#ifndef MORPH_FRONTENDS_HUGGINGFACE_JSONFILE_H
#define MORPH_FRONTENDS_HUGGINGFACE_JSONFILE_H

#include "frontends/Diagnostics.h"
#include "frontends/ModelConfig.h"

#include "llvm/Support/JSON.h"

#include <optional>
#include <string>

namespace morph {

/// A JSON object and the places of its members, by dotted path ("rope_scaling.factor"). Members that are null count as
/// absent, as in Hugging Face configurations.
class JsonFile {
public:
  /// Reads a file. Prints an error and returns nothing where it cannot be read, parseJson refuses it, or it is no
  /// object.
  static std::optional<JsonFile> read(llvm::StringRef path, Diagnostics &diagnostics);

  llvm::StringRef getPath() const { return path_; }
  const llvm::json::Object &getRoot() const { return root_; }

  /// The value at a dotted path, null where it is absent or null.
  const llvm::json::Value *find(llvm::StringRef path) const;
  bool has(llvm::StringRef path) const { return find(path) != nullptr; }
  /// Whether a member of the root is there, and null.
  bool isNull(llvm::StringRef name) const;
  /// The same file with another root: places of members that it does not have are the file's beginning.
  JsonFile with(llvm::json::Object root) const;
  /// The place of the member's name, or the file's beginning where there is no such member. Scans the text.
  SourceRange getPlace(llvm::StringRef path) const;

  /// Typed reading. Where the member is absent the fallback is given, or an error printed where there is none; where it
  /// has another type or lies out of its range an error is printed. After an error the result is nothing.
  std::optional<int64_t> getInteger(llvm::StringRef path, IntegerRange range,
                                    std::optional<int64_t> fallback = std::nullopt) const;
  std::optional<double> getNumber(llvm::StringRef path, NumberRange range,
                                  std::optional<double> fallback = std::nullopt) const;
  std::optional<bool> getBoolean(llvm::StringRef path, bool fallback) const;
  std::optional<std::string> getString(llvm::StringRef path, std::optional<std::string> fallback = std::nullopt) const;

  void error(llvm::StringRef path, const llvm::Twine &message, const llvm::Twine &hint = "") const;

private:
  JsonFile(Diagnostics &diagnostics) : diagnostics_(&diagnostics) {}

  std::string path_;
  llvm::StringRef text_; ///< Held by the Diagnostics.
  llvm::json::Object root_;
  Diagnostics *diagnostics_;
};

} // namespace morph

#endif // MORPH_FRONTENDS_HUGGINGFACE_JSONFILE_H
