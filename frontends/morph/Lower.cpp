// SPDX-License-Identifier: Apache-2.0

#include "frontends/morph/Lower.h"

#include "dialect/WeightNames.h"
#include "runtime/plan/OpTable.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSwitch.h"

#include <map>
#include <memory>
#include <set>

using namespace mlir;
using namespace morph;
using namespace morph::language;

namespace {

/// What a name is: a value of the IR, or, where that is null, a scalar.
struct Lowered {
  Value value;
  std::shared_ptr<const Expression> scalar;
};
using LoweredNames = std::map<std::string, Lowered>;

class Lowering {
public:
  Lowering(OpBuilder &builder, const CheckedMixer &checked, const Diagnostics &diagnostics)
      : builder(builder), weights(builder), checked(checked), mixer(*checked.mixer), diagnostics(diagnostics),
        location(getLocation(mixer.name.range)) {}

  MixerOp lower();

private:
  Location getLocation(SourceRange range) const {
    auto [line, column] = diagnostics.getLineAndColumn(range);
    return FileLineColLoc::get(builder.getContext(), diagnostics.getTextName(range), line, column);
  }
  RankedTensorType getType(size_t rank) const {
    return getTensorType(builder.getContext(), SmallVector<int64_t>(rank, ShapedType::kDynamic));
  }
  static int64_t getRank(Value value) { return cast<RankedTensorType>(value.getType()).getRank(); }
  StringAttr text(const Twine &text) { return builder.getStringAttr(text); }

  ArrayAttr lowerOptions();
  void lowerWeight(const Weight &weight);
  /// A weight that starts from one of the layer's full attention; the one that is there already where it is.
  Value addBaseWeight(StringRef name, ArrayRef<StringRef> sizes, bool repeats, StringRef condition = "");
  Value addWeight(StringRef name, ArrayRef<std::string> sizes, ArrayRef<std::string> indices, MixerInitAttr init,
                  StringAttr condition, bool frozen);

  void lowerBody(ArrayRef<Statement> statements);
  void lowerIf(const Statement &statement);
  /// Takes back what a branch assigned. Weights of the base that it asked for are there for all that follows.
  void restoreNames(const LoweredNames &before);
  void lowerCalibration(const Statement &statement);
  /// The value of an expression of tensors.
  Value lower(const Expression &expression);
  Value lowerOperator(const Expression &expression);
  Value lowerCall(const Expression &expression);
  Value lowerBaseProjection(StringRef which, Value x, StringRef heads, StringRef norm);
  Value lowerBaseOutput(Value y);
  /// The filter of `shift` over some channels.
  Value getShiftFilter(const std::string &channels);
  Value lowerConv(Value x, Value filter, StringRef state) {
    return builder.create<MixerConvOp>(location, x, filter, makeStateName(state));
  }

  bool isTensor(const Expression &expression) const { return checked.types.lookup(&expression).isTensor(); }
  /// A scalar with the scalars in it that were assigned to names.
  Expression substitute(const Expression &expression) const;
  std::string getText(const Expression &expression) const { return printExpression(substitute(expression)); }

  /// The argument of a call, null where it is absent.
  Value getValue(const CheckedCall &call, StringRef parameter);
  /// The same of a number or size, or what it stands for where it is absent; null where that is nothing.
  StringAttr getNumber(const CheckedCall &call, StringRef parameter);
  /// A name for a state that no other state has.
  StringAttr makeStateName(StringRef name);
  Value choose(StringRef condition, llvm::function_ref<Value()> whole, llvm::function_ref<Value()> otherwise);
  Value offsetBy(Value x, const Twine &term) { return builder.create<MixerOffsetOp>(location, x, text(term)); }
  Value scaleBy(Value x, const Twine &factor) { return builder.create<MixerScaleOp>(location, x, text(factor)); }
  Value combine(bool multiply, Value lhs, Value rhs);

