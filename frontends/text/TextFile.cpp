// SPDX-License-Identifier: Apache-2.0

#include "frontends/text/TextFile.h"

#include "llvm/Support/FileSystem.h"

using namespace morph;
namespace fs = llvm::sys::fs;

static llvm::StringRef getTypeName(fs::file_type type) {
  switch (type) {
  case fs::file_type::directory_file:
    return "a folder";
  case fs::file_type::fifo_file:
    return "a pipe";
  case fs::file_type::socket_file:
    return "a socket";
  default:
    return "a device";
  }
}

static llvm::Error makeError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

llvm::Expected<uint64_t> morph::getFileBytes(llvm::StringRef path) {
  fs::file_status status;
  if (std::error_code code = fs::status(path, status))
    return makeError(code.message());
  if (status.type() != fs::file_type::regular_file)
    return makeError("it is " + getTypeName(status.type()) + ", expected a file");
  return status.getSize();
}

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> morph::readTextFile(llvm::StringRef path, uint64_t maximum) {
  llvm::Expected<uint64_t> bytes = getFileBytes(path);
  if (!bytes)
    return bytes.takeError();
  if (*bytes > maximum)
    return makeError("it has " + llvm::Twine(*bytes) + " bytes, expected at most " + llvm::Twine(maximum));
  return readFilePart(path, *bytes, 0);
}

llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> morph::readFilePart(llvm::StringRef path, uint64_t bytes,
                                                                        int64_t offset) {
  auto buffer = llvm::MemoryBuffer::getFileSlice(path, bytes, offset, /*IsVolatile=*/true);
  if (!buffer)
    return makeError(buffer.getError().message());
  return std::move(*buffer);
}
