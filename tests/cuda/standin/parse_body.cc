// Statements of a function's body.
#include <cctype>
#include <utility>

#include "syntax.h"

namespace ptx {
namespace {

class BodyParser {
 public:
  explicit BodyParser(Lexer in) : in_(in) {}

  std::vector<Statement> Run() {
    for (int depth = 1; depth > 0;) {
      statement_ = {};
      const std::string_view word = in_.Next();
      statement_.line = in_.line();
      statement_.source = source_;
      if (word.empty()) in_.Fail("unexpected end");
      depth += word == "{" ? 1 : word == "}" ? -1 : 0;
      if (One(word)) body_.push_back(std::move(statement_));
    }
    return std::move(body_);
  }

 private:
  // Whether there is a statement.
  bool One(std::string_view word) {
    if (word == ";") return false;
    if (word == "{" || word == "}") {
      statement_.kind = word == "{" ? Statement::kOpen : Statement::kClose;
    } else if (word[0] == '.') {
      return Directive(word);
    } else if (word != "@" && in_.Peek() == ":") {
      Label(word);
    } else {
      Instruction(word);
    }
    return true;
  }

  bool Directive(std::string_view word) {
    if (word == ".loc") {
      const int file = static_cast<int>(in_.Number());
      source_ = file << 16 | static_cast<int>(in_.Number());
      in_.SkipPast('\n');
      return false;
    }
    if (word == ".pragma") {
      in_.SkipPast(';');
      return false;
    }
    if (word == ".reg") {
      Registers();
      return true;
    }
    const Space space = SpaceNamed(word);
    if (space == Space::kNone) in_.Fail("unknown directive " + std::string(word));
    statement_.kind = Statement::kVariable;
    statement_.declarations = {ParseDeclaration(in_, space)};
    in_.Expect(";");
    return true;
  }

  void Registers() {
    statement_.kind = Statement::kRegisters;
    const std::string_view type = in_.Next();
    Declaration d;
    d.type = TypeNamed(type.substr(1));
    if (d.type == Type::kNone) in_.Fail("register type " + std::string(type));
    do {
      d.name = in_.Next();
      d.registers = -1;
      if (in_.Take("<")) {
        d.registers = static_cast<int>(in_.Number());
        in_.Expect(">");
      }
      statement_.declarations.push_back(d);
    } while (in_.Take(","));
    in_.Expect(";");
  }

  void Label(std::string_view word) {
    in_.Expect(":");
    statement_.kind = Statement::kLabel;
    statement_.name = word;
    if (!in_.Take(".branchtargets")) return;
    statement_.kind = Statement::kTargets;
    do statement_.operands.push_back(ParseOperand());
    while (in_.Take(","));
    in_.Expect(";");
  }

  void Instruction(std::string_view word) {
    const size_t begin = in_.at() - word.size();
    if (word == "@") {
      statement_.guard_negated = in_.Take("!");
      statement_.guard = in_.Next();
      word = in_.Next();
    }
    statement_.name = word;
    while (!in_.Take(";")) {
      if (!statement_.operands.empty() && !statement_.pair && in_.Take("|")) {
        statement_.pair = true;
      } else if (!statement_.operands.empty()) {
        in_.Expect(",");
      }
      statement_.operands.push_back(ParseOperand());
    }
    statement_.text = in_.Slice(begin);
  }

  Operand ParseOperand() {
    Operand o;
    if (in_.Take("{")) return List("}");
    if (in_.Take("(")) return List(")");
    if (in_.Take("[")) return Address();
    if (in_.Take("!")) {
      o = ParseOperand();
      o.negated = true;
      return o;
    }
    if (in_.Take("_")) {
      o.kind = Operand::kSink;
      return o;
    }
    if (IsNumber(in_.Peek())) {
      o.value = in_.Number();
      return o;
    }
    o.kind = Operand::kName;
    o.name = in_.Next();
    if (in_.Peek() == "+") o.offset = Offset();
    return o;
  }

  static bool IsNumber(std::string_view word) {
    return word == "-" || (!word.empty() && std::isdigit(static_cast<u8>(word[0])) != 0);
  }

  Operand List(std::string_view end) {
    Operand o;
    o.kind = Operand::kVector;
    if (in_.Take(end)) return o;
    do o.parts.push_back(ParseOperand());
    while (in_.Take(","));
    in_.Expect(end);
    return o;
  }

  Operand Address() {
    Operand o;
    o.kind = Operand::kAddress;
    if (IsNumber(in_.Peek())) {
      o.value = in_.Number();
    } else {
      o.name = in_.Next();
    }
    o.offset = Offset();
    in_.Expect("]");
    return o;
  }

  i64 Offset() {
    i64 offset = 0;
    for (;;) {
      if (in_.Take("+")) {
        offset += static_cast<i64>(in_.Number());
      } else if (in_.Take("-")) {
        offset -= static_cast<i64>(in_.Number());
      } else {
        return offset;
      }
    }
  }

  Lexer in_;
  int source_ = 0;
  Statement statement_;
  std::vector<Statement> body_;
};

}  // namespace

const std::vector<Statement>& FunctionSyntax::Body() {
  if (!is_parsed_) body_ = BodyParser(Lexer(*text, begin, line)).Run();
  is_parsed_ = true;
  return body_;
}

Space SpaceNamed(std::string_view directive) {
  return directive == ".global"   ? Space::kGlobal
         : directive == ".const"  ? Space::kConst
         : directive == ".shared" ? Space::kShared
         : directive == ".local"  ? Space::kLocal
         : directive == ".param"  ? Space::kParameter
                                  : Space::kNone;
}

Declaration ParseDeclaration(Lexer& in, Space space) {
  Declaration d;
  d.space = space;
  d.line = in.line();
  for (;;) {
    const std::string_view word = in.Next();
    if (word == ".align") {
      d.align = static_cast<u32>(in.Number());
    } else if (word == ".ptr" || word == ".global" || word == ".const" || word == ".shared") {
      continue;  // what a pointer points to
    } else if (!word.empty() && word[0] == '.') {
      d.type = TypeNamed(word.substr(1));
      if (d.type == Type::kNone) in.Fail("a declaration with " + std::string(word));
    } else {
      d.name = word;
      break;
    }
  }
  if (d.type == Type::kNone) in.Fail("a declaration without a type: " + d.name);
  while (in.Take("[")) {
    const bool open = in.Take("]");
    d.count *= open ? 0 : in.Number();
    if (!open) in.Expect("]");
  }
  if (d.align == 0) d.align = static_cast<u32>(SizeOf(d.type));
  return d;
}

}  // namespace ptx
