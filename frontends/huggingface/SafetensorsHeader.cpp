// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/SafetensorsHeader.h"

#include "frontends/huggingface/JsonScanner.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace morph;

/// The same limit as the safetensors library's own.
static constexpr uint64_t kMaxHeaderBytes = 100'000'000;

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
  for (const llvm::json::Value &dimension : *shape) {
    std::optional<int64_t> size = dimension.getAsInteger();
    if (!size || *size < 0)
      return "has a dimension that is not a whole number";
    entry.shape.push_back(*size);
    if (llvm::MulOverflow(bytes, *size, bytes))
      return "has a shape of more than 2^63 bytes";
  }
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

std::optional<std::vector<TensorEntry>> morph::readSafetensorsHeader(llvm::StringRef path, Diagnostics &diagnostics) {
  auto fail = [&](const llvm::Twine &message, const llvm::Twine &hint = "") {
    diagnostics.error("'" + path + "': " + message, hint);
    return std::nullopt;
  };
  constexpr llvm::StringLiteral kTruncated = "the file is cut short or damaged; fetch it again";

  uint64_t fileBytes = 0;
  if (std::error_code code = llvm::sys::fs::file_size(path, fileBytes))
    return fail("cannot be read: " + code.message());
  if (fileBytes < 8)
    return fail("not a safetensors file: it has " + llvm::Twine(fileBytes) + " bytes, its length alone takes 8",
                kTruncated);
  auto lengthBuffer = llvm::MemoryBuffer::getFileSlice(path, 8, 0);
  if (!lengthBuffer)
    return fail("cannot be read: " + lengthBuffer.getError().message());
  uint64_t headerBytes = llvm::support::endian::read64le((*lengthBuffer)->getBufferStart());
  if (headerBytes > kMaxHeaderBytes)
    return fail("not a safetensors file: its header claims " + llvm::Twine(headerBytes) + " bytes, at most " +
                llvm::Twine(kMaxHeaderBytes) + " are taken");
  if (headerBytes > fileBytes - 8)
    return fail("the header claims " + llvm::Twine(headerBytes) + " bytes, but the file has only " +
                    llvm::Twine(fileBytes - 8) + " after the length",
                kTruncated);
  auto headerBuffer = llvm::MemoryBuffer::getFileSlice(path, headerBytes, 8);
  if (!headerBuffer)
    return fail("cannot be read: " + headerBuffer.getError().message());
  llvm::StringRef text = (*headerBuffer)->getBuffer();
  if (!llvm::json::isUTF8(text))
    return fail("the header is not UTF-8 text");
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  if (!value)
    return fail("the header is not JSON: " + llvm::toString(value.takeError()));
  const llvm::json::Object *header = value->getAsObject();
  if (!header)
    return fail("the header is not a JSON object");

  // Names may have dots, so only whole names at the top are told apart: those whose path is the name itself.
  llvm::StringSet<> names;
  std::string duplicate;
  scanJsonNames(text, [&](llvm::StringRef name, llvm::StringRef literal) {
    if (name.size() + 2 == literal.size() && !names.insert(name).second)
      duplicate = name.str();
    return duplicate.empty();
  });
  if (!duplicate.empty())
    return fail("the tensor '" + duplicate + "' is given twice");

  int64_t dataBytes = fileBytes - 8 - headerBytes;
  std::vector<TensorEntry> entries;
  for (const auto &member : *header) {
    if (member.first == "__metadata__")
      continue;
    TensorEntry entry;
    entry.name = member.first.str();
    std::string problem = readEntry(member.second, dataBytes, entry);
    if (!problem.empty())
      return fail("the tensor '" + entry.name + "' " + problem,
                  problem.find("holds only") != std::string::npos ? llvm::Twine(kTruncated) : llvm::Twine(""));
    entries.push_back(std::move(entry));
  }
  llvm::sort(entries, [](const TensorEntry &a, const TensorEntry &b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  for (size_t i = 1; i < entries.size(); ++i)
    if (entries[i].begin < entries[i - 1].end && entries[i].begin < entries[i].end)
      return fail("the tensors '" + entries[i - 1].name + "' and '" + entries[i].name + "' overlap");
  return entries;
}
