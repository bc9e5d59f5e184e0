// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/Safetensors.h"

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Json.h"
#include "runtime/base/TorchGuard.h"

#include <algorithm>
#include <cstring>

namespace morph {

namespace {

const std::pair<const char *, at::ScalarType> kDTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool},
};

/// The number of bytes of a shape, or nothing where it overflows. A size of 0 does not make the others small: strides
/// are computed from them all the same.
std::optional<uint64_t> byteSize(const std::vector<int64_t> &shape, uint64_t elementSize) {
  uint64_t bytes = elementSize;
  bool empty = false;
  for (int64_t size : shape) {
    empty |= size == 0;
    if (size < 0 || __builtin_mul_overflow(bytes, std::max<uint64_t>(size, 1), &bytes) || bytes > INT64_MAX)
      return std::nullopt;
  }
  return empty ? 0 : bytes;
}

} // namespace

StatusOr<std::shared_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string &path) {
  auto file = std::shared_ptr<SafetensorsFile>(new SafetensorsFile());
  MORPH_ASSIGN_OR_RETURN(file->map_, MappedFile::open(path));
  uint64_t size = file->map_->size();
  if (size < 8)
    return Status::invalid(path + ": not a safetensors file: " + std::to_string(size) + " bytes, truncated?");
  const auto *bytes = reinterpret_cast<const unsigned char *>(file->map_->data());
  uint64_t header = 0;
  for (int i = 7; i >= 0; --i)
    header = header << 8 | bytes[i];
  if (header > kMaximumJsonBytes)
    return Status::invalid(path + ": not a safetensors file: its header would have " + std::to_string(header) +
                           " bytes, at most " + std::to_string(kMaximumJsonBytes) + " are allowed");
  if (header > size - 8)
    return Status::invalid(path + ": the header has " + std::to_string(header) + " bytes, the file only " +
                               std::to_string(size - 8) + " after its length",
                           "the file is truncated: fetch it again");
  file->dataBegin_ = 8 + header;
  std::string text(file->map_->data() + 8, header);
  Status status = guardTorch(path, [&]() -> Status {
    MORPH_RETURN_IF_ERROR(file->readHeader(text));
    return file->checkPlaces();
  });
  if (!status.ok())
    return status;
  return file;
}

Status SafetensorsFile::readHeader(const std::string &text) {
  MORPH_ASSIGN_OR_RETURN(Json json, parseJson(text, path() + ": header"));
  if (!json.is_object())
    return Status::invalid(path() + ": the header must be an object");
  uint64_t dataSize = map_->size() - dataBegin_;
  for (const auto &[name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object())
        return Status::invalid(path() + ": '__metadata__' must be an object, not " + jsonExcerpt(value));
      for (const auto &[key, text] : value.items()) {
        MORPH_ASSIGN_OR_RETURN(metadata_[key], jsonGet<std::string>(value, key, path() + ": __metadata__"));
      }
      continue;
    }
    std::string at = path() + ": tensor '" + name + "'";
    MORPH_ASSIGN_OR_RETURN(std::string dtype, jsonGet<std::string>(value, "dtype", at));
    Entry entry;
    MORPH_ASSIGN_OR_RETURN(entry.shape, jsonGet<std::vector<int64_t>>(value, "shape", at));
    MORPH_ASSIGN_OR_RETURN(auto offsets, jsonGet<std::vector<int64_t>>(value, "data_offsets", at));
    auto known = std::find_if(std::begin(kDTypes), std::end(kDTypes), [&](auto &pair) { return dtype == pair.first; });
    if (known == std::end(kDTypes))
      return Status::invalid(at + " has the unknown dtype '" + dtype + "'");
    entry.dtype = known->second;
    if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0])
      return Status::invalid(at + ": 'data_offsets' must be [begin, end]");
    entry.begin = static_cast<uint64_t>(offsets[0]);
    entry.end = static_cast<uint64_t>(offsets[1]);
    if (entry.end > dataSize)
      return Status::invalid(at + " ends at byte " + std::to_string(entry.end) + " of " + std::to_string(dataSize),
                             "the file is truncated or corrupt: fetch it again");
    std::optional<uint64_t> bytes = byteSize(entry.shape, c10::elementSize(entry.dtype));
    if (!bytes || *bytes != entry.end - entry.begin)
      return Status::invalid(at + " has " + std::to_string(entry.end - entry.begin) + " bytes, its shape needs " +
                             (bytes ? std::to_string(*bytes) : "more than can be addressed"));
    entries_[name] = std::move(entry);
  }

  return Status();
}

