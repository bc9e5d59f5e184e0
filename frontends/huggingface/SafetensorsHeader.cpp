// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/SafetensorsHeader.h"

#include "frontends/text/Json.h"
#include "frontends/text/TextFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"

using namespace morph;

/// The same limit as the safetensors library's own.
static constexpr uint64_t kMaxHeaderBytes = 100'000'000;
static constexpr llvm::StringLiteral kTruncated = "the file is cut short or damaged; fetch it again";

/// Bytes of an element, 0 for an unknown type.
static int64_t getElementBytes(llvm::StringRef type) {
  return llvm::StringSwitch<int64_t>(type)
      .Cases("F64", "I64", "U64", 8)
      .Cases("F32", "I32", "U32", 4)
      .Cases("F16", "BF16", "I16", "U16", 2)
      .Cases("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", 1)
      .Default(0);
}

/// Reads one member of the header. Returns what is wrong with it, empty where nothing is.
static std::string readEntry(const llvm::json::Value &value, int64_t dataBytes, TensorEntry &entry) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return "is not an object";
  std::optional<llvm::StringRef> type = object->getString("dtype");
  const llvm::json::Array *shape = object->getArray("shape");
  const llvm::json::Array *offsets = object->getArray("data_offsets");
  if (!type || !shape || !offsets || offsets->size() != 2)
    return "lacks 'dtype', 'shape' or 'data_offsets'";
  entry.type = type->str();
  int64_t bytes = getElementBytes(*type);
  if (bytes == 0)
    return "has the unknown type '" + entry.type + "'";
  // A size of 0 does not make the others small: the runtime computes strides from them all the same.
  bool isEmpty = false;
  for (const llvm::json::Value &dimension : *shape) {
    std::optional<int64_t> size = dimension.getAsInteger();
    if (!size || *size < 0)
      return "has a dimension that is not a whole number";
    entry.shape.push_back(*size);
    isEmpty |= *size == 0;
    if (llvm::MulOverflow(bytes, std::max<int64_t>(*size, 1), bytes))
      return "has a shape of more than 2^63 bytes";
  }
  if (isEmpty)
    bytes = 0;
  std::optional<int64_t> begin = (*offsets)[0].getAsInteger();
  std::optional<int64_t> end = (*offsets)[1].getAsInteger();
  if (!begin || !end || *begin < 0 || *end < *begin)
    return "has offsets that are not two rising whole numbers";
  if (*end > dataBytes)
    return "ends at byte " + std::to_string(*end) + " of the data, but the file holds only " +
           std::to_string(dataBytes) + " bytes of it";
  if (*end - *begin != bytes)
    return "has " + std::to_string(*end - *begin) + " bytes, but its shape and type need " + std::to_string(bytes);
  entry.begin = *begin;
  entry.end = *end;
  return "";
}

/// "bytes 0 to 128", the last not included.
static std::string printBytes(int64_t begin, int64_t end) {
  return "bytes " + std::to_string(begin) + " to " + std::to_string(end);
}

/// The rule of the safetensors library's `validate`: tensors follow each other from the first byte of the data to the
/// last. `entries` are sorted by their offsets. Calls `fail` with a tensor and the error, and returns false, where they
/// do not.
static bool checkLayout(llvm::ArrayRef<TensorEntry> entries, int64_t dataBytes,
                        llvm::function_ref<void(llvm::StringRef name, const llvm::Twine &message)> fail) {
  int64_t at = 0;
  for (const auto &[index, entry] : llvm::enumerate(entries)) {
    if (entry.begin < at) {
      const TensorEntry &before = entries[index - 1];
      fail(entry.name, "the tensors '" + before.name + "' (" + printBytes(before.begin, before.end) + ") and '" +
                           entry.name + "' (" + printBytes(entry.begin, entry.end) + ") overlap");
      return false;
    }
    if (entry.begin > at) {
      std::string before = index == 0 ? std::string("the beginning of the data")
                                      : "'" + entries[index - 1].name + "' (" +
                                            printBytes(entries[index - 1].begin, entries[index - 1].end) + ")";
      fail(entry.name, printBytes(at, entry.begin) + " belong to no tensor: they lie between " + before + " and '" +
                           entry.name + "' (" + printBytes(entry.begin, entry.end) + ")");
      return false;
    }
    at = entry.end;
  }
  if (at == dataBytes)
    return true;
  fail(entries.empty() ? "" : entries.back().name,
       printBytes(at, dataBytes) + " belong to no tensor: they follow " +
           (entries.empty() ? std::string("the header")
                            : "the last, '" + entries.back().name + "' (" +
                                  printBytes(entries.back().begin, entries.back().end) + ")"));
  return false;
}

