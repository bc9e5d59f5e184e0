// SPDX-License-Identifier: Apache-2.0

#include "dialect/MixerReference.h"

#include "runtime/spec/MixerName.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

#include <cmath>

using namespace mlir;
using namespace morph;

std::optional<MixerReference> morph::parseMixerReference(StringRef text, std::string &message) {
  MixerReference reference;
  MixerWords words = splitMixer(text.str());
  reference.path = words.file;
  if (words.file.empty() && text.ltrim().starts_with(":")) {
    message = "no file stands before the ':'";
    return std::nullopt;
  }
  std::string call = words.name + words.options;
  TextError error;
  std::optional<Expression> parsed = parseExpression(call, error);
  if (!parsed) {
    message = error.message;
    return std::nullopt;
  }
  if (parsed->kind != Expression::Kind::Name && parsed->kind != Expression::Kind::Call) {
    message = "it is not a name, or a name with options in brackets";
    return std::nullopt;
  }
  reference.name = parsed->text;
  for (auto [name, value] : llvm::zip_equal(parsed->argumentNames, parsed->children)) {
    if (!name.empty() &&
        llvm::any_of(reference.options, [&, &name = name](const auto &option) { return option.first == name; })) {
      message = "option '" + name + "' is given twice";
      return std::nullopt;
    }
    reference.options.emplace_back(name, value);
  }
  return reference;
}

std::string morph::printMixerReference(const MixerReference &reference) {
  std::string text = reference.path.empty() ? reference.name : reference.path + ":" + reference.name;
  for (const auto &[index, option] : llvm::enumerate(reference.options))
    text +=
        (index == 0 ? "(" : ", ") + (option.first.empty() ? "" : option.first + " = ") + printExpression(option.second);
  return reference.options.empty() ? text : text + ")";
}

llvm::json::Value morph::optionToJson(Attribute value) {
  if (auto truth = dyn_cast<BoolAttr>(value))
    return truth.getValue();
  if (auto number = dyn_cast<FloatAttr>(value))
    return number.getValueAsDouble();
  return cast<IntegerAttr>(value).getInt();
}

TypedAttr morph::makeMixerOption(MixerOptionAttr option, double value) {
  Builder builder(option.getContext());
  Type type = option.getValue().getType();
  TypedAttr attribute;
  if (type.isF64())
    attribute = builder.getF64FloatAttr(value);
  else if (value != std::floor(value) || std::abs(value) > 9e15 || (type.isInteger(1) && value != 0 && value != 1))
    return {};
  else
    attribute = builder.getIntegerAttr(type, static_cast<int64_t>(value));
  return option.read(attribute) ? attribute : TypedAttr();
}

/// Gives values without names those of the options that are declared in their places.
static LogicalResult nameOptions(MixerOp mixer, MixerReference &reference,
                                 function_ref<InFlightDiagnostic()> emitError) {
  StringSet<> given;
  for (auto [index, option] : llvm::enumerate(reference.options)) {
    if (option.first.empty()) {
      if (index >= mixer.getOptions().size())
        return emitError() << "'" << reference.name << "' has " << mixer.getOptions().size() << " options, and '"
                           << printExpression(option.second) << "' is one more";
      option.first = cast<MixerOptionAttr>(mixer.getOptions()[index]).getName().str();
    }
    if (!given.insert(option.first).second)
      return emitError() << "option '" << option.first << "' of '" << reference.name << "' is given twice";
  }
  return success();
}

FailureOr<DictionaryAttr> morph::makeMixerOptions(MixerOp mixer, MixerReference &reference,
                                                  function_ref<InFlightDiagnostic()> emitError) {
  if (failed(nameOptions(mixer, reference, emitError)))
    return failure();
  auto declared = mixer.getOptions().getAsRange<MixerOptionAttr>();
  NamedAttrList options;
  for (MixerOptionAttr option : declared)
    options.set(option.getName(), option.getValue());
  auto lookup = [](StringRef name) -> std::optional<double> {
    if (name == "true" || name == "false")
      return name == "true";
    return std::nullopt;
  };
  for (const auto &[name, expression] : reference.options) {
    MixerOptionAttr option = mixer.lookupOption(name);
    if (!option) {
      auto names = llvm::map_range(declared, [](MixerOptionAttr known) { return known.getName(); });
      return emitError() << "'" << reference.name << "' has no option '" << name << "'; "
                         << (mixer.getOptions().empty() ? "it has none" : "it has: " + llvm::join(names, ", "));
    }
    TextError error;
    std::optional<double> value = evaluateNumber(expression, lookup, error);
    if (!value)
      return emitError() << "option '" << name << "' of '" << reference.name << "': " << error.message;
    TypedAttr attribute = makeMixerOption(option, *value);
    if (!attribute)
      return emitError() << "option '" << name << "' of '" << reference.name << "' is " << printExpression(expression)
                         << ", expected " << option.describeRanges();
    options.set(name, attribute);
  }
  return options.getDictionary(mixer.getContext());
}
