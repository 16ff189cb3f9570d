// The table of config.json's keys in docs/model_format.md says what the code does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "model/checkpoint/config/parse_model_config.h"

namespace peerage {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::UnorderedElementsAreArray;

std::string ReadText(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A config that says every key, and none as it is by default.
json FullConfig() {
  return json::parse(R"({
    "architectures": ["PeerageForCausalLM"], "model_type": "peerage", "format_version": 1,
    "vocab_size": 99, "hidden_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10,
    "intermediate_size": 70, "hidden_act": "relu", "norm_type": "layernorm", "norm_eps": 1e-3,
    "rope_theta": 777.0, "rope_interleaved": true, "max_position_embeddings": 31,
    "tie_word_embeddings": true, "parallel_block": true, "bos_token_id": 3, "eos_token_id": [4],
    "attention": {"kind": "mixture", "num_experts": 2, "kv": "shared", "routing": "soft"},
    "ffn": [{"kind": "dense", "intermediate_size": 13}],
    "layers": {"1": {"attention": {"kind": "dense"}}}})");
}

// The table's rows: a key, and what stands for it.
std::map<std::string, std::string> DocumentedKeys() {
  const std::string document = ReadText("docs/model_format.md");
  const size_t begin = document.find("### Every key at the top");
  const std::string section = document.substr(begin, document.find("\n### ", begin + 1) - begin);
  const std::regex row(R"(\| `(\w+)` \| (required|`[^`]+`) \|)");
  std::map<std::string, std::string> keys;
  for (std::sregex_iterator match(section.begin(), section.end(), row), end; match != end;
       ++match) {
    std::string text = (*match)[2];
    if (text != "required") text = text.substr(1, text.size() - 2);
    EXPECT_TRUE(keys.emplace((*match)[1], text).second) << "twice: " << (*match)[1];
  }
  return keys;
}

// What a cell of the table stands for in a config: JSON, another key, or one divided by another.
json ValueOf(const std::string& text, const json& config) {
  std::smatch parts;
  if (std::regex_match(text, parts, std::regex(R"((\w+) / (\w+))"))) {
    return config.at(parts[1]).get<int>() / config.at(parts[2]).get<int>();
  }
  return config.contains(text) ? config.at(text) : json::parse(text);
}

TEST(DocumentedKeysTest, AreAllThatTheCodeReads) {
  std::set<std::string> read;
  for (const char* name : {"common_config", "parse_model_config", "peerage_config"}) {
    const std::string source = ReadText(std::string("model/checkpoint/config/") + name + ".cc");
    const std::regex call(R"(\bconfig(?:\.\w+\(|, )\s*"(\w+)\")");
    for (std::sregex_iterator match(source.begin(), source.end(), call), end; match != end;
         ++match) {
      read.insert((*match)[1]);
    }
  }
  std::set<std::string> documented, full;
  for (const auto& [key, text] : DocumentedKeys()) documented.insert(key);
  const json config = FullConfig();
  for (const auto& [key, value] : config.items()) full.insert(key);
  EXPECT_THAT(documented, IsSupersetOf(read));
  EXPECT_THAT(documented, UnorderedElementsAreArray(full));
}

// What a model computes, whether or not its config says so itself.
absl::StatusOr<ModelConfig> Parse(const json& config) {
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(config.dump());
  if (parsed.ok()) parsed->defaults.clear();
  return parsed;
}

TEST(DocumentedKeysTest, AreRequiredOrHaveTheDefaultThatTheTableSays) {
  const json full = FullConfig();
  ASSERT_TRUE(Parse(full).ok()) << Parse(full).status();
  for (const auto& [key, text] : DocumentedKeys()) {
    json without = full;
    without.erase(key);
    const auto config = Parse(without);
    if (text == "required") {
      EXPECT_THAT(config.status().message(), HasSubstr(key + " is missing"));
      continue;
    }
    ASSERT_TRUE(config.ok()) << key << ": " << config.status();
    json with = full;
    with[key] = ValueOf(text, full);
    EXPECT_EQ(*config, *Parse(with)) << key << " is not " << text;
    const bool is_constant = key == "architectures";
    EXPECT_EQ(*config == *Parse(full), is_constant) << key << " says nothing";
  }
}

}  // namespace
}  // namespace peerage
