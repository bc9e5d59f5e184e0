// SPDX-License-Identifier: Apache-2.0
#include "IrText.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <vector>

bool morph::fuzz::refersForward(llvm::StringRef text) {
  std::vector<std::pair<llvm::StringRef, size_t>> defined; // Name and the depth of braces where it ends.
  size_t depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}') {
      depth -= depth > 0;
      llvm::erase_if(defined, [&](const auto &one) { return one.second > depth; });
    }
    if (text[i] != '%')
      continue;
    size_t end = i + 1;
    while (end < text.size() && (llvm::isAlnum(text[end]) || llvm::StringRef("_$.-").contains(text[end])))
      ++end;
    llvm::StringRef name = text.slice(i, end), rest = text.substr(end);
    // "%a = ", "%a:2 = ", "%a, %b = " and the arguments "(%a: type, %b: type)", which belong to the braces that follow,
    // or of a block, "^a(%b: type)", to those around it.
    bool argument = rest.starts_with(": ");
    llvm::StringRef line = rest.take_until([](char c) { return c == '\n' || c == '=' || c == '('; });
    llvm::StringRef before = text.take_front(i);
    before = before.drop_front(before.rfind('\n') + 1); // npos + 1 is 0.
    bool result =
        rest.substr(line.size()).starts_with("= ") && before.trim(" %,:0123456789abcdefghijklmnopqrstuvwxyz").empty();
    bool ofBlock = before.ltrim(' ').starts_with("^");
    if (argument || result)
      defined.emplace_back(name, depth + (argument && !ofBlock));
    else if (llvm::none_of(defined, [&](const auto &one) { return one.first == name; }))
      return true;
    i = end - 1;
  }
  return false;
}
