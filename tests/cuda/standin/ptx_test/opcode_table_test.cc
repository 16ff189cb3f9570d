// Every opcode that the interpreter knows is in the text of some test beside this one.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "encoder.h"

namespace ptx {
namespace {

// Texts of the tests that run instructions. What is refused does not count.
std::string TextsOfTests() {
  std::string texts;
  for (const auto& entry : std::filesystem::directory_iterator("tests/cuda/standin/ptx_test")) {
    const std::string name = entry.path().filename();
    if (!name.ends_with("_test.cc") || name == "refusals_test.cc") continue;
    std::ifstream file(entry.path());
    texts.append(std::istreambuf_iterator<char>(file), {});
  }
  // The end of a line within a literal is not a part of the word behind it.
  for (size_t at = 0; (at = texts.find("\\n", at)) != std::string::npos;)
    texts.replace(at, 2, "\n");
  return texts;
}

bool IsInAWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// As an instruction: with modifiers or operands, or alone; or as a name that a test completes.
bool IsUsed(const std::string& texts, std::string_view opcode) {
  for (size_t at = texts.find(opcode); at != std::string::npos; at = texts.find(opcode, at + 1)) {
    const char before = at == 0 ? '\n' : texts[at - 1];
    if (IsInAWord(before) || before == '.' || before == '%' || before == '$') continue;
    const std::string_view behind = std::string_view(texts).substr(at + opcode.size(), 2);
    if (behind.size() < 2) continue;
    const bool has_modifiers = behind[0] == '.' && (IsInAWord(behind[1]) || behind[1] == '"');
    const bool is_whole_literal = before == '"' && behind[0] == '"';
    if (has_modifiers || is_whole_literal || behind[0] == ';' || behind == " %" || behind == " $") {
      return true;
    }
  }
  return false;
}

TEST(OpcodeTableTest, EveryOpcodeIsInATest) {
  const std::string texts = TextsOfTests();
  ASSERT_NE(texts, "") << "the tests run in the root of the sources";
  for (const auto family :
       {IntegerOpcodes(), BitOpcodes(), FloatOpcodes(), CompareOpcodes(), ConvertOpcodes(),
        MoveOpcodes(), MemoryOpcodes(), ControlOpcodes(), WarpOpcodes(), MatrixOpcodes()}) {
    ASSERT_FALSE(family.empty());
    for (const Opcode& opcode : family) {
      EXPECT_TRUE(IsUsed(texts, opcode.name)) << opcode.name << " is in no test of ptx_test";
    }
  }
  EXPECT_FALSE(IsUsed(texts, std::string("brk") + "pt"));
}

}  // namespace
}  // namespace ptx
