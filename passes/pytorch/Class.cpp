// SPDX-License-Identifier: Apache-2.0

#include "passes/pytorch/Class.h"

#include "passes/pytorch/Forward.h"
#include "passes/pytorch/Text.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace morph;
using namespace morph::pytorch;

/// "chunk = 64, conv = 4"; empty where there are no options.
static std::string describeOptions(DictionaryAttr options) {
  SmallVector<std::string> texts;
  for (NamedAttribute option : options) {
    Attribute value = option.getValue();
    std::string text;
    if (auto truth = dyn_cast<BoolAttr>(value))
      text = truth.getValue() ? "true" : "false";
    else if (auto real = dyn_cast<FloatAttr>(value))
      text = printNumber(real.getValueAsDouble()).text;
    else
      text = std::to_string(cast<IntegerAttr>(value).getInt());
    texts.push_back(escape(option.getName()) + " = " + text);
  }
  return texts.empty() ? "" : llvm::join(texts, ", ");
}

/// What the states of a body hold, in words.
static std::vector<std::pair<std::string, std::string>> describeStates(const Body &body, ArrayRef<MixerState> states) {
  std::vector<std::pair<std::string, std::string>> texts;
  auto add = [&](StringRef name, auto describe) {
    const auto *state = llvm::find_if(states, [&](const MixerState &known) { return known.name == name; });
    assert(state != states.end() && "getStates copies the same body");
    std::string text = describe(state->type.getShape());
    if (state->window > 0)
      text += llvm::formatv(", of the last {0} positions", state->window).str();
    texts.emplace_back(name.str(), std::move(text));
  };
  for (const Step &step : body.steps)
    llvm::TypeSwitch<Operation *>(step.op)
        .Case([&](MixerRecurrenceOp op) {
          add(op.getState(), [&](ArrayRef<int64_t> shape) {
            return llvm::formatv("[batch, heads {0}, key {1}, value {2}] in fp32{3}", shape[1], shape[2], shape[3],
                                 op.getNormaliser() ? ", the last value is the sum of the keys" : "")
                .str();
          });
        })
        .Case([&](MixerConvOp op) {
          add(op.getState(), [](ArrayRef<int64_t> shape) {
            return llvm::formatv("[batch, positions {0}, channels {1}], the last inputs of a convolution", shape[1],
                                 shape[2])
                .str();
          });
        })
        .Case([&](MixerAttentionOp op) {
          for (auto [name, what] : {std::pair(op.getKeyState(), "keys"), std::pair(op.getValueState(), "values")})
            add(name, [what = what](ArrayRef<int64_t> shape) {
              return llvm::formatv("[batch, heads {0}, positions, {1}], {2}", shape[2], shape[3], what).str();
            });
        });
  return texts;
}

FailureOr<Class> pytorch::printClass(LinearMixerOp mixer) {
  FailureOr<MixerExpander> expander = MixerExpander::create(mixer);
  if (failed(expander))
    return failure();
  FailureOr<Body> body = Body::create(*expander);
  FailureOr<SmallVector<MixerState>> states = expander->getStates();
  if (failed(body) || failed(states))
    return failure();
  FailureOr<Weights> weights = Weights::create(*expander, *body);
  if (failed(weights))
    return failure();
  FailureOr<std::string> forward = printForward(*expander, *body, *weights, /*indent=*/8);
  if (failed(forward))
    return failure();

  Class result;
  MixerOp declaration = expander->getDeclaration();
  std::string about = escape(declaration.getDoc().empty() ? declaration.getSymName() : declaration.getDoc());
  std::string options = describeOptions(mixer.getOptions());
  result.body = "    \"\"\"" + about + (options.empty() ? "" : " (" + options + ")") + "\"\"\"\n\n";
  result.body += "    def __init__(self, config):\n        super().__init__(config)\n" + weights->print(8);
  result.body += "\n    def forward(self, x, cache, rope, mask):\n" + *forward;
  result.states = describeStates(*body, *states);
  return result;
}
