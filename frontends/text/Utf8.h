// SPDX-License-Identifier: Apache-2.0
// Cutting texts that people read.

#ifndef MORPH_FRONTENDS_TEXT_UTF8_H
#define MORPH_FRONTENDS_TEXT_UTF8_H

#include "llvm/ADT/StringRef.h"

namespace morph {

/// The last place in a text, up to `at`, that is not within a UTF-8 sequence.
inline size_t findCharacterBegin(llvm::StringRef text, size_t at) {
  if (at >= text.size())
    return text.size();
  // A sequence has three bytes at most after its first; more of them are none.
  for (size_t back = 0; back <= 3 && back <= at; ++back)
    if ((static_cast<unsigned char>(text[at - back]) & 0xC0) != 0x80)
      return at - back;
  return at;
}

} // namespace morph

#endif // MORPH_FRONTENDS_TEXT_UTF8_H
