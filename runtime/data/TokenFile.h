// SPDX-License-Identifier: Apache-2.0
// Token files: raw little-endian u16 or u32 ids, memory-mapped. The file may come from anywhere and is checked on open.

#ifndef MORPH_RUNTIME_DATA_TOKENFILE_H
#define MORPH_RUNTIME_DATA_TOKENFILE_H

#include "runtime/base/File.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace morph {

enum class TokenDType { U16, U32 };

/// "u16" or "u32".
StatusOr<TokenDType> parseTokenDType(const std::string &name);

/// Tokens [begin, end) of a file.
struct TokenSpan {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

/// Offsets that a file holds, little-endian u64. An error unless there are `count` of them.
StatusOr<std::vector<int64_t>> readOffsets(const std::string &path, int64_t count);

/// A read-only map of a token file.
class TokenFile {
public:
  /// Opens the file. Refused: no regular file, an empty one, a size that is no multiple of the id's width, and, with
  /// `vocabulary` > 0, an id not below it (the whole file is read once for that).
  static StatusOr<std::shared_ptr<const TokenFile>> open(const std::string &path, TokenDType dtype,
                                                         int64_t vocabulary = 0);
  /// A file's content held in memory, for generated text and tests. Ids must fit into 32 bits.
  static std::shared_ptr<const TokenFile> fromTokens(const std::vector<int64_t> &tokens);

  const std::string &path() const { return path_; }
  /// Number of tokens.
  int64_t size() const { return size_; }
  /// The id at `i`, 0 <= i < size().
  int64_t operator[](int64_t i) const {
    return dtype_ == TokenDType::U16 ? static_cast<const uint16_t *>(data_)[i]
                                     : static_cast<const uint32_t *>(data_)[i];
  }
  /// The ids of a span, which must lie in the file.
  std::vector<int64_t> tokens(TokenSpan span) const;

  /// Documents from their begin offsets: increasing, the first 0, all below size().
  StatusOr<std::vector<TokenSpan>> documentsAt(const std::vector<int64_t> &offsets) const;
  /// Documents that each begin with the id `begin`; tokens before the first such id are no document. At most `limit`
  /// documents, all of them when it is negative. An error where the id does not occur.
  StatusOr<std::vector<TokenSpan>> documentsBeginningWith(int64_t begin, int64_t limit = -1) const;

private:
  TokenFile() = default;
  std::string path_;
  TokenDType dtype_ = TokenDType::U16;
  const void *data_ = nullptr;
  int64_t size_ = 0;
  std::shared_ptr<const MappedFile> map_; ///< Null for tokens in memory.
  std::vector<uint32_t> owned_;
};

} // namespace morph

#endif // MORPH_RUNTIME_DATA_TOKENFILE_H
