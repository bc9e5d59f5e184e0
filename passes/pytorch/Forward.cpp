// SPDX-License-Identifier: Apache-2.0

#include "passes/pytorch/Forward.h"

#include "passes/pytorch/Text.h"
#include "runtime/plan/OpTable.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace morph;
using namespace morph::pytorch;

/// What is longer gets a name, though it is read once.
static constexpr size_t kInlineWidth = 60;

namespace {

/// A value on its way into a statement.
struct Written : Text {
  bool isWide = true;      ///< In fp32 or wider; otherwise in the type of x.
  llvm::StringSet<> names; ///< The variables in it.
};

class ForwardPrinter {
public:
  ForwardPrinter(MixerExpander &expander, const Body &body, const Weights &weights, size_t indent)
      : expander(expander), body(body), weights(weights), indent(indent) {}

  FailureOr<std::string> print();

private:
  /// An operand's text, which is one read less to come.
  std::string take(Value value, Binding around = Binding::Sum, std::optional<bool> isWide = true);
  FailureOr<Written> write(const Step &step);
  FailureOr<Written> writeRecurrence(MixerRecurrenceOp op, const Step &step);
  FailureOr<Written> writeAttention(MixerAttentionOp op, const Step &step);
  FailureOr<Written> writeLinear(const Step &step);
  FailureOr<Written> writeNorm(MixerNormOp op, const Step &step);
  FailureOr<Written> writeElementwise(const Step &step);
  Written writeSum(const Step &step);
  Written make(std::string text, Binding binding = Binding::Atom, bool isWide = true) const {
    Written written;
    written.text = std::move(text);
    written.binding = binding;
    written.isWide = isWide;
    return written;
  }
  /// Whether what a value's text gives is wide.
  bool isWide(Value value) const {
    auto found = live.find(value);
    return value.getDefiningOp<MixerWeightOp>() || (found != live.end() && found->second.isWide);
  }

  FailureOr<std::string> formula(StringRef text, Binding around = Binding::Sum, bool isSize = false) {
    FailureOr<Text> printed = printFormula(expander, text, isSize);
    if (failed(printed))
      return failure();
    return printed->within(around);
  }
  /// The same of what is a size: PyTorch takes whole numbers for it.
  FailureOr<std::string> size(StringRef text) { return formula(text, Binding::Sum, /*isSize=*/true); }

  // Names.
  void define(const Step &step, Written written);
  bool isInlined(const Step &step, const Written &written) const;
  std::string chooseName(Value value) const;
  std::string findName(Value value) const;
  std::string findSourceName(Value value) const;
  bool isFree(StringRef name) const;

