// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights/Safetensors.h"

#include "runtime/base/Json.h"
#include "runtime/base/TorchGuard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace morph {

namespace {

constexpr uint64_t kMaximumHeader = 100'000'000;

const std::pair<const char *, at::ScalarType> kDTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool},
};

std::string systemError(const std::string &what, const std::string &path) {
  return "cannot " + what + " '" + path + "': " + std::strerror(errno);
}

/// Closes a file descriptor when the scope is left.
class Descriptor {
public:
  explicit Descriptor(int value) : value(value) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor &) = delete;
  Descriptor &operator=(const Descriptor &) = delete;
  bool close() {
    int old = std::exchange(value, -1);
    return old < 0 || ::close(old) == 0;
  }
  int value;
};

/// The number of bytes of a shape, or nothing where it overflows.
std::optional<uint64_t> byteSize(const std::vector<int64_t> &shape, uint64_t elementSize) {
  uint64_t bytes = elementSize;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes))
      return std::nullopt;
  return bytes;
}

} // namespace

SafetensorsFile::~SafetensorsFile() {
  if (map_)
    ::munmap(map_, size_);
}

StatusOr<std::shared_ptr<SafetensorsFile>> SafetensorsFile::open(const std::string &path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info;
  if (descriptor.value < 0 || ::fstat(descriptor.value, &info) != 0)
    return Status::invalid(systemError("open", path));
  if (!S_ISREG(info.st_mode))
    return Status::invalid("cannot open '" + path + "': not a regular file");
  auto file = std::shared_ptr<SafetensorsFile>(new SafetensorsFile());
  file->path_ = path;
  file->size_ = static_cast<uint64_t>(info.st_size);
  if (file->size_ < 8)
    return Status::invalid(path + ": not a safetensors file: " + std::to_string(file->size_) + " bytes, truncated?");
  void *map = ::mmap(nullptr, file->size_, PROT_READ, MAP_PRIVATE, descriptor.value, 0);
  if (map == MAP_FAILED)
    return Status::failed(systemError("map", path));
  file->map_ = map;

  const auto *bytes = static_cast<const unsigned char *>(map);
  uint64_t header = 0;
  for (int i = 7; i >= 0; --i)
    header = header << 8 | bytes[i];
  if (header > kMaximumHeader)
    return Status::invalid(path + ": not a safetensors file: its header would have " + std::to_string(header) +
                           " bytes, at most " + std::to_string(kMaximumHeader) + " are allowed");
  if (header > file->size_ - 8)
    return Status::invalid(path + ": the header has " + std::to_string(header) + " bytes, the file only " +
                               std::to_string(file->size_ - 8) + " after its length",
                           "the file is truncated: fetch it again");
  file->dataBegin_ = 8 + header;
  std::string text(reinterpret_cast<const char *>(bytes) + 8, header);
  if (Status status = guardTorch(path, [&] { return file->readHeader(text); }); !status.ok())
    return status.code() == StatusCode::Failed ? Status::invalid(status.message()) : status;
  return file;
}

Status SafetensorsFile::readHeader(const std::string &text) {
  MORPH_ASSIGN_OR_RETURN(Json json, parseJson(text, path_ + ": header"));
  if (!json.is_object())
    return Status::invalid(path_ + ": the header must be an object");
  uint64_t dataSize = size_ - dataBegin_;
  for (const auto &[name, value] : json.items()) {
    if (name == "__metadata__") {
      for (const auto &[key, text] : value.items())
        metadata_[key] = text.is_string() ? text.get<std::string>() : text.dump();
      continue;
    }
    std::string at = path_ + ": tensor '" + name + "'";
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

  // Sorted by place, tensors must follow each other without a gap: the format forbids bytes that belong to none.
  std::vector<std::pair<const std::string *, const Entry *>> order;
  for (const auto &[name, entry] : entries_)
    order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
    return std::tie(a.second->begin, a.second->end) < std::tie(b.second->begin, b.second->end);
  });
  uint64_t end = 0;
  const std::string *before = nullptr;
  for (const auto &[name, entry] : order) {
    if (entry->begin < end)
      return Status::invalid(path_ + ": tensors '" + *before + "' and '" + *name + "' overlap");
    if (entry->begin > end)
      return Status::invalid(path_ + ": bytes " + std::to_string(end) + " to " + std::to_string(entry->begin) +
                             " belong to no tensor");
    end = entry->end;
    before = name;
  }
  if (end != dataSize)
    return Status::invalid(path_ + ": " + std::to_string(dataSize - end) + " bytes after the last tensor");
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
  char *data = static_cast<char *>(map_) + dataBegin_ + entry.begin;
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(entry.dtype) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.mutable_data_ptr(), data, entry.end - entry.begin);
    return copy;
  }
  return at::from_blob(data, entry.shape, [keep = shared_from_this()](void *) {}, options);
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

    std::string temporary = path + ".tmp";
    Descriptor descriptor(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (descriptor.value < 0)
      return Status::failed(systemError("write", temporary));
    auto put = [&](const void *data, uint64_t size) {
      const char *bytes = static_cast<const char *>(data);
      while (size > 0) {
        ssize_t written = ::write(descriptor.value, bytes, std::min<uint64_t>(size, 1 << 30));
        if (written < 0 && errno == EINTR)
          continue;
        if (written <= 0)
          return false;
        bytes += written;
        size -= static_cast<uint64_t>(written);
      }
      return true;
    };
    unsigned char length[8];
    for (int i = 0; i < 8; ++i)
      length[i] = static_cast<unsigned char>(text.size() >> (8 * i));
    bool written = put(length, sizeof length) && put(text.data(), text.size());
    for (auto tensor = tensors.begin(); written && tensor != tensors.end(); ++tensor) {
      at::Tensor dense = tensor->second.detach().contiguous();
      written = put(dense.const_data_ptr(), static_cast<uint64_t>(dense.nbytes()));
    }
    written = written && ::fsync(descriptor.value) == 0;
    written = descriptor.close() && written;
    written = written && ::rename(temporary.c_str(), path.c_str()) == 0;
    if (!written) {
      Status status = Status::failed(systemError("write", path), errno == ENOSPC ? "free some disk space" : "");
      ::unlink(temporary.c_str());
      return status;
    }
    // The rename itself is durable only when the folder is synced; a file system that cannot do that is no error.
    std::filesystem::path folder = std::filesystem::path(path).parent_path();
    Descriptor parent(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (parent.value >= 0)
      (void)::fsync(parent.value);
    return Status();
  });
}

} // namespace morph
