// SPDX-License-Identifier: Apache-2.0
// Declared mixers as IR: those that come with Morph (dialect/mixers/*.morph), and those of users' files.

#ifndef MORPH_FRONTENDS_MORPH_MIXERS_H
#define MORPH_FRONTENDS_MORPH_MIXERS_H

#include "dialect/MorphOps.h"
#include "frontends/Diagnostics.h"

#include <map>
#include <memory>
#include <string>

namespace morph {

namespace language {
struct CheckedFile;
} // namespace language

/// The names of the mixers that come with Morph, sorted.
llvm::ArrayRef<llvm::StringRef> getBuiltinMixers();

/// The text that declares one of them; empty where there is none.
llvm::StringRef getBuiltinMixerText(llvm::StringRef name);

/// The declaration of a name in a model: the one that it has, or the one that comes with Morph, which is added to it.
/// Null where there is neither, or where the name is another symbol's.
MixerOp declareMixer(ModelOp model, llvm::StringRef name);

/// Reads a `.morph` file and adds its mixers to a model that has none of their names. False after an error.
bool declareMixersOfFile(ModelOp model, llvm::StringRef path, Diagnostics &diagnostics);

/// Names what a mixer declares, whatever file it is of: 16 hexadecimal digits, the same where the meaning is the same.
std::string digestDeclaration(MixerOp mixer);

/// Mixers of `.morph` files, each of which is read once.
class MixerFiles {
public:
  explicit MixerFiles(Diagnostics &diagnostics);
  ~MixerFiles();

  /// Adds the mixer of that name of a file to a model. Null after an error, which is reported once a file where the
  /// file is wrong; `usedAt` is where the file is named.
  MixerOp declare(ModelOp model, llvm::StringRef path, llvm::StringRef name, SourceRange usedAt);

private:
  Diagnostics &diagnostics_;
  std::map<std::string, std::unique_ptr<language::CheckedFile>> files_; ///< Null after an error.
};

} // namespace morph

#endif // MORPH_FRONTENDS_MORPH_MIXERS_H
