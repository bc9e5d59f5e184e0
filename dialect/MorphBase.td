// SPDX-License-Identifier: Apache-2.0
// The `morph` dialect record and the base classes that its ops, attributes and types share.

#ifndef MORPH_BASE_TD
#define MORPH_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Morph_Dialect : Dialect {
  let name = "morph";
  let cppNamespace = "::morph";
  let summary = "Models that turn from full attention into hybrids with linear attention";
  let description = [{
    A `morph.model` is a symbol table of weights, gates and functions over builtin tensors. It passes through the
    phases *base* (every token mixer is full attention), *paired* (every mixer is a choice between candidates),
    *relaxed* (choices are blends weighted by gates) and *hybrid* (one mixer a layer is left). Programs (`morph.program`:
    `align`, `gates`, `distill`, ...) are made from the model's functions by passes and are what the runtime executes.

    Activations are f32 whatever the checkpoint's dtype until morph-assign-precision says which values are bf16. Batch,
    sequence and row dimensions are dynamic.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let extraClassDeclaration = "void registerMorphAttributes();";
}

class Morph_Op<string mnemonic, list<Trait> traits = []> : Op<Morph_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// The table of ops
//===----------------------------------------------------------------------===//

// What an op says of itself beyond types and attributes. The compiler infers types by it, programs get the names of
// their dimensions by it, and tools/morph-tblgen writes it into runtime/plan/OpTable.inc, by which plans are checked and
// their costs counted. Rules are read in order, by runtime/plan/InferShapes.cpp.
//
// A pattern has a letter a dimension, and a letter one size in the whole op. A leading '*' stands for any number of
// further dimensions, a trailing '~' too; '1' is a dimension of one element; "=x" is the shape of operand x, "=x|y" of a
// variadic result those of the optional operands x and y that are present; "?x=P|?y=Q" of a variadic result P where the
// flag x is present, then Q where y is. Letters:
// B batch, T positions, S cached positions, N rows, whose sizes may be names until a program runs; all
// others are numbers in a program: C channels, H heads, G key-value heads or elements of a gate, D head dimension, K and
// V key and value dimension, V also vocabulary, I and O inputs and outputs, W taps or columns of a state.
//
// A term is a letter, a number, an attribute's name, "#x", the number of values of the variadic operand x, or "?x", one
// where the attribute x is present and else zero.
// The label is that of the constraint, see below; it is empty where the op's types say the same.
class Rule<string kind, string first, string second, string third, string label_> {
  string ruleKind = kind;
  string a = first;
  string b = second;
  string c = third;
  string label = label_;
}
/// The operand has a shape of the pattern, where it is present.
class HasShape<string operand, string pattern, string label> : Rule<"Shape", operand, pattern, "", label>;
/// The letter is a term, or two with + - * / or // between them; a quotient by / must be whole, one by // is rounded up,
/// and of a size by name a size by name, too: "T/64". The size is in the limits.
class Size<string letter, string value, string label> : Rule<"Size", letter, value, "", label>;
/// The first letter divides the second.
class Divides<string divisor, string dividend, string label> : Rule<"Divides", divisor, dividend, "", label>;
/// The first letter is at most the second; sizes by name are compared when inputs give them (runtime/exec/Bindings.cpp).
class AtMost<string letter, string most, string label> : Rule<"AtMost", letter, most, "", label>;
/// A letter or an attribute is from one term to another; an absent attribute is.
class Range<string what, string low, string high, string label> : Rule<"Range", what, low, high, label>;
/// The attribute is a positive finite number, where it is present.
class Positive<string attribute, string label> : Rule<"Positive", attribute, "", "", label>;
/// The attribute is a finite number, from the first to less than the second; `below` is empty where any is small enough.
class Real<string attribute, string low, string below, string label> : Rule<"Real", attribute, low, below, label>;
/// The attribute is one of these words, with bars between them.
class OneOf<string attribute, string words, string label> : Rule<"OneOf", attribute, words, "", label>;
/// Of these optional operands, with bars between them, one is present at most.
class AtMostOne<string operands, string label> : Rule<"AtMostOne", operands, "", "", label>;
/// Of these optional operands, with bars between them, all are present or none.
class Together<string operands, string label> : Rule<"Together", operands, "", "", label>;
/// The shape of the first operand ends the shape of the second.
class Trailing<string operand, string whole, string label> : Rule<"Trailing", operand, whole, "", label>;
/// '~' are the last dimensions of the operand, as many as the attribute says.
class Last<string operand, string attribute, string label> : Rule<"Last", operand, attribute, "", label>;
/// The attribute names a rope table of the model of at most half as many frequencies as the letter says.
class Table<string attribute, string letter, string label> : Rule<"Table", attribute, letter, "", label>;

/// Values of an index operand are from 0 to less than the product of these letters; without one, below 2^31.
class Below<string operand, string letters> {
  string index = operand;
  string product = letters;
}

/// Operand `gate` [N-1] holds shares of N candidates, the last one's what is left of one. `of` says which of them count
/// here: a variadic operand, whose value i has share i, or an integer attribute, the number of the share by which all
/// results are multiplied.
class Shares<string gate_, string of_> {
  string gate = gate_;
  string of = of_;
}

/// Where the operand `offset` is there, the operand `ring` [B,S,...] is a ring of positions (cache_write), of which the op
/// reads the last `window`, an attribute; where that is absent, all.
class Ring<string ring_, string offset_, string window_> {
  string ring = ring_;
  string offset = offset_;
  string window = window_;
}

// The largest sizes, as runtime/plan/SizeLimits.h has them.
defvar kDimension = "kDimension";
defvar kChunk = "kChunk";

// MLIR's InferTypeOpAdaptor, by the table.
def Morph_InferTypes : TraitList<[
  DeclareOpInterfaceMethods<InferTypeOpInterface>,
  NativeOpTrait<"InferTypeOpAdaptor", [], [{}], [{
    ::llvm::LogicalResult $cppClass::inferReturnTypes(::mlir::MLIRContext *context,
        std::optional<::mlir::Location> location, ::mlir::ValueRange operands, ::mlir::DictionaryAttr attributes,
        ::mlir::OpaqueProperties properties, ::mlir::RegionRange regions,
        ::llvm::SmallVectorImpl<::mlir::Type> &inferredReturnTypes) {
      return ::morph::inferTypes<$cppClass>(context, location, operands, attributes, properties, regions,
                                            inferredReturnTypes);
    }
  }]>
]>;

// An op that a plan has as an instruction.
class Morph_InstructionOp<string mnemonic, list<Trait> traits = []>
    : Morph_Op<mnemonic, !listconcat([Pure, Morph_InferTypes], traits)> {
  list<Rule> rules = [];
  // A pattern a result; a variadic one has "=x" of a variadic operand x, "=x|y" of optional ones or "?x=P" of flags.
  list<string> resultShapes = [];
  list<Below> indices = [];
  // The element type of the results: f32, or that which an attribute names; of one in an operand's memory, the operand's.
  string resultType = "f32";
  // Of an elementwise op of one operand: what it is in PyTorch, {} being the operand. Exports of mixers that use an op
  // without are refused (passes/pytorch).
  string pyTorch = "";
  // Operands that are factors of a matrix product, which morph-assign-precision rounds. An op with two of them, each with
  // the pattern of a matrix like the result, is their product (matrixProduct in runtime/plan/OpSizes.h).
  list<string> factors = [];
  // The operand that the result is a view of.
  string viewOf = "";
  // Operands whose memory the first result may take where they end here: element i of the result needs of them none but
  // element i, or none but its row once the row's sums are taken.
  list<string> inPlace = [];
  // One a result, or none at all: the operand that the result is after the op, written into the operand's own memory
  // where it is present; "" for a result of its own. An alias that must be, where `inPlace` is one that may be: values
  // have their meaning all the same, because nobody reads the old one afterwards (program_c7, program_c8).
  list<string> updates = [];
  // Lists of operands: where all of one list are zero, so are all results. An op without one may make anything of zeros.
  list<list<string>> zeroWhere = [];
  // A candidate whose share is zero is left out, and what is multiplied by its share is zero (runtime/plan/Demand.h).
  list<Shares> shares = [];
  list<Ring> rings = [];
  // Whether positions see each other by it: what benchmarks compare, each with its gradient `<op>_grad`.
  bit mixesTokens = 0;
  // C++ expressions over `d` (runtime/plan/OpSizes.h): sizes d('B') of letters of operands' patterns, the product of the
  // dimensions of '*' d.rows(), attributes d.integer("window", default). A formula that nobody knows does not compile.
  // Floating-point operations, as double. Empty: some for each element.
  string flops = "";
  // Bytes of scratch that its kernel takes, as int64_t; d knows the run as well, and there are formulas to call
  // (runtime/plan/Scratch.h, runtime/plan/Workspace.h). Empty: none.
  string scratch = "";
}

class Morph_Attr<string name, string attrMnemonic, list<Trait> traits = []> : AttrDef<Morph_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

// Constraints that a type or an attribute cannot say have a label, `<op>_c<n>`: it is written in the op's description,
// at the rule or the code that reports it and in the test that breaks it (test/dialect/labels.py checks the three).
def Morph_Float : RankedTensorOf<[F32]>;
// Where bf16 will do, too: factors of products, tables.
def Morph_Half : RankedTensorOf<[F32, BF16]>;
def Morph_Index : RankedTensorOf<[I64]>;

#endif // MORPH_BASE_TD