  MixerExpander &expander;
  const Body &body;
  const Weights &weights;
  size_t indent;
  std::string lines;
  llvm::DenseMap<Value, SmallVector<std::pair<const Step *, unsigned>>> uses;
  llvm::DenseMap<Value, const Step *> producers;
  llvm::DenseMap<Value, size_t> reads; ///< Reads to come.
  llvm::DenseMap<Value, Written> live; ///< Values that are yet to be read.
  llvm::StringSet<> taken;             ///< Variables in what the statement under way reads.
};

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// Whether an op keeps a state, and is a statement of its own.
bool isStateful(Operation *op) { return isa<MixerConvOp, MixerRecurrenceOp, MixerAttentionOp>(op); }

/// Whether an op computes on whatever type its operand has, or on that of x.
bool takesNarrow(Operation *op) {
  return isa<LinearOp, MixerConvOp, MixerSplitOp, MixerMergeOp, MixerExpandOp, MixerRopeOp, MixerAttentionOp>(op);
}

/// The parameter of a recurrence or attention that an operand is given to; empty for others.
StringRef getRole(const Step &step, unsigned operand) {
  if (isa<MixerAttentionOp>(step.op))
    return std::array<StringRef, 3>{"q", "k", "v"}[operand];
  auto recurrence = dyn_cast<MixerRecurrenceOp>(step.op);
  if (!recurrence)
    return "";
  constexpr StringRef kRoles[] = {"q", "k", "v", "decay", "beta", "write", "erase", "bonus"};
  for (auto [group, role] : llvm::enumerate(kRoles)) {
    auto [begin, size] = recurrence.getODSOperandIndexAndLength(group);
    if (operand >= begin && operand < begin + size)
      return role;
  }
  return "";
}

/// A weight's name without the word for what it is.
std::string getStem(StringRef weight) {
  StringRef stem = weight.split('.').first;
  for (StringRef suffix : {"_proj", "_map", "_lora", "_conv"})
    if (stem.size() > suffix.size() && stem.consume_back(suffix))
      break;
  return stem.str();
}

std::string ForwardPrinter::findSourceName(Value value) const {
  // Down the first operands to something that has a name.
  while (const Step *step = producers.lookup(value)) {
    if (isa<MixerRecurrenceOp, MixerAttentionOp>(step->op))
      return "o";
    if (auto conv = dyn_cast<MixerConvOp>(step->op))
      return getStem(conv.getState());
    const auto *computed = llvm::find_if(step->operands, [&](Value operand) { return producers.count(operand); });
    value = computed == step->operands.end() ? step->operands.front() : *computed;
    if (isa<LinearOp>(step->op))
      if (auto weight = step->operands[1].getDefiningOp<MixerWeightOp>(); weights.findModule(weight))
        value = weight;
  }
  if (auto weight = value.getDefiningOp<MixerWeightOp>())
    return getStem(weight.getName());
  return "y";
}

std::string ForwardPrinter::findName(Value value) const {
  // What it becomes, where that is clear.
  for (Value next = value; next;) {
    auto readers = uses.lookup(next);
    for (auto [step, operand] : readers)
      if (StringRef role = getRole(*step, operand); !role.empty())
        return role.str();
    if (readers.size() != 1 || isa<LinearOp>(readers.front().first->op))
      break;
    const Step &reader = *readers.front().first;
    bool isAlone = llvm::count_if(reader.operands, [&](Value operand) { return producers.count(operand); }) == 1;
    if (isa<MixerConvOp>(reader.op))
      return getStem(cast<MixerConvOp>(reader.op).getState());
    next = isAlone ? reader.getResult() : Value();
  }
  return findSourceName(value);
}

bool ForwardPrinter::isFree(StringRef name) const {
  return !isTakenVariable(name) &&
         llvm::none_of(live, [&](const auto &entry) { return entry.second.names.contains(name); });
}

std::string ForwardPrinter::chooseName(Value value) const {
  std::string name = findName(value);
  if (isTakenVariable(name))
    name += "_";
  std::string numbered = name;
  for (int number = 2; !isFree(numbered); ++number)
    numbered = name + std::to_string(number);
  return numbered;
}

bool ForwardPrinter::isInlined(const Step &step, const Written &written) const {
  auto readers = uses.lookup(step.getResult());
  return readers.size() == 1 && !isStateful(step.op) && !isStateful(readers.front().first->op) &&
         written.text.size() <= kInlineWidth;
}

void ForwardPrinter::define(const Step &step, Written written) {
  written.names = std::move(taken);
  taken.clear();
  if (!isInlined(step, written) && step.getResult() != body.result) {
    auto readers = uses.lookup(step.getResult());
    // Widened once, where all that read it would.
    if (!written.isWide && llvm::none_of(readers, [](const auto &use) { return takesNarrow(use.first->op); })) {
      written.text = "wide(" + written.text + ")";
      written.isWide = true;
    }
    std::string name = chooseName(step.getResult());
    lines += printLine(name + " = " + written.text, indent);
    bool isWide = written.isWide;
    written = make(name, Binding::Atom, isWide);
    written.names.insert(name);
  }
  live[step.getResult()] = std::move(written);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

/// `wanted`: wide or of the type of x; nothing: as it is.
std::string ForwardPrinter::take(Value value, Binding around, std::optional<bool> wanted) {
  if (auto weight = value.getDefiningOp<MixerWeightOp>())
    return wanted.value_or(true) ? "wide(" + weights.read(weight) + ")" : weights.read(weight);
  if (value == expander.getDeclaration().getHidden())
    return wanted.value_or(false) ? "wide(x)" : "x";
  Written &written = live.find(value)->second;
  for (const auto &name : written.names)
    taken.insert(name.first());
  Text text = written;
  if (wanted && *wanted != written.isWide)
    text = *wanted ? Text{"wide(" + text.text + ")", Binding::Atom}
                   : Text{text.within(Binding::Atom) + ".to(x.dtype)", Binding::Atom};
  if (--reads[value] == 0)
    live.erase(value);
  return text.within(around);
}

FailureOr<Written> ForwardPrinter::writeLinear(const Step &step) {
  auto weight = step.operands[1].getDefiningOp<MixerWeightOp>();
  Value bias = step.operands.size() > 2 ? step.operands[2] : Value();
  if (std::optional<std::string> module = weights.findModule(weight)) {
    std::string product = *module + "(" + take(step.operands[0], Binding::Sum, false) + ")";
    // A module adds its bias in fp32.
    if (!bias || weights.isBiasOfModule(bias.getDefiningOp<MixerWeightOp>()))
      return make(product, Binding::Atom, /*isWide=*/static_cast<bool>(bias));
    return make("wide(" + product + ") + " + take(bias, Binding::Product), Binding::Sum);
  }
  std::string text = "F.linear(" + take(step.operands[0]) + ", " + take(step.operands[1]);
  return make(text + (bias ? ", " + take(bias) : "") + ")");
}

FailureOr<Written> ForwardPrinter::writeNorm(MixerNormOp op, const Step &step) {
  if (auto module = weights.findModule(step.operands[1].getDefiningOp<MixerWeightOp>()))
    return make(*module + "(" + take(step.operands[0]) + ")");
  FailureOr<std::string> eps = formula(op.getEps());
  if (failed(eps))
    return failure();
  std::string x = take(step.operands[0]);
  return make("rms_norm(" + x + ", " + take(step.operands[1]) + ", " + *eps + ")");
}

Written ForwardPrinter::writeSum(const Step &step) {
  std::string left = take(step.operands[0]), right = take(step.operands[1], Binding::Product);
  // A negated term is taken away.
  if (StringRef rest = right; rest.consume_front("-"))
    return make(left + " - " + rest.str(), Binding::Sum);
  return make(left + " + " + right, Binding::Sum);
}

FailureOr<Written> ForwardPrinter::writeElementwise(const Step &step) {
  const plan::OpRule *rule = plan::findOpRule(step.op->getName().stripDialect().str());
  if (!rule || rule->pyTorch.empty()) {
    InFlightDiagnostic error = expander.emitError()
                               << "'" << step.op->getName() << "' has no form in PyTorch: `pyTorch` of its record";
    error.attachNote(step.op->getLoc()) << "read here";
    return error;
  }
  auto [before, after] = StringRef(rule->pyTorch).split("{}");
  std::string x = take(step.operands[0], before.empty() ? Binding::Atom : Binding::Sum);
  return make(before.str() + x + after.str());
}

FailureOr<Written> ForwardPrinter::writeRecurrence(MixerRecurrenceOp op, const Step &step) {
  std::string call = "recurrence(cache, " + printString(op.getState());
  for (Value operand : ArrayRef(step.operands).take_front(3))
    call += ", " + take(operand);
  call += ", mask, x.dtype";
  for (unsigned index = 3; index < step.operands.size(); ++index)
    call += ", " + getRole(step, index).str() + "=" + take(step.operands[index]);
  FailureOr<std::string> scale = formula(op.getScale()), chunk = size(op.getChunk());
  FailureOr<std::string> normaliser = op.getNormaliser() ? formula(*op.getNormaliser()) : std::string();
  if (failed(scale) || failed(chunk) || failed(normaliser))
    return failure();
  call += ", scale=" + *scale + (normaliser->empty() ? "" : ", normaliser=" + *normaliser);
  return make(call + ", chunk=" + *chunk + ")");
}

FailureOr<Written> ForwardPrinter::writeAttention(MixerAttentionOp op, const Step &step) {
  std::string call =
      "attention(cache, (" + printString(op.getKeyState()) + ", " + printString(op.getValueState()) + ")";
  for (Value operand : step.operands)
    call += ", " + take(operand, Binding::Sum, false);
  FailureOr<std::string> scale = formula(op.getScale());
  FailureOr<std::string> window = op.getWindow() ? size(*op.getWindow()) : std::string();
  FailureOr<double> softcap = op.getSoftcap() ? expander.getNumber(*op.getSoftcap()) : FailureOr<double>(0.0);
  if (failed(scale) || failed(window) || failed(softcap))
    return failure();
  call += ", mask, scale=" + *scale + (window->empty() ? "" : ", window=" + *window);
  if (*softcap != 0)
    call += ", softcap=" + printNumber(*softcap).text;
  return make(call + ")", Binding::Atom, false);
}

FailureOr<Written> ForwardPrinter::write(const Step &step) {
  /// One that does the same to x of any type: what stands before and after its text.
  auto keep = [&](StringRef before, const std::string &after) {
    bool wide = isWide(step.operands[0]);
    Binding around = before.empty() ? Binding::Atom : Binding::Sum;
    return make(before.str() + take(step.operands[0], around, std::nullopt) + after, Binding::Atom, wide);
  };
  return llvm::TypeSwitch<Operation *, FailureOr<Written>>(step.op)
      .Case([&](LinearOp) { return writeLinear(step); })
      .Case([&](MixerNormOp op) { return writeNorm(op, step); })
      .Case([&](MixerRecurrenceOp op) { return writeRecurrence(op, step); })
      .Case([&](MixerAttentionOp op) { return writeAttention(op, step); })
      .Case([&](MixerConvOp op) -> FailureOr<Written> {
        std::string call = "convolve(cache, " + printString(op.getState()) + ", ";
        call += take(step.operands[0], Binding::Sum, false);
        return make(call + ", " + take(step.operands[1], Binding::Sum, false) + ", mask)", Binding::Atom, false);
      })
      .Case([&](MixerSplitOp op) -> FailureOr<Written> {
        FailureOr<std::string> heads = size(op.getHeads());
        return failed(heads) ? FailureOr<Written>() : keep("", ".unflatten(-1, (" + *heads + ", -1))");
      })
      .Case([&](MixerExpandOp op) -> FailureOr<Written> {
        FailureOr<std::string> width = size(op.getWidth());
        return failed(width) ? FailureOr<Written>() : keep("expand(", ", " + *width + ")");
      })
      .Case([&](MixerMergeOp) -> FailureOr<Written> { return keep("", ".flatten(-2)"); })
      .Case([&](MixerRopeOp) -> FailureOr<Written> { return keep("apply_rope(", ", *rope)"); })
      .Case([&](MixerL2NormOp op) -> FailureOr<Written> {
        FailureOr<std::string> eps = formula(op.getEps());
        if (failed(eps))
          return failure();
        return make("l2_norm(" + take(step.operands[0]) + ", " + *eps + ")");
      })
      .Case([&](MixerScaleOp op) -> FailureOr<Written> {
        FailureOr<std::string> factor = formula(op.getFactor(), Binding::Negation);
        if (failed(factor))
          return failure();
        if (*factor == "-1")
          return make("-" + take(step.operands[0], Binding::Negation), Binding::Negation);
        return make(take(step.operands[0], Binding::Product) + " * " + *factor, Binding::Product);
      })
      .Case([&](MixerOffsetOp op) -> FailureOr<Written> {
        FailureOr<std::string> term = formula(op.getTerm(), Binding::Product);
        if (failed(term))
          return failure();
        std::string x = take(step.operands[0]);
        StringRef rest = *term;
        return rest.consume_front("-") ? make(x + " - " + rest.str(), Binding::Sum)
                                       : make(x + " + " + *term, Binding::Sum);
      })
      .Case([&](AddOp) -> FailureOr<Written> { return writeSum(step); })
      .Case([&](MulOp) -> FailureOr<Written> {
        std::string left = take(step.operands[0], Binding::Product);
        return make(left + " * " + take(step.operands[1], Binding::Negation), Binding::Product);
      })
      .Default([&](Operation *) { return writeElementwise(step); });
}

FailureOr<std::string> ForwardPrinter::print() {
  for (const Step &step : body.steps) {
    producers[step.getResult()] = &step;
    for (auto [index, operand] : llvm::enumerate(step.operands)) {
      uses[operand].emplace_back(&step, index);
      ++reads[operand];
    }
  }
  ++reads[body.result];
  for (const Step &step : body.steps) {
    FailureOr<Written> written = write(step);
    if (failed(written))
      return failure();
    define(step, std::move(*written));
  }
  return lines + printLine("return " + take(body.result, Binding::Sum, false), indent);
}

} // namespace

FailureOr<std::string> pytorch::printForward(MixerExpander &expander, const Body &body, const Weights &weights,
                                             size_t indent) {
  return ForwardPrinter(expander, body, weights, indent).print();
}
