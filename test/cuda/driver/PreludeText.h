// SPDX-License-Identifier: Apache-2.0
// The text of Prelude.h, which CMake puts into PreludeText.cpp.

#ifndef MORPH_TEST_CUDA_DRIVER_PRELUDETEXT_H
#define MORPH_TEST_CUDA_DRIVER_PRELUDETEXT_H

namespace morph::standin {

extern const char *const kPreludeText;

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_PRELUDETEXT_H
