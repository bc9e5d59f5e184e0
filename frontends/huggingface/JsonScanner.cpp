// SPDX-License-Identifier: Apache-2.0

#include "frontends/huggingface/JsonScanner.h"

#include "llvm/ADT/SmallVector.h"

#include <string>

/// The text of a string literal that begins at `at`, quotes included.
static llvm::StringRef takeString(llvm::StringRef text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && text[end] != '"')
    end += text[end] == '\\' ? 2 : 1;
  return text.slice(at, std::min(end + 1, text.size()));
}

bool morph::scanJsonNames(llvm::StringRef text,
                          llvm::function_ref<bool(llvm::StringRef path, llvm::StringRef name)> visit) {
  struct Scope {
    bool list;
    size_t prefix; ///< Length of the path outside this scope.
  };
  llvm::SmallVector<Scope> scopes;
  unsigned lists = 0;
  std::string path;
  bool expectName = false;
  for (size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
    case '{':
      scopes.push_back({false, path.size()});
      expectName = true;
      break;
    case '[':
      scopes.push_back({true, path.size()});
      ++lists;
      expectName = false;
      break;
    case '}':
    case ']':
      if (scopes.empty())
        return true;
      lists -= scopes.back().list;
      path.resize(scopes.back().prefix);
      scopes.pop_back();
      expectName = false;
      break;
    case ',':
      if (!scopes.empty()) {
        path.resize(scopes.back().prefix);
        expectName = !scopes.back().list;
      }
      break;
    case '"': {
      llvm::StringRef literal = takeString(text, at);
      if (expectName) {
        if (!path.empty())
          path += '.';
        path += literal.drop_front().drop_back();
        if (lists == 0 && !visit(path, literal))
          return false;
        expectName = false;
      }
      at += literal.size() - 1;
      break;
    }
    default:
      break;
    }
  }
  return true;
}