/// The header's text, which the Diagnostics hold under the file's name. Nothing after an error.
static std::optional<llvm::StringRef> readHeaderText(llvm::StringRef path, int64_t &dataBytes,
                                                     Diagnostics &diagnostics) {
  auto fail = [&](const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics.error("'" + path + "': " + message, hint);
    return std::nullopt;
  };
  llvm::Expected<uint64_t> fileBytes = getFileBytes(path);
  if (!fileBytes)
    return fail("cannot be read: " + llvm::toString(fileBytes.takeError()));
  if (*fileBytes < 8)
    return fail("not a safetensors file: it has " + llvm::Twine(*fileBytes) + " bytes, its length alone takes 8",
                kTruncated);
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> length = readFilePart(path, 8, 0);
  if (!length)
    return fail("cannot be read: " + llvm::toString(length.takeError()));
  uint64_t headerBytes = llvm::support::endian::read64le((*length)->getBufferStart());
  if (headerBytes > kMaxHeaderBytes)
    return fail("not a safetensors file: its header claims " + llvm::Twine(headerBytes) + " bytes, at most " +
                llvm::Twine(kMaxHeaderBytes) + " are taken");
  if (headerBytes > *fileBytes - 8)
    return fail("the header claims " + llvm::Twine(headerBytes) + " bytes, but the file has only " +
                    llvm::Twine(*fileBytes - 8) + " after the length",
                kTruncated);
  llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> header = readFilePart(path, headerBytes, 8);
  if (!header)
    return fail("cannot be read: " + llvm::toString(header.takeError()));
  dataBytes = *fileBytes - 8 - headerBytes;
  return diagnostics.addBuffer(std::move(*header));
}

std::optional<std::vector<TensorEntry>> morph::readSafetensorsHeader(llvm::StringRef path, Diagnostics &diagnostics) {
  int64_t dataBytes = 0;
  std::optional<llvm::StringRef> text = readHeaderText(path, dataBytes, diagnostics);
  if (!text)
    return std::nullopt;
  JsonError error;
  std::optional<llvm::json::Value> value = parseJson(*text, error);
  if (!value) {
    diagnostics.error(makeRange(text->substr(error.offset, error.length)), "the safetensors header: " + error.message);
    return std::nullopt;
  }
  const llvm::json::Object *header = value->getAsObject();
  if (!header) {
    diagnostics.error(makeRange(text->take_front(1)), "the safetensors header is not a JSON object");
    return std::nullopt;
  }
  auto fail = [&](llvm::StringRef name, const llvm::Twine &message, const llvm::Twine &hint = "") {
    llvm::StringRef literal = findJsonName(*text, name);
    diagnostics.error(makeRange(literal.empty() ? text->take_front(1) : literal), message, hint);
  };

  std::vector<TensorEntry> entries;
  for (const auto &member : *header) {
    if (member.first == "__metadata__") {
      const llvm::json::Object *metadata = member.second.getAsObject();
      if (metadata && llvm::all_of(*metadata, [](const auto &entry) { return entry.second.getAsString(); }))
        continue;
      fail(member.first, "'__metadata__' is not an object of strings");
      return std::nullopt;
    }
    TensorEntry entry;
    entry.name = member.first.str();
    std::string problem = readEntry(member.second, dataBytes, entry);
    if (!problem.empty()) {
      fail(entry.name, "the tensor '" + entry.name + "' " + problem,
           problem.find("holds only") != std::string::npos ? llvm::Twine(kTruncated) : llvm::Twine(""));
      return std::nullopt;
    }
    entries.push_back(std::move(entry));
  }
  llvm::sort(entries, [](const TensorEntry &a, const TensorEntry &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  if (!checkLayout(entries, dataBytes, [&](llvm::StringRef name, const llvm::Twine &message) { fail(name, message); }))
    return std::nullopt;
  return entries;
}
