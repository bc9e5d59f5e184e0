// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Functions.h"

#include "runtime/plan/OpTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ErrorHandling.h"

using namespace morph;
using namespace morph::language;

namespace {

// A new function is a line here. Parameters are
//
//   NAME [SIZES]               an activation         NAME weight [SIZES]   a weight
//   NAME number                a number              NAME size N           a size, called N in this line
//
// with `|` between several forms, `= ...` where they may be absent, and `*` before those that go by name only. Names of
// sizes other than M, H, G and D stand for whatever the arguments have; a leading * for any sizes, whose product is
// `channels`. What gives a weight whatever its arguments is a statistic.
struct Entry {
  const char *signature;
  const char *summary;
};
constexpr Entry entries[] = {
    {"base_q(x [M], *, norm number = 1) -> [H, D]",
     "the base's query projection, with its bias and, unless norm = 0, its norm"},
    {"base_k(x [M], *, heads size N = H, norm number = 1) -> [N, D]",
     "the base's key projection, with its bias and, unless norm = 0, its norm; key-value heads are repeated to H "
     "unless heads = G"},
    {"base_v(x [M], *, heads size N = H) -> [N, D]",
     "the base's value projection, with its bias; key-value heads are repeated to H unless heads = G"},
    {"base_o(y [H * D]) -> [M]", "the base's output projection, with its bias"},
    {"project(x [*, I], w weight [O, I], bias weight [O] = none) -> [*, O]", "x times w transposed, plus bias"},
    {"norm(x [*, E], w weight [E], *, eps number = base.norm_eps) -> [*, E]",
     "w * x / sqrt(mean(x ^ 2) + eps) over the last dimension"},
    {"l2norm(x [*, E], *, eps number = 1e-6) -> [*, E]", "x / sqrt(sum(x ^ 2) + eps) over the last dimension"},
    {"conv(x [*], w weight [channels, 1, W]) -> [*]", "causal depthwise convolution over positions, W of them"},
    {"shift(x [*]) -> [*]", "x of the position before, zero at the first"},
    {"rope(x [*, D]) -> [*, D]", "rotary position embedding, the base's"},
    {"split(x [E], heads size N) -> [N, E / N]", "one dimension as two"},
    {"merge(x [N, E]) -> [N * E]", "two dimensions as one"},
    {"expand(x [N] | weight [N], width size E) -> [N, E]", "each element as a row of E equal ones"},
    {"recurrence(q [P, K], k [P, K], v [R, V], *, decay weight [R] | [R] | [R, K] = none, beta [R] = none, "
     "erase [R, K] = none, write [R, K] = none, bonus weight [R, K] = none, scale number = K ^ -0.5, "
     "normaliser number = none, chunk number = 64) -> [R, V] where P divides R",
     "a linear attention's state and its output; decays are natural logarithms"},
    {"attention(q [H, D], k [G, D], v [G, D], *, window number = none, scale number = D ^ -0.5, "
     "softcap number = none) -> [H, D]",
     "causal softmax attention, of the last `window` positions; scores bounded by `softcap`, unless it is 0"},
    {"mean(x [*]) -> weight [*]", "the mean over batch and positions; in calibrate lines"},
    {"attention_distance(q [N, E], k [P, E], *, window number = none, scale number = E ^ -0.5, "
     "softcap number = none) -> weight [N] where P divides N",
     "how far back each head of attention(q, k, ...) looks, in positions, on average; in calibrate lines"},
};

struct BaseWeights {
  llvm::StringRef function;
  std::vector<llvm::StringRef> weights;
};

/// Reads a line of the table. It is our own text: an error in it ends the process at the first use, in every test.
class SignatureParser {
public:
  explicit SignatureParser(const Entry &entry)
      : text_(entry.signature), list_(readTokens(text_)), reader_(list_.tokens) {
    function_.signature = entry.signature;
    function_.summary = entry.summary;
  }

