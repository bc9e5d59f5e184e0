// SPDX-License-Identifier: Apache-2.0
// Writes one function of a module as C. What an instruction does is in the files of its kind: WriteArithmetic.cpp,
// WriteMemory.cpp (moves too), WriteControl.cpp (what threads do together too).

#ifndef MORPH_TEST_CUDA_DRIVER_FUNCTIONWRITER_H
#define MORPH_TEST_CUDA_DRIVER_FUNCTIONWRITER_H

#include "test/cuda/driver/Translate.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace morph::standin {

inline std::string number(uint64_t value) { return std::to_string(value); }

/// An unsigned literal of C.
std::string hexadecimal(uint64_t value, unsigned bits);

/// An elementary type by its name.
struct Type {
  std::string name;
  unsigned bits() const { return 8 * typeBytes(name); }
  bool isPredicate() const { return name == "pred"; }
  bool isSingle() const { return name == "f32"; }
  bool isDouble() const { return name == "f64"; }
  bool isHalf() const { return name == "f16" || name == "bf16"; }
  bool isPacked() const { return name == "f16x2" || name == "bf16x2"; }
  bool isFloat() const { return isSingle() || isDouble() || isHalf(); }
  bool isSigned() const { return name[0] == 's'; }
  bool isInteger() const { return name[0] == 's' || name[0] == 'u' || (name[0] == 'b' && name[1] != 'f'); }
  /// The C type of its values; halves are their bits.
  std::string c() const {
    return isPredicate() ? "u8" : isSingle() || isDouble() ? name : (isSigned() ? "s" : "u") + number(bits());
  }
};

inline uint64_t alignUp(uint64_t value, uint64_t align) { return (value + align - 1) / align * align; }

/// What a function needs, its callees included.
struct Needs {
  std::set<std::string> callees;
  std::set<size_t> shared;
  bool fibers = false, globalAtomics = false;
  uint64_t localEnd = 0; ///< Of its frame in local memory.
};

/// What is known of the whole module while functions are written.
struct ModuleContext {
  const Module &module;
  Translation &result;
  std::map<std::string, size_t> globals;       ///< Variables of global and constant memory: place in the table.
  std::map<std::string, size_t> sharedIndices; ///< Shared variables of the module and of functions ("function/name").
  std::vector<const Variable *> shared;
  std::map<std::string, const Function *> functions;
  std::map<std::string, size_t> functionIndices;
};

/// Writes one function. The first error is kept.
class FunctionWriter {
public:
  FunctionWriter(ModuleContext &context, const Function &function, size_t index, uint64_t localBegin)
      : context(context), function(function), index(index) {
    needs.localEnd = localBegin;
  }

  Status run();
  std::string signature() const;

  std::string text;
  Needs needs;

private:
  // --- Errors -------------------------------------------------------------------------------------------------------
  void failed(int line, const std::string &what);
  void unknown(const std::string &what);
  /// Every part of the opcode must be the first, a type, or one of these.
  void allow(std::initializer_list<std::string_view> parts);
  bool count(size_t least, size_t most = 0);

  // --- Operands -----------------------------------------------------------------------------------------------------
  const Operand &operand(size_t i) const;
  Type registerType(int reg) const { return {function.registers[size_t(reg)].type}; }
  /// The address of a name, an integer expression.
  std::string symbol(const Operand &operand);
  std::string sharedSymbol(size_t place);
  std::string special(const Operand &operand);
  /// The bits of an operand as an unsigned integer expression.
  std::string raw(const Operand &operand);
  /// The value of an operand as a C expression of `type`: halves as floats.
  std::string value(const Operand &operand, const Type &type);
  std::string value(size_t i, const Type &type) { return value(operand(i), type); }
  /// Assigns an expression of `type` (halves: floats, where `isHalfValue`) to a register.
  void assign(const Operand &to, const Type &type, std::string expression, bool isHalfValue = false);
  void assign(size_t i, const Type &type, const std::string &expression, bool isHalfValue = false);
  /// Assigns to the results `d|p`, of which the second, a predicate, may be missing.
  void assignPair(const Type &type, const std::string &expression, const std::string &predicate);
  std::string address(const Operand &operand);
  std::vector<Operand> items(const Operand &operand) const;

  // --- Instructions -------------------------------------------------------------------------------------------------
  void enterBlock();
  std::string siteText() const { return number(context.result.instructions.size() - 1); }
  InstructionInfo &info() { return context.result.instructions.back(); }
  void write(const Instruction &instruction);
  void kind(InstructionClass kind) { info().kind = kind; }
  bool has(std::string_view part) const { return now->has(part); }
  /// The type of the operands; where there is none, an error.
  Type type();
  /// -1 rm, 1 rp, 0 rz; 2: to nearest.
  int rounding() const { return has("rm") ? -1 : has("rp") ? 1 : has("rz") ? 0 : 2; }
  std::string finished(const Type &type, std::string text);

  // --- WriteMemory.cpp ----------------------------------------------------------------------------------------------
  void writeMove();
  /// The macro of a space, and the class of the instruction.
  std::string spaceMacro();
  unsigned lanes() const { return has("v2") ? 2 : has("v4") ? 4 : 1; }
  std::string access(const std::string &macro, const Operand &where, unsigned bytes, const char *how);
  void writeLoad();
  void writeStore();
  void writeAddress();
  void writeIsSpace();
  void writeCopy();
  void writeAtomic();

  // --- WriteArithmetic.cpp ------------------------------------------------------------------------------------------
  void writeConvert();
  /// An operation on both halves of packed operands.
  void writePacked(const Type &packed, const std::function<std::string(const std::vector<std::string> &)> &operation);
  void writeArithmetic();
  /// Sums and products with the carry flag.
  void writeCarry();
  void writeShort();
  void writeDivide();
  void writeMinMax();
  void writeUnary();
  void writeLogic();
  void writeLogic3();
  void writeShift();
  void writeFunnel();
  void writeCompare();
  void writeSelect();
  void writeSpecial();
  void writeSign();
  void writeTest();
  void writeBits();

  // --- WriteControl.cpp ---------------------------------------------------------------------------------------------
  std::string labelText(const std::string &name);
  void writeBranch();
  void writeCall();
  void writeEnd();
  void writeBarrier();
  void writeFence();
  void writeShuffle();
  void writeVote();
  void writeMma();
  void writeLoadMatrix();

  ModuleContext &context;
  const Function &function;
  size_t index;
  Status status;
  const Instruction *now = nullptr;
  std::vector<Type> types;
  bool endsBlock = false;
  std::string out;
  std::map<std::string, size_t> labels;
  std::map<std::string, std::vector<std::string>> tables;
  std::map<std::string, std::string> parameters; ///< Name to the C expression of its first byte.
  std::map<std::string, uint64_t> locals;        ///< Name to its place in the thread's local memory.
};

} // namespace morph::standin

#endif // MORPH_TEST_CUDA_DRIVER_FUNCTIONWRITER_H
