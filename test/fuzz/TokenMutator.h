// SPDX-License-Identifier: Apache-2.0
// Mutations of text that keep most of its structure. TOML, JSON and MLIR are words, numbers, strings and brackets:
// changes of whole tokens and bracketed groups get past the parsers far more often than changes of bytes.

#ifndef MORPH_TEST_FUZZ_TOKENMUTATOR_H
#define MORPH_TEST_FUZZ_TOKENMUTATOR_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace morph::fuzz {

/// Words of the format that are put in the place of others. Every target that links TokenMutator.cpp defines it.
const std::vector<std::string> &formatWords();

} // namespace morph::fuzz

#endif // MORPH_TEST_FUZZ_TOKENMUTATOR_H
