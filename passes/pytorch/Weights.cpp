// SPDX-License-Identifier: Apache-2.0

#include "passes/pytorch/Weights.h"

#include "passes/pytorch/Text.h"

#include "llvm/ADT/StringExtras.h"

#include <tuple>

using namespace mlir;
using namespace morph;
using namespace morph::pytorch;

FailureOr<Weights> Weights::create(MixerExpander &expander, const Body &body) {
  Weights result(expander);
  for (const Step &step : body.steps)
    for (auto [index, operand] : llvm::enumerate(step.operands))
      if (operand.getDefiningOp<MixerWeightOp>())
        result.uses[operand].emplace_back(&step, index);
  if (failed(result.addModules(body.weights)))
    return failure();
  for (MixerWeightOp weight : body.weights) {
    StringRef prefix = getPrefix(weight);
    auto module = result.modules.find(prefix);
    bool isModule = module != result.modules.end();
    if (isModule && !weight.getName().ends_with(".weight"))
      continue; // The module's bias.
    FailureOr<std::string> declaration = isModule ? module->second : result.declareParameter(weight);
    if (failed(declaration) ||
        failed(result.insert(isModule ? prefix : weight.getName(), std::move(*declaration), !isModule)))
      return failure();
  }
  result.uses.clear(); // They point into the body.
  return result;
}

//===----------------------------------------------------------------------===//
// Declarations
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<std::string>> Weights::printSizes(MixerWeightOp weight) {
  SmallVector<std::string> sizes;
  for (auto size : weight.getSizes().getAsRange<StringAttr>()) {
    FailureOr<Text> text = printFormula(expander, size, /*isSize=*/true);
    if (failed(text))
      return failure();
    sizes.push_back(text->text);
  }
  return sizes;
}

FailureOr<std::string> Weights::declareParameter(MixerWeightOp weight) {
  FailureOr<SmallVector<std::string>> sizes = printSizes(weight);
  if (failed(sizes))
    return failure();
  return "nn.Parameter(torch.zeros(" + llvm::join(*sizes, ", ") + ")" +
         (weight.getFrozen() ? ", requires_grad=False)" : ")");
}

FailureOr<std::string> Weights::declareLinear(MixerWeightOp weight, ArrayRef<MixerWeightOp> others) {
  MixerWeightOp bias = others.empty() ? MixerWeightOp() : others.front();
  if (others.size() > 1 || (bias && (!bias.getName().ends_with(".bias") || bias.getFrozen() != weight.getFrozen())))
    return std::string();
  // Every product adds the bias, and nothing else reads it.
  for (auto [step, index] : uses.lookup(weight))
    if (bias && (step->operands.size() < 3 || step->operands[2] != bias.getResult()))
      return std::string();
  for (auto [step, index] : bias ? uses.lookup(bias) : SmallVector<Use>())
    if (!isa<LinearOp>(step->op) || index != 2 || step->operands[1] != weight.getResult())
      return std::string();
  FailureOr<SmallVector<std::string>> sizes = printSizes(weight);
  if (failed(sizes))
    return failure();
  std::string arguments = "(" + (*sizes)[1] + ", " + (*sizes)[0];
  return bias ? "MorphLinear" + arguments + ")" : "nn.Linear" + arguments + ", bias=False)";
}

FailureOr<std::string> Weights::declareNorm(MixerWeightOp weight) {
  std::optional<double> eps;
  for (auto [step, index] : uses.lookup(weight)) {
    FailureOr<double> value = expander.getNumber(cast<MixerNormOp>(step->op).getEps());
    if (failed(value))
      return failure();
    if (eps && *eps != *value)
      return std::string();
    eps = *value;
  }
  FailureOr<SmallVector<std::string>> size = printSizes(weight);
  if (failed(size))
    return failure();
  return "MorphRMSNorm(" + size->front() + ", " + printNumber(*eps).text + ")";
}

