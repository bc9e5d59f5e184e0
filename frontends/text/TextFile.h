// SPDX-License-Identifier: Apache-2.0
// Files from outside as texts: read only where they are files, and of a size that is sensible.

#ifndef MORPH_FRONTENDS_TEXT_TEXTFILE_H
#define MORPH_FRONTENDS_TEXT_TEXTFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

#include <cstdint>
#include <memory>

namespace morph {

/// The bytes of a file. Errors do not name the file: it cannot be reached, or is a folder, a pipe (which could keep its
/// reader waiting for ever), a socket or a device.
llvm::Expected<uint64_t> getFileBytes(llvm::StringRef path);

/// A file's contents, of `maximum` bytes at most. They are copied, not mapped: a file that is cut meanwhile does no
/// harm. Errors are those of getFileBytes and of reading.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> readTextFile(llvm::StringRef path, uint64_t maximum);

/// `bytes` bytes of a file from `offset` on, which lie within it, in a buffer of the file's name.
llvm::Expected<std::unique_ptr<llvm::MemoryBuffer>> readFilePart(llvm::StringRef path, uint64_t bytes, int64_t offset);

} // namespace morph

#endif // MORPH_FRONTENDS_TEXT_TEXTFILE_H
