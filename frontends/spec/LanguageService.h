// SPDX-License-Identifier: Apache-2.0
// A spec in an editor.

#ifndef MORPH_FRONTENDS_SPEC_LANGUAGESERVICE_H
#define MORPH_FRONTENDS_SPEC_LANGUAGESERVICE_H

#include "frontends/LanguageService.h"

#include <memory>

namespace morph::spec {

/// The service of a TOML file at a path, which paths in it are relative to; empty where it has none yet. Of TOML that
/// is no spec (a top-level `version` and one of its sections) nothing is said.
std::unique_ptr<LanguageService> makeLanguageService(llvm::StringRef path);

/// What `morph plan` says of the archs of a `.morph` file that has this text: those that name a model and so can be
/// run.
std::vector<Problem> findArchProblems(llvm::StringRef path, llvm::StringRef text);

} // namespace morph::spec

#endif // MORPH_FRONTENDS_SPEC_LANGUAGESERVICE_H