  OpBuilder &builder;
  OpBuilder weights; ///< Where the weights go, before everything else.
  const CheckedMixer &checked;
  const Mixer &mixer;
  const Diagnostics &diagnostics;
  Location location; ///< Of the statement that is lowered.
  LoweredNames names;
  std::map<std::string, int> stateCounts; ///< How often states were to be called so.
  std::set<std::string> states;
  std::map<std::string, std::string> shiftFilters; ///< The weights that are filters of `shift`, by their channels.
};

Expression Lowering::substitute(const Expression &expression) const {
  return replaceNames(expression, [&](StringRef name) -> const Expression * {
    auto found = names.find(name.str());
    return found != names.end() && !found->second.value ? found->second.scalar.get() : nullptr;
  });
}

/// Replaces the names of a function's own sizes by what they are in a call.
static void bindSizes(Expression &expression, const CheckedCall &call) {
  if (expression.kind == Expression::Kind::Name)
    if (auto found = call.sizes.find(expression.text); found != call.sizes.end()) {
      // The checker refuses sizes that are longer than a text may be.
      TextError none;
      expression = *parseExpression(found->second.print(), none);
      return;
    }
  for (Expression &child : expression.children)
    bindSizes(child, call);
}

/// The place of a parameter among those of a function, which has it.
static size_t findParameter(const CheckedCall &call, StringRef name) {
  const auto &parameters = call.function->parameters;
  auto found = llvm::find_if(parameters, [&](const Parameter &parameter) { return parameter.name == name; });
  assert(found != parameters.end() && "the table of functions has what is asked for");
  return static_cast<size_t>(found - parameters.begin());
}

Value Lowering::getValue(const CheckedCall &call, StringRef parameter) {
  const Expression *argument = call.arguments[findParameter(call, parameter)];
  return argument ? lower(*argument) : Value();
}

StringAttr Lowering::getNumber(const CheckedCall &call, StringRef parameter) {
  size_t index = findParameter(call, parameter);
  if (const Expression *argument = call.arguments[index])
    return text(getText(*argument));
  const std::optional<Expression> &fallback = call.function->parameters[index].fallback;
  if (!fallback)
    return {};
  // It may name sizes of the function's own.
  Expression bound = *fallback;
  bindSizes(bound, call);
  return text(printExpression(bound));
}

ArrayAttr Lowering::lowerOptions() {
  SmallVector<Attribute> options;
  for (const Option &option : mixer.options) {
    TypedAttr value;
    if (option.type == Option::Type::Real)
      value = builder.getF64FloatAttr(option.fallback.value);
    else if (option.type == Option::Type::Boolean)
      value = builder.getBoolAttr(option.fallback.value != 0);
    else
      value = builder.getI64IntegerAttr(static_cast<int64_t>(option.fallback.value));
    SmallVector<double> ranges;
    for (const Option::Range &range : option.ranges)
      ranges.append({range.first.value, range.last.value});
    options.push_back(
        MixerOptionAttr::get(builder.getContext(), option.name.text, value,
                             ranges.empty() ? DenseF64ArrayAttr() : builder.getDenseF64ArrayAttr(ranges)));
  }
  return builder.getArrayAttr(options);
}

MixerOp Lowering::lower() {
  SmallVector<Attribute> sizes, conditions;
  for (const Dimension &dimension : mixer.dimensions)
    sizes.push_back(FormulaAttr::get(builder.getContext(), dimension.name.text, printExpression(dimension.size)));
  for (const Requirement &requirement : mixer.requirements)
    conditions.push_back(
        FormulaAttr::get(builder.getContext(), requirement.message.text, printExpression(requirement.condition)));
  auto op = builder.create<MixerOp>(location, mixer.name.text, mixer.doc ? mixer.doc->text : "", lowerOptions(),
                                    builder.getArrayAttr(sizes), builder.getArrayAttr(conditions));
  Block &body = op.getBody().emplaceBlock();
  names["x"] = {body.addArgument(getType(3), location), {}};
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(&body);
  // Ops of the body stand after this one until it is erased.
  auto end = builder.create<MixerYieldOp>(location, ValueRange());
  weights.setInsertionPoint(end);
  builder.setInsertionPointToEnd(&body);
  for (const Weight &weight : mixer.weights)
    lowerWeight(weight);
  lowerBody(mixer.statements);
  location = getLocation(mixer.resultRange);
  Value result = lower(mixer.result);
  end.erase();
  builder.setInsertionPointToEnd(&body);
  builder.create<MixerYieldOp>(location, result);
  return op;
}

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

Value Lowering::addWeight(StringRef name, ArrayRef<std::string> sizes, ArrayRef<std::string> indices,
                          MixerInitAttr init, StringAttr condition, bool frozen) {
  auto list = [&](ArrayRef<std::string> texts) {
    return builder.getStrArrayAttr(llvm::map_to_vector(texts, [](const std::string &text) { return StringRef(text); }));
  };
  auto op = weights.create<MixerWeightOp>(location, getType(sizes.size()), text(name), list(sizes), list(indices), init,
                                          condition, frozen ? builder.getUnitAttr() : UnitAttr());
  names[name.str()] = {op, {}};
  return op;
}

void Lowering::lowerWeight(const Weight &weight) {
  location = getLocation(weight.name.range);
  std::vector<std::string> sizes, indices;
  for (const WeightSize &size : weight.sizes) {
    sizes.push_back(printExpression(size.size));
    indices.push_back(size.index ? size.index->text : "");
  }
  std::string init = weight.init.source.text;
  InitKind kind = weight.init.kind == Initializer::Kind::Copy ? InitKind::Copy : InitKind::RepeatHeads;
  if (weight.init.kind == Initializer::Kind::Normal || weight.init.kind == Initializer::Kind::Formula) {
    init = printExpression(weight.init.formula);
    kind = weight.init.kind == Initializer::Kind::Normal ? InitKind::Normal : InitKind::Values;
  }
  addWeight(weight.name.text, sizes, indices, MixerInitAttr::get(builder.getContext(), kind, init),
            weight.condition ? text(printExpression(*weight.condition)) : StringAttr(), weight.frozen);
}

Value Lowering::addBaseWeight(StringRef name, ArrayRef<StringRef> sizes, bool repeats, StringRef condition) {
  if (auto found = names.find(name.str()); found != names.end())
    return found->second.value;
  std::vector<std::string> texts(sizes.begin(), sizes.end());
  auto init = MixerInitAttr::get(builder.getContext(), repeats ? InitKind::RepeatHeads : InitKind::Copy, name);
  return addWeight(name, texts, std::vector<std::string>(sizes.size()), init,
                   condition.empty() ? StringAttr() : text(condition), /*frozen=*/false);
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

void Lowering::lowerBody(ArrayRef<Statement> statements) {
  for (const Statement &statement : statements) {
    location = NameLoc::get(text(statement.target.text), getLocation(statement.range));
    if (statement.kind == Statement::Kind::If)
      lowerIf(statement);
    else if (statement.kind == Statement::Kind::Calibrate)
      lowerCalibration(statement);
    else if (isTensor(statement.value))
      names[statement.target.text] = {lower(statement.value), {}};
    else
      names[statement.target.text] = {Value(), std::make_shared<Expression>(substitute(statement.value))};
  }
}

void Lowering::restoreNames(const LoweredNames &before) {
  LoweredNames after = before;
  for (const auto &[name, lowered] : names)
    if (lowered.value)
      if (auto weight = lowered.value.getDefiningOp<MixerWeightOp>(); weight && weight.getName() == name)
        after.try_emplace(name, lowered);
  names = std::move(after);
}

void Lowering::lowerCalibration(const Statement &statement) {
  auto op = builder.create<MixerCalibrateOp>(location, text(statement.target.text));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(&op.getBody().emplaceBlock());
  Value value = lower(statement.value);
  builder.create<MixerYieldOp>(location, value);
}

void Lowering::lowerIf(const Statement &statement) {
  Location own = location;
  const LoweredNames before = names;
  // Both bodies are built before their results are known.
  Region bodies[2];
  LoweredNames after[2];
  const std::vector<Statement> *branches[] = {&statement.thenBody, &statement.elseBody};
  for (int side : {0, 1}) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(&bodies[side].emplaceBlock());
    lowerBody(*branches[side]);
    after[side] = names;
    restoreNames(before);
  }
  // A name without a value of one type on both sides is read by nobody.
  SmallVector<std::string> changed;
  for (const auto &[name, lowered] : after[0]) {
    auto other = after[1].find(name);
    Value first = lowered.value, second = other == after[1].end() ? Value() : other->second.value;
    if (first && second && first != second && first.getType() == second.getType())
      changed.push_back(name);
  }
  SmallVector<mlir::Type> types;
  for (const std::string &name : changed)
    types.push_back(after[0][name].value.getType());
  auto op = builder.create<MixerIfOp>(own, types, text(getText(statement.value)));
  Region *regions[] = {&op.getWhole(), &op.getOtherwise()};
  for (int side : {0, 1}) {
    regions[side]->takeBody(bodies[side]);
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(&regions[side]->front());
    SmallVector<Value> values;
    for (const std::string &name : changed)
      values.push_back(after[side][name].value);
    builder.create<MixerYieldOp>(own, values);
  }
  for (auto [name, result] : llvm::zip_equal(changed, op.getResults()))
    names[name] = {result, {}};
}

Value Lowering::choose(StringRef condition, function_ref<Value()> whole, function_ref<Value()> otherwise) {
  Region bodies[2];
  Value values[2];
  function_ref<Value()> builds[] = {whole, otherwise};
  for (int side : {0, 1}) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(&bodies[side].emplaceBlock());
    values[side] = builds[side]();
    builder.create<MixerYieldOp>(location, values[side]);
  }
  auto op = builder.create<MixerIfOp>(location, TypeRange(values[0].getType()), text(condition));
  op.getWhole().takeBody(bodies[0]);
  op.getOtherwise().takeBody(bodies[1]);
  return op.getResult(0);
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Value Lowering::lower(const Expression &expression) {
  switch (expression.kind) {
  case Expression::Kind::Name:
    return names.at(expression.text).value;
  case Expression::Kind::Call:
    return lowerCall(expression);
  case Expression::Kind::Negate:
    return scaleBy(lower(expression.children[0]), "-1");
  default:
    return lowerOperator(expression);
  }
}

Value Lowering::combine(bool multiply, Value lhs, Value rhs) {
  // The shape of the right operand ends that of the left one.
  if (getRank(lhs) < getRank(rhs))
    std::swap(lhs, rhs);
  return multiply ? Value(builder.create<MulOp>(location, lhs, rhs)) : Value(builder.create<AddOp>(location, lhs, rhs));
}

Value Lowering::lowerOperator(const Expression &expression) {
  const Expression &left = expression.children[0], &right = expression.children[1];
  Value lhs = isTensor(left) ? lower(left) : Value(), rhs = isTensor(right) ? lower(right) : Value();
  switch (expression.kind) {
  case Expression::Kind::Multiply:
    if (lhs && rhs)
      return combine(true, lhs, rhs);
    return lhs ? scaleBy(lhs, getText(right)) : scaleBy(rhs, getText(left));
  case Expression::Kind::Divide: {
    Expression factor;
    factor.kind = Expression::Kind::Divide;
    Expression one;
    one.text = "1";
    one.number = 1;
    factor.children = {one, substitute(right)};
    return scaleBy(lhs, printExpression(factor));
  }
  case Expression::Kind::Subtract:
    if (!rhs)
      return offsetBy(lhs, "-(" + getText(right) + ")");
    rhs = scaleBy(rhs, "-1");
    return lhs ? combine(false, lhs, rhs) : offsetBy(rhs, getText(left));
  default:
    if (lhs && rhs)
      return combine(false, lhs, rhs);
    return lhs ? offsetBy(lhs, getText(right)) : offsetBy(rhs, getText(left));
  }
}

StringAttr Lowering::makeStateName(StringRef name) {
  std::string stem = name.str();
  std::replace(stem.begin(), stem.end(), '.', '_');
  // The second `c` is c2, unless something else is.
  int &count = stateCounts[stem];
  std::string state;
  do {
    state = ++count == 1 ? stem : stem + std::to_string(count);
  } while (!states.insert(state).second);
  return text(state);
}

Value Lowering::lowerBaseProjection(StringRef which, Value x, StringRef heads, StringRef norm) {
  bool repeats = which != "q" && heads == "H";
  std::string rows = heads.str() + " * D", name = which.str();
  Value weight = addBaseWeight(name + "_proj.weight", {rows, "M"}, repeats);
  Value bias = addBaseWeight(name + "_proj.bias", {rows}, repeats, "base.qkv_bias");
  auto project = [&](Value b) -> Value { return builder.create<LinearOp>(location, x, weight, b); };
  Value y = choose("base.qkv_bias", [&] { return project(bias); }, [&] { return project(Value()); });
  auto split = [&] { y = builder.create<MixerSplitOp>(location, getType(4), y, text(heads)); };
  if (which == "v") {
    split();
    return y;
  }
  std::string condition = norm == "1" ? "base.qk_norm" : "base.qk_norm and (" + norm.str() + ") != 0";
  std::string size = "D * (1 + base.qk_norm_wide * (" + heads.str() + " - 1))";
  Value weight_N = addBaseWeight(name + "_norm.weight", {size}, repeats, condition);
  auto normIf = [&](StringRef which) {
    y = choose(
        condition + " and " + which.str(),
        [&]() -> Value {
          Value factor = choose(
              "base.qk_norm_offset != 0", [&] { return offsetBy(weight_N, "base.qk_norm_offset"); },
              [&] { return weight_N; });
          return builder.create<MixerNormOp>(location, y, factor, text("base.qk_norm_eps"));
        },
        [&] { return y; });
  };
  normIf("base.qk_norm_wide");
  split();
  normIf("not base.qk_norm_wide");
  return y;
}

Value Lowering::lowerBaseOutput(Value y) {
  Value weight = addBaseWeight("o_proj.weight", {"M", "H * D"}, /*repeats=*/false);
  Value bias = addBaseWeight("o_proj.bias", {"M"}, /*repeats=*/false, "base.o_bias");
  auto project = [&](Value b) -> Value { return builder.create<LinearOp>(location, y, weight, b); };
  return choose("base.o_bias", [&] { return project(bias); }, [&] { return project(Value()); });
}

Value Lowering::getShiftFilter(const std::string &channels) {
  std::string &name = shiftFilters[channels];
  if (name.empty()) {
    std::string stem = getMadeWeightPrefix("shift").str();
    llvm::copy_if(channels, std::back_inserter(stem), llvm::isAlnum);
    // Other channels may have the same letters and digits, and these may be a word that no weight can have.
    name = stem;
    for (int count = 2; names.count(name) || !findModuleAttribute(name).empty(); ++count)
      name = stem + std::to_string(count);
    // It has two positions, and takes the older one.
    addWeight(name, {channels, "1", "2"}, {"", "", "j"},
              MixerInitAttr::get(builder.getContext(), InitKind::Values, "j == 0"), StringAttr(), /*frozen=*/true);
  }
  return names.at(name).value;
}

Value Lowering::lowerCall(const Expression &expression) {
  const CheckedCall &call = checked.calls.find(&expression)->second;
  StringRef name = call.function->name;
  auto value = [&](StringRef parameter) { return getValue(call, parameter); };
  auto number = [&](StringRef parameter) { return getNumber(call, parameter); };
  // Values are built one after the other: C++ does not say which argument of a call comes first.
  if (name == "recurrence") {
    Value q = value("q"), k = value("k"), v = value("v"), decay = value("decay"), beta = value("beta");
    Value write = value("write"), erase = value("erase"), bonus = value("bonus");
    return builder.create<MixerRecurrenceOp>(location, q, k, v, decay, beta, write, erase, bonus,
                                             makeStateName("state"), number("scale"), number("chunk"),
                                             number("normaliser"));
  }
  if (name == "attention") {
    Value q = value("q"), k = value("k"), v = value("v");
    StringAttr keys = makeStateName("k"), values = makeStateName("v");
    return builder.create<MixerAttentionOp>(location, q, k, v, keys, values, number("scale"), number("window"),
                                            number("softcap"));
  }
  if (name == "attention_distance") {
    Value q = value("q"), k = value("k");
    return builder.create<MixerAttentionDistanceOp>(location, getType(1), q, k, number("scale"), number("window"),
                                                    number("softcap"));
  }
  if (name == "base_o")
    return lowerBaseOutput(value("y"));
  Value x = value("x");
  if (name == "project") {
    Value weight = value("w"), bias = value("bias");
    return builder.create<LinearOp>(location, x, weight, bias);
  }
  if (name.starts_with("base_")) {
    // H or G, whatever it is called where the function is: the weight is that of these.
    std::string heads = name == "base_q" ? "H" : call.sizes.at("N").print();
    return lowerBaseProjection(name.drop_front(5), x, heads,
                               name == "base_v" ? StringRef() : number("norm").getValue());
  }
  if (name == "norm")
    return builder.create<MixerNormOp>(location, x, value("w"), number("eps"));
  if (name == "l2norm")
    return builder.create<MixerL2NormOp>(location, x, number("eps"));
  if (name == "conv") {
    const Expression &w = *call.arguments[findParameter(call, "w")];
    StringRef filter = w.kind == Expression::Kind::Name ? StringRef(w.text) : StringRef("conv");
    (void)filter.consume_back(".weight");
    return lowerConv(x, value("w"), filter);
  }
  if (name == "shift")
    return lowerConv(x, getShiftFilter(call.sizes.at("channels").print()), "shift");
  if (name == "rope")
    return builder.create<MixerRopeOp>(location, x);
  if (name == "split")
    return builder.create<MixerSplitOp>(location, getType(getRank(x) + 1), x, number("heads"));
  if (name == "mean")
    return builder.create<PositionMeanOp>(location, getType(getRank(x) - 2), x);
  if (name == "merge")
    return builder.create<MixerMergeOp>(location, getType(getRank(x) - 1), x);
  if (name == "expand")
    return builder.create<MixerExpandOp>(location, getType(getRank(x) + 1), x, number("width"));
  // An elementwise op of the op table.
  OperationState state(location, MorphDialect::getDialectNamespace().str() + "." + name.str());
  state.addOperands(x);
  state.addTypes(x.getType());
  return builder.create(state)->getResult(0);
}

} // namespace

MixerOp morph::language::lowerMixer(OpBuilder &builder, const CheckedMixer &mixer, const Diagnostics &diagnostics) {
  return Lowering(builder, mixer, diagnostics).lower();
}
