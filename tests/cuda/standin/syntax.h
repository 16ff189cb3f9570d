// PTX as it is written: what the parser makes and the assembler reads.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lexer.h"
#include "types.h"

namespace ptx {

enum class Space : u8 { kNone, kGlobal, kConst, kShared, kLocal, kParameter };

// An element of a variable's initial value: a number, or the address of a variable plus a number.
struct Initial {
  u64 value = 0;
  std::string symbol;
};

struct Declaration {
  Space space = Space::kNone;
  Type type = Type::kNone;
  u32 align = 0;
  u64 count = 1;  // elements; 0: the launch says
  std::string name;
  int registers = -1;  // name<registers>: so many, numbered
  std::vector<Initial> initial;
  int line = 0;
  u64 bytes() const { return count * static_cast<u64>(SizeOf(type)); }
};

struct Operand {
  enum Kind : u8 { kName, kNumber, kAddress, kVector, kSink } kind = kNumber;
  std::string name;  // of an address: its base, or empty
  u64 value = 0;
  i64 offset = 0;        // behind a name
  bool negated = false;  // a predicate
  std::vector<Operand> parts;
};

struct Statement {
  enum Kind : u8 { kOpen, kClose, kLabel, kRegisters, kVariable, kTargets, kInstruction };
  Kind kind = kInstruction;
  bool guard_negated = false;
  bool pair = false;  // the first two operands are written d|p
  int line = 0;       // of the PTX text
  int source = 0;     // file * 2^16 + line
  std::string name;   // of a label or table; an instruction's opcode with its modifiers
  std::string guard;  // a predicate, or empty
  std::string text;
  std::vector<Operand> operands;          // of a table: its labels
  std::vector<Declaration> declarations;  // registers, or one variable
};

// A kernel or a device function.
struct FunctionSyntax {
  std::string name;
  std::vector<Declaration> parameters, results;
  bool has_body = false;
  std::shared_ptr<const std::string> text;
  size_t begin = 0;  // of the body, after its '{'
  int line = 0;
  const std::vector<Statement>& Body();  // parsed once

 private:
  bool is_parsed_ = false;
  std::vector<Statement> body_;
};

struct ModuleSyntax {
  std::map<std::string, FunctionSyntax> functions;  // kernels too
  std::map<std::string, Declaration> variables;     // global and constant
  std::map<std::string, Declaration> shared;        // declared outside of functions
};

// Declarations as they stand in parameter lists, function bodies and modules. `in` is behind the
// space's name; initial values and the ';' are left.
Declaration ParseDeclaration(Lexer& in, Space space);
Space SpaceNamed(std::string_view directive);  // ".shared" and so on; kNone when it is none

}  // namespace ptx
