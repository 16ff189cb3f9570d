#include "model/tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "model/tokenizer/jinja.h"

namespace peerage {
namespace {

const std::string kTurns =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}"
    "{% endfor %}";
const std::string kPrompt = "{{ '<|im_start|>assistant\\n' }}";

const std::vector<ChatTurn> kConversation = {{"user", "x"}, {"user", "y"}};

TEST(ChatTemplateTest, FindsTheDefaultSystemMessage) {
  const std::string with_default =
      "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe \"kind\".<|im_end|>\\n' }}"
      "{% endif %}" +
      kTurns + kPrompt;

  EXPECT_EQ(RecogniseChatMl(with_default)->default_system, "Be \"kind\".");
  EXPECT_EQ(RecogniseChatMl(kTurns + kPrompt)->default_system, std::nullopt);
}

TEST(ChatTemplateTest, ADefaultThatIsNotOneSystemMessageIsNotUnderstood) {
  for (const std::string before :
       {"{{ '<|im_start|>system\\nA<|im_end|>\\n<|im_start|>user\\nB<|im_end|>\\n' }}",
        "{{ 'Hi' }}", "<|im_start|>system\nalways<|im_end|>\n"}) {
    EXPECT_FALSE(RecogniseChatMl(before + kTurns + kPrompt).ok()) << before;
  }
}

// Contents are not known when a template is recognised, so it may not depend on them.
TEST(ChatTemplateTest, ATemplateMayNotLookIntoContents) {
  for (const char* expression : {"m.content", "m.content == 'x'", "m.content + 'x' == 'y'",
                                 "'x' in m.content", "m.content | trim", "m.content.strip()",
                                 "not m.content", "m.content[0] == 'x'", "m.content in ['a']"}) {
    const std::string looking =
        "{% for m in messages %}{% if " + std::string(expression) + " %}{% endif %}{% endfor %}";
    EXPECT_EQ(RenderJinja(looking, kConversation).status().code(), absl::StatusCode::kUnimplemented)
        << expression;
  }
}

TEST(ChatTemplateTest, OnlyBranchesThatAreTakenNeedBeSupported) {
  EXPECT_EQ(*RenderJinja("{% if tools %}{{ tools | tojson(indent=4) }}{% endif %}x", {}), "x");
  EXPECT_EQ(*RenderJinja("{% if false and f(1)[2].x %}a{% elif true or g() %}b{% endif %}", {}),
            "b");
}

// `first`, then `again` many times.
std::string Repeat(std::string first, const std::string& again) {
  for (int i = 0; i < 50'000; ++i) first += again;
  return first;
}

TEST(ChatTemplateTest, HostileTemplatesEndWithAnError) {
  std::string deep_loops;
  for (int i = 0; i < 60; ++i) deep_loops += "{% for m in messages %}";
  const std::string hostile[] = {
      "{{ " + std::string(100'000, '('),
      "{% if " + std::string(100'000, '['),
      deep_loops,
      [] {
        std::string ifs;
        for (int i = 0; i < 1000; ++i) ifs += "{% if true %}";
        return ifs;
      }(),
      "{% for",
      "{{ 'a",
      "{{ 99999999999999999999 }}",
      "{{ }}",
      "{% endfor %}",
      "{% if true %}",
      "{# open",
      "{{ messages }}",
      "{{ messages[0:1] }}",
      "{% for m in messages[0-1:] %}{% endfor %}",
      "{% if 0 - 9223372036854775807 - 2 %}{% endif %}",
      Repeat("{% set a = [] %}", "{% set a = [a] %}"),
      Repeat("{% set a = 'ab' %}", "{% set a = a + a %}"),
      Repeat("{% set a = '" + std::string(100'000, 'x') + "' %}", "{{ a }}"),
      "{{ 'a' if true else 'b' }}",
      "{{ '\\x41' }}",
      "{% macro f() %}{% endmacro %}",
      std::string(2 << 20, 'x'),
  };
  for (const std::string& text : hostile) {
    EXPECT_FALSE(RenderJinja(text, kConversation).ok()) << text.substr(0, 60);
  }
}

}  // namespace
}  // namespace peerage