/// Sorted by place, every tensor must begin where the one before it ends: then no two overlap, neighbours or not.
Status SafetensorsFile::checkPlaces() const {
  std::vector<std::pair<const std::string *, const Entry *>> order;
  for (const auto &[name, entry] : entries_)
    order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
    return std::tie(a.second->begin, a.second->end) < std::tie(b.second->begin, b.second->end);
  });
  uint64_t end = 0, dataSize = map_->size() - dataBegin_;
  std::string before = "the header";
  for (const auto &[name, entry] : order) {
    if (entry->begin < end)
      return Status::invalid(path() + ": " + before + " and tensor '" + *name + "' overlap: one ends at byte " +
                             std::to_string(end) + " of the data, the other begins at " + std::to_string(entry->begin));
    if (entry->begin > end)
      return Status::invalid(path() + ": bytes " + std::to_string(end) + " to " + std::to_string(entry->begin) +
                             " of the data, between " + before + " and tensor '" + *name + "', belong to no tensor");
    end = entry->end;
    before = "tensor '" + *name + "'";
  }
  if (end != dataSize)
    return Status::invalid(path() + ": " + std::to_string(dataSize - end) + " bytes after " + before +
                           " belong to no tensor");
  return Status();
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto &[name, entry] : entries_)
    names.push_back(name);
  return names;
}

at::Tensor SafetensorsFile::tensor(const std::string &name) {
  auto found = entries_.find(name);
  if (found == entries_.end())
    return at::Tensor();
  const Entry &entry = found->second;
  auto options = at::TensorOptions(entry.dtype);
  if (entry.begin == entry.end)
    return at::empty(entry.shape, options);
  // LibTorch has no tensors of constant memory; nobody writes into these.
  char *data = const_cast<char *>(map_->data()) + dataBegin_ + entry.begin;
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(data, entry.shape, [keep = map_](void *) {}, options);
}

Status writeSafetensors(const std::string &path, const std::map<std::string, at::Tensor> &tensors,
                        const std::map<std::string, std::string> &metadata) {
  return guardTorch("cannot write '" + path + "'", [&]() -> Status {
    // Members in the order of the names: nlohmann's objects are sorted.
    Json header = Json::object();
    if (!metadata.empty())
      header["__metadata__"] = metadata;
    uint64_t offset = 0;
    for (const auto &[name, tensor] : tensors) {
      auto known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                [type = tensor.scalar_type()](auto &pair) { return type == pair.second; });
      if (known == std::end(kDTypes))
        return Status::failed("cannot write '" + path + "': tensor '" + name + "' has a dtype without a name");
      uint64_t end = offset + static_cast<uint64_t>(tensor.nbytes());
      header[name] = {{"dtype", known->first}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
      offset = end;
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');

    MORPH_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
    unsigned char length[8];
    for (int i = 0; i < 8; ++i)
      length[i] = static_cast<unsigned char>(text.size() >> (8 * i));
    MORPH_RETURN_IF_ERROR(file.write(length, sizeof length));
    MORPH_RETURN_IF_ERROR(file.write(text.data(), text.size()));
    for (const auto &[name, tensor] : tensors) {
      const at::Tensor dense = tensor.detach().cpu().contiguous();
      MORPH_RETURN_IF_ERROR(file.write(dense.const_data_ptr(), static_cast<size_t>(dense.nbytes())));
    }
    return file.commit();
  });
}

} // namespace morph
