// SPDX-License-Identifier: Apache-2.0
// morph-pair-branches: phase base -> paired.

#include "dialect/LinearMixers.h"
#include "passes/Passes.h"
#include "passes/Phases.h"
#include "passes/Symbols.h"

#include "dialect/MixerExpander.h"
#include "dialect/MixerReference.h"
#include "frontends/morph/Mixers.h"
#include "runtime/spec/MixerName.h"

#include "llvm/ADT/StringExtras.h"

namespace morph {
#define GEN_PASS_DEF_PAIRBRANCHESPASS
#include "passes/Passes.h.inc"
} // namespace morph

using namespace mlir;
using namespace morph;

namespace {

constexpr llvm::StringLiteral kFull = "full";

struct PairBranchesPass : public morph::impl::PairBranchesPassBase<PairBranchesPass> {
  using PairBranchesPassBase::PairBranchesPassBase;

  /// A candidate beside full attention.
  struct Candidate {
    std::string name;
    MixerOp mixer;
    DictionaryAttr options;
  };
  using Candidates = SmallVector<Candidate>;

  /// Reads the option: lists with `;` between them, each for all layers or, as in `0-3,7:kda`, for some.
  LogicalResult readOption(ModelOp model) {
    // A pass runs on several models.
    listOf.assign(model.getLayers(), Candidates());
    SmallVector<StringRef> parts;
    StringRef(candidates).split(parts, ';');
    for (StringRef part : parts) {
      part = part.trim();
      SmallVector<int64_t> layers;
      if (!part.empty() && llvm::isDigit(part.front())) {
        StringRef set;
        std::tie(set, part) = part.split(':');
        if (failed(readLayers(model, set, layers)))
          return failure();
      } else {
        llvm::append_range(layers, llvm::seq<int64_t>(0, model.getLayers()));
      }
      FailureOr<Candidates> list = readCandidates(model, part);
      if (failed(list))
        return failure();
      for (int64_t layer : layers)
        listOf[layer] = *list;
    }
    return success();
  }

  /// Reads `0-3,7`.
  static LogicalResult readLayers(ModelOp model, StringRef set, SmallVectorImpl<int64_t> &layers) {
    SmallVector<StringRef> ranges;
    set.split(ranges, ',');
    for (StringRef range : ranges) {
      auto [first, last] = range.split('-');
      int64_t from = 0, to = 0;
      if (first.trim().getAsInteger(10, from) || (last.empty() ? first : last).trim().getAsInteger(10, to) ||
          from > to || to >= int64_t(model.getLayers()))
        return emitError(model.getLoc()) << "option candidates: '" << range << "' is no layer and no range of layers 0-"
                                         << int64_t(model.getLayers()) - 1;
      llvm::append_range(layers, llvm::seq_inclusive(from, to));
    }
    return success();
  }

  static FailureOr<Candidates> readCandidates(ModelOp model, StringRef texts) {
    Candidates list;
    if (texts.trim().empty())
      return list; // Full attention stays.
    // MLIR 19's own lists of options never end where one has brackets.
    for (const std::string &text : splitReferences(texts.str())) {
      auto fail = [&] { return emitError(model.getLoc()) << "candidate '" << text << "': "; };
      std::string message;
      std::optional<MixerReference> reference = parseMixerReference(text, message);
      if (!reference)
        return fail() << message;
      if (!reference->path.empty())
        return fail() << "files are read by frontends: the model must declare the mixer '" << reference->name << "'";
      if (reference->name == kFull)
        return fail() << "'full' is not a candidate: it is what the candidates are paired with";
      FailureOr<Candidate> candidate = readCandidate(model, *reference, fail);
      if (failed(candidate))
        return failure();
      size_t number = 1;
      for (const Candidate &other : list) {
        if (other.mixer != candidate->mixer)
          continue;
        if (other.options == candidate->options)
          return fail() << "'" << reference->name << "' is given twice";
        ++number;
      }
      candidate->name = makeCandidateName(reference->name, number);
      list.push_back(std::move(*candidate));
    }
    return list;
  }

  static FailureOr<Candidate> readCandidate(ModelOp model, MixerReference &reference,
                                            function_ref<InFlightDiagnostic()> fail) {
    MixerOp mixer = declareMixer(model, reference.name);
    if (!mixer) {
      InFlightDiagnostic error = fail() << "neither the model nor Morph has a mixer of that name";
      error.attachNote() << "Morph has " << llvm::join(getBuiltinMixers(), ", ");
      return failure();
    }
    FailureOr<DictionaryAttr> options = makeMixerOptions(mixer, reference, fail);
    if (failed(options))
      return failure();
    return Candidate{reference.name, mixer, *options};
  }

  LogicalResult pair(WeightAdder &weights, SoftmaxMixerOp mixer) {
    ArrayRef<Candidate> list;
    if (mixer.getLayer() < listOf.size())
      list = listOf[mixer.getLayer()];
    if (list.empty())
      return success(); // It stays as it is.
    OpBuilder builder(mixer);
    SmallVector<StringRef> names{kFull};
    for (const Candidate &candidate : list)
      names.push_back(candidate.name);
    OperationState state(mixer.getLoc(), ChoiceOp::getOperationName());
    ChoiceOp::build(builder, state, mixer.getType(), mixer.getLayerAttr(), builder.getStrArrayAttr(names),
                    /*bodiesCount=*/names.size());
    auto choice = cast<ChoiceOp>(builder.create(state));
    mixer.replaceAllUsesWith(choice.getResult());
    Block &full = choice.getBodies().front().emplaceBlock();
    mixer->moveBefore(&full, full.end());
    builder.setInsertionPointToEnd(&full);
    builder.create<YieldOp>(mixer.getLoc(), mixer.getResult());

    std::string layer = "model.layers." + std::to_string(mixer.getLayer());
    for (auto [index, candidate] : llvm::enumerate(list)) {
      builder.setInsertionPointToEnd(&choice.getBodies()[index + 1].emplaceBlock());
      LinearMixerOp built = createLinearMixer(builder, mixer, candidate.mixer, candidate.options,
                                              layer + (index == 0 ? ".linear_attn" : ".linear_attn_" + candidate.name));
      builder.create<YieldOp>(mixer.getLoc(), built.getResult());
      // A declaration that does not fit this layer has no weights.
      if (failed(MixerExpander::check(built, /*isNew=*/true)))
        return failure();
      weights.addMixerWeights(cast<TokenMixerOpInterface>(built.getOperation()));
    }
    return success();
  }

  void runOnOperation() override {
    ModelOp model = getOperation();
    if (failed(requirePhase(model, {Phase::Base}, getArgument())) || failed(readOption(model)))
      return signalPassFailure();
    SmallVector<SoftmaxMixerOp> mixers;
    for (func::FuncOp function : model.getBody().getOps<func::FuncOp>())
      function.walk([&](SoftmaxMixerOp mixer) { mixers.push_back(mixer); });
    WeightAdder weights(model);
    for (SoftmaxMixerOp mixer : mixers)
      if (failed(pair(weights, mixer)))
        return signalPassFailure();
    model.setPhase(Phase::Paired);
  }

  SmallVector<Candidates> listOf; ///< By layer.
};

} // namespace
