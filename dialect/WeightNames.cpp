// SPDX-License-Identifier: Apache-2.0

#include "dialect/WeightNames.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace morph;

llvm::StringRef morph::findModuleAttribute(llvm::StringRef weight) {
  // Attributes of torch.nn.Module, with those that transformers adds, but for those that begin with '_'.
  // test/export/runtime_test.py asks PyTorch for them.
  static const llvm::StringSet<> attributes = [] {
    constexpr llvm::StringLiteral words =
        "T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double "
        "dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half ipu "
        "load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters "
        "register_backward_hook register_buffer register_forward_hook register_forward_pre_hook "
        "register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook "
        "register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook "
        "register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule share_memory smart_apply state_dict "
        "to to_empty "
        "train training type xpu zero_grad";
    llvm::StringSet<> set;
    for (llvm::StringRef word : llvm::split(words, ' '))
      set.insert(word);
    return set;
  }();
  for (llvm::StringRef part : llvm::split(weight, '.'))
    if (part.starts_with("_") || attributes.contains(part))
      return part;
  return {};
}
