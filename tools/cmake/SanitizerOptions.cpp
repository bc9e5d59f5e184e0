// SPDX-License-Identifier: Apache-2.0
// Options of the sanitizers, linked into every program of a MORPH_SANITIZE build. Whatever is switched off here is so
// because MLIR, LLVM and LibTorch are not instrumented; our own code has no exception.

extern "C" const char *__asan_default_options() {
  return
      // LLVM's allocators mark free memory where instrumented code inlines them, and the instances inside libLLVM do
      // not unmark it: every name that MLIR stores would be reported.
      "allow_user_poisoning=0:"
      // The same class is defined by libLLVM.so and by MLIR's static libraries; neither is ours.
      "detect_odr_violation=0:"
      // A program's own handler tells of a mapped file that was cut; other bus errors end it as ever.
      "handle_sigbus=0:"
      // std::bad_alloc, as without the sanitizer: the runtime reports it as out of memory.
      "allocator_may_return_null=1:"
      "strict_string_checks=1:"
      "detect_stack_use_after_return=1";
}

extern "C" const char *__ubsan_default_options() { return "print_stacktrace=1"; }
