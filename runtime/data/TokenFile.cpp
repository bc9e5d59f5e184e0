// SPDX-License-Identifier: Apache-2.0
#include "runtime/data/TokenFile.h"

namespace morph {

StatusOr<TokenDType> parseTokenDType(const std::string &name) {
  if (name == "u16")
    return TokenDType::U16;
  if (name == "u32")
    return TokenDType::U32;
  return Status::invalid("unknown token dtype '" + name + "'", "expected u16 or u32");
}

StatusOr<std::vector<int64_t>> readOffsets(const std::string &path, int64_t count) {
  MORPH_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> map, MappedFile::open(path));
  if (count < 0 || map->size() % 8 != 0 || static_cast<int64_t>(map->size() / 8) != count)
    return Status::invalid("'" + path + "' has " + std::to_string(map->size()) + " bytes, which are not " +
                               std::to_string(count) + " offsets of 8 bytes",
                           "it is written with the tokens; run the tokenising step again");
  const uint64_t *offsets = static_cast<const uint64_t *>(static_cast<const void *>(map->data()));
  std::vector<int64_t> result;
  result.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    result.push_back(static_cast<int64_t>(offsets[i]));
  return result;
}

StatusOr<std::shared_ptr<const TokenFile>> TokenFile::open(const std::string &path, TokenDType dtype,
                                                           int64_t vocabulary) {
  auto refuse = [&](const std::string &what, const std::string &hint = "") {
    return Status::invalid("token file '" + path + "': " + what, hint);
  };
  MORPH_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> map, MappedFile::open(path));
  uint64_t width = dtype == TokenDType::U16 ? 2 : 4;
  if (map->size() == 0)
    return refuse("the file is empty");
  if (map->size() % width != 0)
    return refuse(std::to_string(map->size()) + " bytes are no whole number of " + std::to_string(8 * width) +
                      "-bit ids",
                  "is the dtype right, and was the file written whole?");
  std::shared_ptr<TokenFile> file(new TokenFile);
  file->path_ = path;
  file->dtype_ = dtype;
  file->data_ = map->data();
  file->size_ = static_cast<int64_t>(map->size() / width);
  file->map_ = std::move(map);
  if (vocabulary > 0)
    for (int64_t i = 0; i < file->size_; ++i)
      if ((*file)[i] >= vocabulary)
        return refuse("id " + std::to_string((*file)[i]) + " at token " + std::to_string(i) +
                          " is not below the vocabulary's size " + std::to_string(vocabulary),
                      "was it made with this model's tokenizer, and is the dtype right?");
  return std::shared_ptr<const TokenFile>(std::move(file));
}

std::shared_ptr<const TokenFile> TokenFile::fromTokens(const std::vector<int64_t> &tokens) {
  std::shared_ptr<TokenFile> file(new TokenFile);
  file->path_ = "<memory>";
  file->dtype_ = TokenDType::U32;
  file->owned_.assign(tokens.begin(), tokens.end());
  file->data_ = file->owned_.data();
  file->size_ = static_cast<int64_t>(tokens.size());
  return file;
}

std::vector<int64_t> TokenFile::tokens(TokenSpan span) const {
  std::vector<int64_t> result(span.size());
  for (int64_t i = 0; i < span.size(); ++i)
    result[i] = (*this)[span.begin + i];
  return result;
}

StatusOr<std::vector<TokenSpan>> TokenFile::documentsAt(const std::vector<int64_t> &offsets) const {
  std::vector<TokenSpan> spans;
  spans.reserve(offsets.size());
  for (size_t i = 0; i < offsets.size(); ++i) {
    int64_t end = i + 1 < offsets.size() ? offsets[i + 1] : size_;
    if ((i == 0 && offsets[i] != 0) || offsets[i] >= end)
      return Status::invalid("token file '" + path_ + "': document " + std::to_string(i) + " begins at token " +
                                 std::to_string(offsets[i]) + " and the next one, or the end, is at " +
                                 std::to_string(end),
                             "offsets begin with 0 and increase, and all are below " + std::to_string(size_));
    spans.push_back({offsets[i], end});
  }
  if (spans.empty())
    return Status::invalid("token file '" + path_ + "': no document offsets are given");
  return spans;
}

StatusOr<std::vector<TokenSpan>> TokenFile::documentsBeginningWith(int64_t begin, int64_t limit) const {
  std::vector<TokenSpan> spans;
  int64_t start = -1;
  for (int64_t i = 0; i <= size_; ++i) {
    if (i < size_ && (*this)[i] != begin)
      continue;
    if (start >= 0) {
      spans.push_back({start, i});
      if (limit >= 0 && static_cast<int64_t>(spans.size()) >= limit)
        break;
    }
    start = i;
  }
  if (spans.empty())
    return Status::invalid("token file '" + path_ + "': no document begins with the id " + std::to_string(begin),
                           "documents are asked to begin with this id, and it does not occur");
  return spans;
}

} // namespace morph
