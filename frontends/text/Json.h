// SPDX-License-Identifier: Apache-2.0
// The compiler world's one way to read JSON: a text that nobody vouches for, with limits that keep reading it cheap,
// and the places of its members for errors.

#ifndef MORPH_FRONTENDS_TEXT_JSON_H
#define MORPH_FRONTENDS_TEXT_JSON_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <optional>
#include <string>

namespace morph {

/// Levels of lists and objects within each other.
inline constexpr size_t kMaxJsonNesting = 64;
/// Objects of a text: llvm::json takes 4 KiB for each that is not empty. The largest public checkpoints have 100 000
/// tensors, each an object.
inline constexpr size_t kMaxJsonObjects = 200'000;
/// Members and elements of a text, 40 bytes each.
inline constexpr size_t kMaxJsonValues = 1'000'000;
/// Characters of a number.
inline constexpr size_t kMaxJsonNumber = 64;
/// Bytes of a JSON file.
inline constexpr uint64_t kMaxJsonBytes = 16 << 20;

/// Why a text is refused.
struct JsonError {
  size_t offset = 0; ///< Where: a byte of the text, or its end.
  size_t length = 1; ///< Bytes that are wrong there.
  std::string message;
};

/// Parses a JSON text. Refused, with the first error in `error`, is what is no JSON in UTF-8 or above a limit, objects
/// that have a name twice, and numbers beyond the largest double.
std::optional<llvm::json::Value> parseJson(llvm::StringRef text, JsonError &error);

/// The quoted name, in a text that parseJson takes, of the member that a path of names leads to from the outermost
/// object. Empty where there is none.
llvm::StringRef findJsonName(llvm::StringRef text, llvm::ArrayRef<llvm::StringRef> path);

} // namespace morph

#endif // MORPH_FRONTENDS_TEXT_JSON_H
