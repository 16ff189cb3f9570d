#include "tests/unit/tokenizer/golden.h"

#include <zlib.h>

#include <array>
#include <stdexcept>

namespace peerage {

using nlohmann::json;

namespace {

std::string SmolLm2ChatTemplate() {
  return ReadGolden("chat.json.gz")["templates"][0]["template"].get<std::string>();
}

constexpr int kVocabSize = 49152;

}  // namespace

std::string ReadGoldenText(const std::string& name) {
  const std::string path = "tests/golden/tokenizer/" + name;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path);
  std::string text;
  std::array<char, 1 << 16> buffer;
  int length = 0;
  while ((length = gzread(file, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), length);
  }
  gzclose(file);
  if (length < 0) throw std::runtime_error("cannot inflate " + path);
  return text;
}

json ReadGolden(const std::string& name) { return json::parse(ReadGoldenText(name)); }

TokenizerSource SmolLm2FromJson() {
  HuggingFaceTokenizer files;
  files.tokenizer_json = ReadGoldenText("smollm2_tokenizer.json.gz");
  files.chat_template = SmolLm2ChatTemplate();
  files.generation_config_json = R"({"eos_token_id": 2})";
  TokenizerSource source;
  source.hugging_face = std::move(files);
  source.config_bos_id = 1;
  source.vocab_size = kVocabSize;
  return source;
}

TokenizerSource SmolLm2FromGguf() {
  const json file = ReadGolden("smollm2_tokenizer.json.gz");
  GgufTokenizer gguf;
  gguf.model = "gpt2";
  gguf.pre = "smollm";
  gguf.tokens.resize(kVocabSize);
  gguf.token_types.resize(kVocabSize, 1);
  for (const auto& [token, id] : file["model"]["vocab"].items()) gguf.tokens[id.get<int>()] = token;
  for (const json& added : file["added_tokens"]) gguf.token_types[added["id"].get<int>()] = 3;
  for (const json& merge : file["model"]["merges"]) {
    gguf.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  gguf.bos_id = 1;
  gguf.eos_id = 2;
  gguf.unknown_id = 0;
  gguf.add_bos = false;
  gguf.chat_template = SmolLm2ChatTemplate();
  TokenizerSource source;
  source.gguf = std::move(gguf);
  source.vocab_size = kVocabSize;
  return source;
}

}  // namespace peerage
