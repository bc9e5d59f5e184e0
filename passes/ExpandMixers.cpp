// SPDX-License-Identifier: Apache-2.0
// morph-expand-mixers: token mixers of programs in primitive ops.

#include "passes/Passes.h"
#include "passes/Phases.h"

namespace morph {
#define GEN_PASS_DEF_EXPANDMIXERSPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

struct ExpandMixersPass : public morph::impl::ExpandMixersPassBase<ExpandMixersPass> {
  using ExpandMixersPassBase::ExpandMixersPassBase;

  void runOnOperation() override {
    for (auto program : getOperation().getBody().getOps<ProgramOp>()) {
      SmallVector<TokenMixerOpInterface> mixers;
      program.walk([&](TokenMixerOpInterface mixer) { mixers.push_back(mixer); });
      for (TokenMixerOpInterface mixer : mixers) {
        OpBuilder builder(mixer);
        MixerInputs inputs;
        inputs.hidden = mixer->getOperand(0);
        mixer->getResult(0).replaceAllUsesWith(mixer.expandMixer(builder, inputs).hidden);
        mixer->erase();
      }
    }
  }
};

} // namespace