FailureOr<std::string> Weights::declareModule(MixerWeightOp weight, ArrayRef<MixerWeightOp> others) {
  auto readers = uses.lookup(weight);
  auto areAll = [&](auto matches) { return !readers.empty() && llvm::all_of(readers, matches); };
  FailureOr<std::string> declaration = std::string();
  if (areAll([](const Use &use) { return isa<LinearOp>(use.first->op) && use.second == 1; })) {
    declaration = declareLinear(weight, others);
  } else if (others.empty() &&
             areAll([](const Use &use) { return isa<MixerNormOp>(use.first->op) && use.second == 1; })) {
    declaration = declareNorm(weight);
  } else if (others.empty() &&
             areAll([](const Use &use) { return isa<MixerConvOp>(use.first->op) && use.second == 1; })) {
    FailureOr<SmallVector<std::string>> sizes = printSizes(weight);
    if (failed(sizes))
      return failure();
    const std::string &channels = (*sizes)[0];
    declaration =
        "nn.Conv1d(" + channels + ", " + channels + ", " + (*sizes)[2] + ", groups=" + channels + ", bias=False)";
  }
  if (succeeded(declaration) && !declaration->empty() && weight.getFrozen())
    *declaration += ".requires_grad_(False)";
  return declaration;
}

LogicalResult Weights::addModules(ArrayRef<MixerWeightOp> weights) {
  std::map<StringRef, SmallVector<MixerWeightOp>> groups;
  for (MixerWeightOp weight : weights)
    groups[getPrefix(weight)].push_back(weight);
  for (auto &[prefix, members] : groups) {
    std::string name = (prefix + ".weight").str();
    auto *found = llvm::find_if(members, [&](MixerWeightOp member) { return member.getName() == name; });
    if (found == members.end())
      continue;
    MixerWeightOp weight = *found;
    members.erase(found);
    FailureOr<std::string> declaration = declareModule(weight, members);
    if (failed(declaration))
      return failure();
    if (!declaration->empty())
      modules[prefix.str()] = *declaration;
  }
  return success();
}

LogicalResult Weights::insert(StringRef path, std::string declaration, bool isParameter) {
  Member *member = &root;
  for (StringRef name : llvm::split(path, '.')) {
    if (name.empty() || !member->declaration.empty())
      return expander.emitError() << "the name '" << path << "' is none that PyTorch can have beside the others";
    auto found = llvm::find_if(member->parts, [&](const auto &part) { return part.first == name; });
    if (found == member->parts.end()) {
      member->parts.emplace_back(name.str(), Member());
      found = std::prev(member->parts.end());
    }
    member = &found->second;
  }
  if (!member->parts.empty())
    return expander.emitError() << "the name '" << path << "' is none that PyTorch can have beside the others";
  member->declaration = std::move(declaration);
  member->isParameter = isParameter;
  return success();
}

std::string Weights::declare(const Member &member) {
  if (!member.declaration.empty())
    return member.declaration;
  SmallVector<std::string> parts;
  for (const auto &[name, part] : member.parts)
    parts.push_back(printString(name) + ": " + declare(part));
  return "MorphGroup({" + llvm::join(parts, ", ") + "})";
}

std::string Weights::print(size_t indent) const {
  std::string lines;
  for (const auto &[name, member] : root.parts) {
    std::string target = "self." + name;
    if (isTakenAttribute(name))
      target = std::string("self.") + (member.isParameter ? "_parameters[" : "_modules[") + printString(name) + "]";
    lines += printLine(target + " = " + declare(member), indent);
  }
  return lines;
}

//===----------------------------------------------------------------------===//
// Reads
//===----------------------------------------------------------------------===//

std::string Weights::access(StringRef path) const {
  StringRef first, rest;
  std::tie(first, rest) = path.split('.');
  std::string text = "self." + first.str();
  if (isTakenAttribute(first)) {
    auto found = llvm::find_if(root.parts, [&](const auto &part) { return part.first == first; });
    text = std::string("self.") + (found->second.isParameter ? "_parameters[" : "_modules[") + printString(first) + "]";
  }
  if (!rest.empty())
    for (StringRef name : llvm::split(rest, '.'))
      text += "[" + printString(name) + "]";
  return text;
}

std::optional<std::string> Weights::findModule(MixerWeightOp weight) const {
  if (!weight || modules.find(getPrefix(weight)) == modules.end())
    return std::nullopt;
  return access(getPrefix(weight));
}

std::string Weights::read(MixerWeightOp weight) const {
  std::optional<std::string> module = findModule(weight);
  return module ? *module + ".weight" : access(weight.getName());
}
