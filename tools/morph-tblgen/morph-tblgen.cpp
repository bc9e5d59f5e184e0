// SPDX-License-Identifier: Apache-2.0
// morph-tblgen: writes what the runtime has of the op definitions of dialect/*.td: the op table of plans
// (runtime/plan/OpTable.inc) and the references of elementwise ops (runtime/kernels/ElementwiseReferences.inc). And the
// constraints that their descriptions name, for `morph explain`.

#include "mlir/TableGen/Operator.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Regex.h"
#include "llvm/TableGen/Error.h"
#include "llvm/TableGen/Main.h"
#include "llvm/TableGen/Record.h"

using namespace llvm;
using mlir::tblgen::NamedAttribute;
using mlir::tblgen::NamedTypeConstraint;
using mlir::tblgen::Operator;

namespace {

constexpr const char *kHead = "// SPDX-License-Identifier: Apache-2.0\n"
                              "// Made from dialect/*.td by morph-tblgen: `ninja morph-op-table` writes it anew. Kept "
                              "in the repository for builds\n"
                              "// without MLIR; a test compares.\n"
                              "// clang-format off\n";

std::vector<Record *> instructionOps(RecordKeeper &records) {
  return records.getAllDerivedDefinitions("Morph_InstructionOp");
}

/// The `Morph_Elementwise` of an op; null where it has none.
const Record *findElementwise(const Record &op) {
  for (const Record *trait : op.getValueAsListOfDefs("traits"))
    if (trait->isSubClassOf("Morph_Elementwise"))
      return trait;
  return nullptr;
}

std::string quoted(StringRef text) {
  std::string literal;
  raw_string_ostream os(literal);
  os << '"';
  os.write_escaped(text);
  os << '"';
  return literal;
}

/// The constraint of an operand or result without Optional or Variadic around it.
StringRef elementConstraint(const NamedTypeConstraint &value) {
  const Record &definition = value.constraint.getDef();
  return value.isVariableLength() ? definition.getValueAsDef("baseType")->getName() : definition.getName();
}

void emitOperand(const NamedTypeConstraint &operand, const std::vector<StringRef> &factors, raw_ostream &os) {
  StringRef arity = operand.isOptional() ? "Optional" : operand.isVariadic() ? "Variadic" : "One";
  StringRef element = elementConstraint(operand);
  os << "{" << quoted(operand.name) << ", Arity::" << arity;
  for (bool flag : {element == "Morph_Index", element == "Morph_Half", is_contained(factors, operand.name)})
    os << ", " << (flag ? "true" : "false");
  os << "}";
}

void emitAttribute(const NamedAttribute &attribute, const Operator &op, raw_ostream &os) {
  StringRef base = attribute.attr.getBaseAttr().getAttrDefName();
  StringRef kind = StringSwitch<StringRef>(base)
                       .Case("I64Attr", "Integer")
                       .Case("F64Attr", "Real")
                       .Cases("StrAttr", "FlatSymbolRefAttr", "Text")
                       .Case("UnitAttr", "Flag")
                       .Default("");
  if (kind.empty())
    PrintFatalError(op.getLoc(), "attribute '" + attribute.name + "' is a " + base + ", which plans do not have");
  const bool required = kind != "Flag" && !attribute.attr.isOptional();
  os << "{" << quoted(attribute.name) << ", AttributeKind::" << kind << ", " << (required ? "true" : "false") << "}";
}

/// Whether the op has a flag of the name.
bool hasFlag(const Operator &op, StringRef name) {
  return any_of(op.getAttributes(), [&](const NamedAttribute &attribute) {
    return attribute.name == name && attribute.attr.getBaseAttr().getAttrDefName() == "UnitAttr";
  });
}

/// An updated operand is there once or not at all, and its result has its shape.
void checkUpdates(const Operator &op, const std::vector<StringRef> &updates, const std::vector<StringRef> &shapes) {
  const Record &record = op.getDef();
  StringRef name = record.getValueAsString("opName");
  if (updates.empty())
    return;
  if (updates.size() != shapes.size())
    PrintFatalError(op.getLoc(), "op '" + name + "': `updates` names " + Twine(updates.size()) + " operands for " +
                                     Twine(shapes.size()) + " results");
  if (!record.getValueAsString("viewOf").empty() || !record.getValueAsListOfStrings("inPlace").empty())
    PrintFatalError(op.getLoc(), "op '" + name + "' updates operands and has `viewOf` or `inPlace`");
  for (auto [update, shape] : zip_equal(updates, shapes)) {
    const bool isSame =
        any_of(record.getValueAsListOfDefs("rules"), [&, update = update, shape = shape](const Record *r) {
          return r->getValueAsString("ruleKind") == "Shape" && r->getValueAsString("a") == update &&
                 r->getValueAsString("b") == shape;
        });
    const bool isOne = any_of(op.getOperands(), [&, update = update](const NamedTypeConstraint &operand) {
      return operand.name == update && !operand.isVariadic();
    });
    if (!update.empty() && !(isSame && isOne))
      PrintFatalError(op.getLoc(), "op '" + name + "' updates '" + update + "', which is no operand of the shape '" +
                                       shape + "' of its result");
  }
}

/// An operand of a name; null where the op has none.
const NamedTypeConstraint *findOperand(const Operator &op, StringRef name) {
  auto found = find_if(op.getOperands(), [&](const NamedTypeConstraint &operand) { return operand.name == name; });
  return found == op.getOperands().end() ? nullptr : found;
}

/// Refuses a field of the record that names no operand that is there once, or at most once.
void checkSingle(const Operator &op, StringRef field, StringRef name) {
  const NamedTypeConstraint *operand = findOperand(op, name);
  if (!operand || operand->isVariadic())
    PrintFatalError(op.getLoc(), "op '" + op.getDef().getValueAsString("opName") + "': `" + field + "` names '" + name +
                                     "', which is no operand of one value");
}

/// Whether the op has an integer attribute of the name.
bool hasInteger(const Operator &op, StringRef name) {
  return any_of(op.getAttributes(), [&](const NamedAttribute &attribute) {
    return attribute.name == name && attribute.attr.getBaseAttr().getAttrDefName() == "I64Attr";
  });
}

void emitZeroWhere(const Operator &op, raw_ostream &os) {
  os << "{";
  interleaveComma(*op.getDef().getValueAsListInit("zeroWhere"), os, [&](const Init *list) {
    os << "{";
    interleaveComma(*cast<ListInit>(list), os, [&](const Init *name) {
      checkSingle(op, "zeroWhere", cast<StringInit>(name)->getValue());
      os << quoted(cast<StringInit>(name)->getValue());
    });
    os << "}";
  });
  os << "}";
}

void emitShares(const Operator &op, raw_ostream &os) {
  os << "{";
  interleaveComma(op.getDef().getValueAsListOfDefs("shares"), os, [&](const Record *shares) {
    StringRef gate = shares->getValueAsString("gate"), of = shares->getValueAsString("of");
    checkSingle(op, "shares", gate);
    const NamedTypeConstraint *operand = findOperand(op, of);
    if (!(operand && operand->isVariadic()) && !hasInteger(op, of))
      PrintFatalError(op.getLoc(), "op '" + op.getDef().getValueAsString("opName") + "': `shares` are of '" + of +
                                       "', which is neither a variadic operand nor an integer attribute");
    os << "{" << quoted(gate) << ", " << quoted(of) << "}";
  });
  os << "}";
}

void emitRings(const Operator &op, raw_ostream &os) {
  os << "{";
  interleaveComma(op.getDef().getValueAsListOfDefs("rings"), os, [&](const Record *ring) {
    StringRef name = ring->getValueAsString("ring"), offset = ring->getValueAsString("offset"),
              window = ring->getValueAsString("window");
    checkSingle(op, "rings", name);
    checkSingle(op, "rings", offset);
    if (!hasInteger(op, window))
      PrintFatalError(op.getLoc(), "op '" + op.getDef().getValueAsString("opName") + "': `rings` has the window '" +
                                       window + "', which is no integer attribute");
    os << "{" << quoted(name) << ", " << quoted(offset) << ", " << quoted(window) << "}";
  });
  os << "}";
}

void emitFormula(StringRef formula, StringRef sizes, StringRef type, raw_ostream &os) {
  if (formula.trim().empty())
    os << "nullptr";
  else
    os << "[](const " << sizes << " &d) -> " << type << " { return " << formula.trim() << "; }";
}

void emitOp(const Operator &op, raw_ostream &os) {
  const Record &record = op.getDef();
  StringRef name = record.getValueAsString("opName");
  const std::vector<StringRef> factors = record.getValueAsListOfStrings("factors");
  const std::vector<StringRef> shapes = record.getValueAsListOfStrings("resultShapes");
  if (shapes.size() != static_cast<size_t>(op.getNumResults()))
    PrintFatalError(op.getLoc(), "op '" + name + "' has " + Twine(op.getNumResults()) +
                                     " results, but `resultShapes` names " + Twine(shapes.size()));
  for (size_t i = 0; i < shapes.size(); ++i) {
    const StringRef shape = shapes[i];
    const NamedTypeConstraint &result = op.getResult(static_cast<int>(i));
    // Those of one variadic operand, of any number of optional ones, or of flags.
    const bool isVariadic =
        (shape.starts_with("=") && all_of(split(shape.drop_front(), '|'),
                                          [&](StringRef same) {
                                            const NamedTypeConstraint *operand = findOperand(op, same);
                                            return operand && (shape.contains('|') ? operand->isOptional()
                                                                                   : operand->isVariadic());
                                          })) ||
        (shape.starts_with("?") && all_of(split(shape, '|'), [&](StringRef each) {
           return each.consume_front("?") && hasFlag(op, each.split('=').first);
         }));
    if (result.isVariadic() != isVariadic)
      PrintFatalError(op.getLoc(), "op '" + name + "': result '" + result.name + "' has the shape '" + shape +
                                       "'; a variadic one has those of a variadic operand, of optional ones or of "
                                       "flags, and only such a one");
  }
  os << "    [] { return OpRule{" << quoted(name) << ",\n     {";
  interleaveComma(op.getOperands(), os, [&](const NamedTypeConstraint &operand) { emitOperand(operand, factors, os); });
  os << "},\n     {";
  interleaveComma(op.getAttributes(), os, [&](const NamedAttribute &attribute) { emitAttribute(attribute, op, os); });
  os << "},\n     {";
  interleaveComma(llvm::seq<size_t>(0, shapes.size()), os, [&](size_t i) {
    os << "{" << quoted(op.getResult(static_cast<int>(i)).name) << ", " << quoted(shapes[i]) << "}";
  });
  os << "},\n     {";
  interleave(
      record.getValueAsListOfDefs("rules"), os,
      [&](const Record *rule) {
        if (rule->isSubClassOf("AtMostOne") || rule->isSubClassOf("Together"))
          for (StringRef operand : split(rule->getValueAsString("a"), '|'))
            checkSingle(op, "rules", operand);
        os << "{RuleKind::" << rule->getValueAsString("ruleKind");
        for (StringRef field : {"a", "b", "c", "label"})
          os << ", " << quoted(rule->getValueAsString(field));
        os << "}";
      },
      ",\n      ");
  os << "},\n     {";
  interleaveComma(record.getValueAsListOfDefs("indices"), os, [&](const Record *index) {
    os << "{" << quoted(index->getValueAsString("index")) << ", " << quoted(index->getValueAsString("product")) << "}";
  });
  os << "},\n     " << quoted(record.getValueAsString("resultType")) << ", "
     << quoted(record.getValueAsString("viewOf")) << ", {";
  interleaveComma(record.getValueAsListOfStrings("inPlace"), os, [&](StringRef name) { os << quoted(name); });
  os << "}, {";
  const std::vector<StringRef> updates = record.getValueAsListOfStrings("updates");
  checkUpdates(op, updates, shapes);
  interleaveComma(updates, os, [&](StringRef name) { os << quoted(name); });
  os << "}, " << (findElementwise(record) ? "true" : "false") << ", ";
  emitZeroWhere(op, os);
  os << ", ";
  emitShares(op, os);
  os << ", ";
  emitRings(op, os);
  os << ", " << quoted(record.getValueAsString("pyTorch")) << ", "
     << (record.getValueAsBit("mixesTokens") ? "true" : "false") << ",\n     ";
  emitFormula(record.getValueAsString("flops"), "OpSizes<double>", "double", os);
  os << ",\n     ";
  emitFormula(record.getValueAsString("scratch"), "ScratchSizes", "int64_t", os);
  os << "}; },\n";
}

bool emitTable(raw_ostream &os, RecordKeeper &records) {
  os << kHead;
  for (const Record *record : instructionOps(records))
    emitOp(Operator(record), os);
  return false;
}

/// One function object an op, its expressions over numbers or tensors (runtime/kernels/Elementwise.cpp), and its
/// registration. Autograd goes through those that have gradients.
void emitReference(const Record &record, const Record &body, raw_ostream &os) {
  const StringRef op = record.getValueAsString("opName");
  const std::string name = convertToCamelFromSnakeCase(op, /*capitalizeFirst=*/true) + "Elements";
  const std::vector<StringRef> operands = body.getValueAsListOfStrings("operandNames");
  const std::vector<StringRef> expressions = body.getValueAsListOfStrings("expressions");
  os << "struct " << name << " {\n  static constexpr size_t operands = " << operands.size()
     << ", results = " << expressions.size() << ";\n";
  std::string reals, initializers;
  for (StringRef real : body.getValueAsListOfStrings("realNames")) {
    reals += ("  double " + real + ";\n").str();
    initializers += ((initializers.empty() ? " : " : ", ") + real + "(call.number(" + quoted(real) + "))").str();
  }
  os << "  explicit " << name << "(const KernelCall &" << (reals.empty() ? "" : "call") << ")" << initializers
     << " {}\n  template <typename E> std::array<E, results> operator()(";
  interleaveComma(operands, os, [&](StringRef operand) { os << "const E &" << operand; });
  os << ") const {\n";
  if (StringRef before = body.getValueAsString("before"); !before.empty())
    os << "    " << before << "\n";
  os << "    return {{" << join(expressions, ", ") << "}};\n  }\n"
     << reals << "};\n"
     << "const KernelRegistration register" << name << "(" << quoted(op) << ", {runElements<" << name << ">";
  if (record.isSubClassOf("Morph_DifferentiableOp"))
    os << ", recordElements<" << name << ">";
  os << "});\n\n";
}

bool emitReferences(raw_ostream &os, RecordKeeper &records) {
  os << kHead << "\n";
  for (const Record *record : instructionOps(records))
    if (const Record *body = findElementwise(*record))
      emitReference(*record, *body, os);
  return false;
}

/// What follows the word "Constraints:" of a description, up to an empty line: "model_c1 text; model_c2 text."
void emitConstraintsOf(StringRef subject, StringRef description, raw_ostream &os) {
  StringRef text = description.split("Constraints:").second.split("\n\n").first;
  Regex label("[a-z][a-z0-9_]*_c[1-9][0-9]*");
  SmallVector<StringRef, 1> found;
  while (label.match(text, &found)) {
    StringRef rest = text.substr(found[0].data() + found[0].size() - text.data());
    SmallVector<StringRef, 1> next;
    StringRef words = label.match(rest, &next) ? rest.take_front(next[0].data() - rest.data()) : rest;
    SmallVector<StringRef> parts;
    SplitString(words, parts, " \n");
    os << "{" << quoted(found[0]) << ", " << quoted(subject) << ", " << quoted(StringRef(join(parts, " ")).rtrim(";."))
       << "},\n";
    text = rest;
  }
}

bool emitConstraints(raw_ostream &os, RecordKeeper &records) {
  os << "// Made from dialect/*.td by morph-tblgen: label, subject, text.\n";
  for (const auto &[name, record] : records.getDefs()) {
    const RecordVal *description = record->getValue("description");
    const bool isOp = record->isSubClassOf("Op"), isAttribute = record->isSubClassOf("AttrDef");
    if (description && (isOp || isAttribute))
      emitConstraintsOf(("morph." + record->getValueAsString(isOp ? "opName" : "mnemonic")).str(),
                        record->getValueAsString("description"), os);
  }
  return false;
}

} // namespace

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  cl::opt<bool> references("elementwise-references", cl::desc("Write the references of elementwise ops instead"));
  cl::opt<bool> constraints("constraints", cl::desc("Write the labels of ops' and attributes' constraints instead"));
  cl::ParseCommandLineOptions(argc, argv, "The op table of plans from the definitions of the dialect's ops\n");
  return TableGenMain(argv[0], references ? &emitReferences : constraints ? &emitConstraints : &emitTable);
}