  TensorFunction run() {
    function_.name = reader_.take().text.str();
    take("(");
    bool onlyByName = false;
    do {
      if (reader_.takeIf("*"))
        onlyByName = true;
      else
        parseParameter(onlyByName);
    } while (reader_.takeIf(","));
    take(")");
    take("-");
    take(">");
    const ValueKind kind = reader_.takeIf("weight") ? ValueKind::Weight : ValueKind::Activation;
    function_.result = parseShape(kind);
    if (reader_.takeIf("where")) {
      function_.divisor = reader_.take().text.str();
      take("divides");
      function_.dividend = reader_.take().text.str();
    }
    if (!reader_.atEnd())
      fail();
    return std::move(function_);
  }

private:
  [[noreturn]] void fail() { llvm::report_fatal_error("malformed signature of a function: " + llvm::Twine(text_)); }
  void take(llvm::StringRef word) {
    if (!reader_.takeIf(word))
      fail();
  }
  Expression parseValue() {
    TextError error;
    std::optional<Expression> value = parseExpression(reader_, error, /*bracketed=*/true);
    if (!value)
      fail();
    return std::move(*value);
  }

  ArgumentForm parseShape(ValueKind kind) {
    ArgumentForm form;
    form.kind = kind;
    take("[");
    if (reader_.takeIf("*")) {
      form.anyBefore = true;
      reader_.takeIf(",");
    }
    while (!reader_.takeIf("]")) {
      form.shape.push_back(parseValue());
      reader_.takeIf(",");
    }
    return form;
  }

  void parseParameter(bool onlyByName) {
    Parameter parameter;
    parameter.name = reader_.take().text.str();
    parameter.onlyByName = onlyByName;
    do {
      if (reader_.takeIf("number")) {
        parameter.forms.emplace_back();
      } else if (reader_.takeIf("size")) {
        parameter.forms.emplace_back();
        parameter.size = reader_.take().text.str();
      } else {
        ValueKind kind = reader_.takeIf("weight") ? ValueKind::Weight : ValueKind::Activation;
        parameter.forms.push_back(parseShape(kind));
      }
    } while (reader_.takeIf("|"));
    parameter.required = !reader_.takeIf("=");
    if (!parameter.required && !reader_.takeIf("none"))
      parameter.fallback = parseValue();
    function_.parameters.push_back(std::move(parameter));
  }

  std::string text_;
  TokenList list_;
  TokenReader reader_;
  TensorFunction function_;
};

/// Whether an op takes one tensor and nothing else, and gives an expression of its elements.
bool isElementwiseUnary(const plan::OpRule &rule) {
  return rule.elementwise && rule.operands.size() == 1 && rule.operands[0].arity == plan::Arity::One &&
         !rule.operands[0].index && rule.attributes.empty() && rule.results.size() == 1 &&
         rule.results[0].shape == "=" + rule.operands[0].name;
}

} // namespace

const std::map<std::string, TensorFunction> &morph::language::getTensorFunctions() {
  static const std::map<std::string, TensorFunction> functions = [] {
    std::map<std::string, TensorFunction> map;
    auto add = [&](const Entry &entry, bool isElementwise) {
      TensorFunction function = SignatureParser(entry).run();
      function.isElementwise = isElementwise;
      std::string name = function.name;
      map.emplace(std::move(name), std::move(function));
    };
    for (const Entry &entry : entries)
      add(entry, false);
    for (const std::string &op : plan::opNames())
      if (isElementwiseUnary(*plan::findOpRule(op)))
        add({(op + "(x [*] | weight [*]) -> [*]").c_str(), "of each element"}, true);
    return map;
  }();
  return functions;
}

const TensorFunction *morph::language::findTensorFunction(llvm::StringRef name) {
  const std::map<std::string, TensorFunction> &functions = getTensorFunctions();
  auto found = functions.find(name.str());
  return found == functions.end() ? nullptr : &found->second;
}

llvm::ArrayRef<std::pair<llvm::StringRef, llvm::StringRef>> morph::language::getArgumentPairs(llvm::StringRef name) {
  static constexpr std::pair<llvm::StringRef, llvm::StringRef> kFreeVectors[] = {{"write", "erase"}};
  if (name == "recurrence")
    return kFreeVectors;
  return {};
}

llvm::ArrayRef<llvm::StringRef> morph::language::getWeightsOfFunction(llvm::StringRef name) {
  static const std::vector<BaseWeights> list = {{"base_q", {"q_proj.weight", "q_proj.bias", "q_norm.weight"}},
                                                {"base_k", {"k_proj.weight", "k_proj.bias", "k_norm.weight"}},
                                                {"base_v", {"v_proj.weight", "v_proj.bias"}},
                                                {"base_o", {"o_proj.weight", "o_proj.bias"}}};
  for (const BaseWeights &entry : list)
    if (entry.function == name)
      return entry.weights;
  return {};
}

llvm::StringRef morph::language::getMadeWeightPrefix(llvm::StringRef name) { return name == "shift" ? "shift." : ""; }
