#include "model/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/pattern_bytes.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;

std::string ReadTensor(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return "no such tensor";
  std::string bytes(tensor->bytes, '\0');
  const absl::Status status = checkpoint.Read(
      *tensor, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  return status.ok() ? bytes : std::string(status.message());
}

std::string OpenError(const std::string& path) {
  return std::string(OpenCheckpoint(path).status().message());
}

class ModelDirectoryTest : public ::testing::Test {
 protected:
  ModelDirectoryTest() {
    directory_.Write("config.json", kSmallLlamaConfig);
    directory_.Write("model.safetensors", SafetensorsOf(SmallLlamaTensors()));
    directory_.Write("tokenizer.json", "{}");
  }

  std::unique_ptr<Checkpoint> Open() const {
    absl::StatusOr<std::unique_ptr<Checkpoint>> checkpoint = OpenCheckpoint(directory_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return *std::move(checkpoint);
  }

  const TemporaryDirectory directory_;
};

TEST_F(ModelDirectoryTest, GivesEveryTensorUnderItsCanonicalName) {
  const auto checkpoint = Open();

  ASSERT_EQ(checkpoint->tensors().size(), 12u);
  unsigned seed = 0;
  for (const auto& [name, shape] : SmallPeerageTensors()) {
    ASSERT_NE(checkpoint->Find(name), nullptr) << name;
    EXPECT_EQ(checkpoint->Find(name)->shape, shape);
    EXPECT_EQ(checkpoint->Find(name)->type, TensorType::kF32);
    EXPECT_EQ(ReadTensor(*checkpoint, name), PatternBytes(4 * Elements(shape), ++seed)) << name;
  }
  EXPECT_EQ(checkpoint->Find("model.layers.0.self_attn.q_proj.weight"), nullptr);
  EXPECT_THAT(checkpoint->ignored(), ElementsAre("architectures", "torch_dtype"));
}

TEST_F(ModelDirectoryTest, OpensAPeerageModel) {
  directory_.Write("config.json", kSmallPeerageConfig);
  directory_.Write("model.safetensors", SafetensorsOf(SmallPeerageTensors()));

  const auto checkpoint = Open();

  EXPECT_EQ(checkpoint->config().architecture, "peerage");
  EXPECT_EQ(checkpoint->tensors().size(), 12u);
  EXPECT_THAT(checkpoint->ignored(), IsEmpty());
}

TEST_F(ModelDirectoryTest, OpensShards) {
  std::vector<NamedShape> first = SmallLlamaTensors(), second;
  second.push_back(first.back());
  first.pop_back();
  std::filesystem::remove(directory_.PathOf("model.safetensors"));
  directory_.Write("model-1.safetensors", SafetensorsOf(first));
  directory_.Write("model-2.safetensors", SafetensorsOf(second));
  std::string weight_map = "\"lm_head.weight\": \"model-2.safetensors\"";
  for (const auto& [name, shape] : first) {
    weight_map += ", \"" + name + "\": \"model-1.safetensors\"";
  }
  directory_.Write("model.safetensors.index.json", "{\"weight_map\": {" + weight_map + "}}");

  const auto checkpoint = Open();

  EXPECT_EQ(ReadTensor(*checkpoint, "lm_head.weight"), PatternBytes(8 * 32 * 4, 1));
  EXPECT_EQ(ReadTensor(*checkpoint, "model.embed_tokens.weight"), PatternBytes(8 * 32 * 4, 1));
  EXPECT_EQ(ReadTensor(*checkpoint, "model.norm.weight"), PatternBytes(32 * 4, 11));
}

TEST_F(ModelDirectoryTest, HandsOnTheTokenizersFiles) {
  directory_.Write("tokenizer.json", "{\"a\": 1}");
  directory_.Write("tokenizer_config.json", "{\"b\": 1}");
  directory_.Write("chat_template.jinja", "{{ c }}");
  directory_.Write("generation_config.json", "{\"d\": 1}");

  const auto checkpoint = Open();

  const TokenizerSource& source = checkpoint->tokenizer();
  EXPECT_FALSE(source.gguf.has_value());
  ASSERT_TRUE(source.hugging_face.has_value());
  EXPECT_EQ(source.hugging_face->tokenizer_json, "{\"a\": 1}");
  EXPECT_EQ(source.hugging_face->tokenizer_config_json, "{\"b\": 1}");
  EXPECT_EQ(source.hugging_face->chat_template, "{{ c }}");
  EXPECT_EQ(source.hugging_face->generation_config_json, "{\"d\": 1}");
  EXPECT_THAT(source.config_bos_id, Optional(1u));
  EXPECT_THAT(source.config_eos_ids, ElementsAre(2));
  EXPECT_EQ(source.vocab_size, 8);
}

TEST_F(ModelDirectoryTest, UnitesTheEosIdsOfBothConfigs) {
  directory_.Write("generation_config.json", R"({"eos_token_id": [3, 4], "max_length": 9})");

  EXPECT_THAT(Open()->config().eos_ids, ElementsAre(3, 4, 2));
  EXPECT_THAT(Open()->tokenizer().config_eos_ids, ElementsAre(2));

  directory_.Write("generation_config.json", R"({"eos_token_id": null})");
  EXPECT_THAT(Open()->config().eos_ids, ElementsAre(2));

  directory_.Write("generation_config.json", R"({"eos_token_id": 8})");
  EXPECT_THAT(OpenError(directory_.path()),
              HasSubstr("generation_config.json: eos_token_id has 8"));
}

TEST_F(ModelDirectoryTest, NeedsItsThreeFiles) {
  for (const char* name : {"config.json", "tokenizer.json"}) {
    const std::string moved = directory_.PathOf("moved");
    std::filesystem::rename(directory_.PathOf(name), moved);
    EXPECT_THAT(OpenError(directory_.path()),
                testing::StartsWith(directory_.path() + ": no " + name));
    std::filesystem::rename(moved, directory_.PathOf(name));
  }
  std::filesystem::remove(directory_.PathOf("model.safetensors"));
  EXPECT_EQ(OpenError(directory_.path()),
            directory_.path() +
                ": no *.safetensors file (and no pytorch_model.bin, *.bin, *.pt or *.pth)");
}

TEST_F(ModelDirectoryTest, NamesTheFileOfAnError) {
  directory_.Write("config.json", "{");
  EXPECT_THAT(OpenError(directory_.path()), HasSubstr("config.json: not valid JSON"));
  directory_.Write("config.json", kSmallLlamaConfig);

  directory_.Write("generation_config.json", "[");
  EXPECT_THAT(OpenError(directory_.path()), HasSubstr("generation_config.json: not valid JSON"));
  std::filesystem::remove(directory_.PathOf("generation_config.json"));

  directory_.Write("model.safetensors", "{");
  EXPECT_THAT(OpenError(directory_.path()), HasSubstr("model.safetensors: is a JSON text"));

  directory_.Write("model.safetensors", SafetensorsOf({{"model.norm.weight", {32}}}));
  EXPECT_THAT(OpenError(directory_.path()),
              AllOf(HasSubstr(directory_.path()), HasSubstr("is missing")));
}

TEST_F(ModelDirectoryTest, SaysThatAFileOfItWasNotFetched) {
  constexpr char kPointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "config.json"}) {
    directory_.Write(name, kPointer);
    EXPECT_THAT(OpenError(directory_.path()),
                AllOf(HasSubstr(name), HasSubstr("is a Git LFS pointer")));
  }
}

TEST_F(ModelDirectoryTest, RefusesATokenizerAboveTheLimit) {
  std::filesystem::resize_file(directory_.PathOf("tokenizer.json"), (64 << 20) + 1);
  EXPECT_THAT(OpenError(directory_.path()), AllOf(HasSubstr("tokenizer.json"), HasSubstr("most")));
}

TEST_F(ModelDirectoryTest, ReadsFromSeveralThreadsAtOnce) {
  const auto checkpoint = Open();
  std::vector<std::thread> threads;
  std::vector<std::string> read(8);
  for (size_t i = 0; i < read.size(); ++i) {
    threads.emplace_back(
        [&, i] { read[i] = ReadTensor(*checkpoint, SmallPeerageTensors()[i].name); });
  }
  for (std::thread& thread : threads) thread.join();

  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i], PatternBytes(read[i].size(), static_cast<unsigned>(i + 1)));
  }
}

TEST_F(ModelDirectoryTest, RefusesToReadWhatDoesNotFit) {
  const auto checkpoint = Open();
  std::vector<uint8_t> bytes(5);

  EXPECT_TRUE(absl::IsInvalidArgument(
      checkpoint->Read(*checkpoint->Find("model.norm.weight"), absl::MakeSpan(bytes))));
  EXPECT_TRUE(
      absl::IsNotFound(checkpoint->Read({.name = "x", .shape = {}}, absl::MakeSpan(bytes))));
}

TEST_F(ModelDirectoryTest, HasTheFingerprintOfItsWeights) {
  directory_.Write("config.json", kSmallLlamaConfig);
  const auto before = Open()->Fingerprint();
  ASSERT_TRUE(before.ok()) << before.status();
  EXPECT_EQ(before->size(), 64u);

  directory_.Write("tokenizer.json", "{\"other\": 1}");
  EXPECT_EQ(*Open()->Fingerprint(), *before);

  std::string weights = SafetensorsOf(SmallLlamaTensors());
  weights.back() ^= 1;
  directory_.Write("model.safetensors", weights);
  EXPECT_NE(*Open()->Fingerprint(), *before);
}

TEST(CheckpointTest, RefusesAPathThatIsNoModel) {
  const TemporaryDirectory directory;
  EXPECT_THAT(OpenError(directory.PathOf("none")), HasSubstr("none: no such file or directory"));
  EXPECT_THAT(OpenError(directory.Write("model.bin", "x")),
              HasSubstr("model.bin: neither a model directory nor a .gguf file"));
  EXPECT_THAT(OpenError(directory.Write("model.gguf", "x")), HasSubstr("model.gguf: truncated"));
  EXPECT_THAT(OpenError(directory.path()), HasSubstr("no config.json"));
}

TEST(GgufCheckpointTest, RestoresTheOrderOfQueryAndKeyRows) {
  const TemporaryDirectory directory;
  GgufBuilder builder = SmallGgufKeys();
  const std::string path = directory.Write("small.gguf", AddSmallGgufTensors(builder).Build());

  const auto opened = OpenCheckpoint(path);

  ASSERT_TRUE(opened.ok()) << opened.status();
  const Checkpoint& checkpoint = **opened;
  EXPECT_EQ(checkpoint.tensors().size(), 11u);
  const auto first_byte_of_row = [](const std::string& bytes, int row) {
    return static_cast<int>(bytes[row * 34]);
  };
  const std::string query = ReadTensor(checkpoint, "model.layers.0.attention.q_proj.weight");
  const std::string key = ReadTensor(checkpoint, "model.layers.0.attention.k_proj.weight");
  const std::string value = ReadTensor(checkpoint, "model.layers.0.attention.v_proj.weight");
  ASSERT_EQ(query.size(), 32u * 34);
  ASSERT_EQ(key.size(), 16u * 34);
  for (int i = 0; i < 8; ++i) {
    for (int head = 0; head < 2; ++head) {
      EXPECT_EQ(first_byte_of_row(query, 16 * head + i), 16 * head + 2 * i);
      EXPECT_EQ(first_byte_of_row(query, 16 * head + i + 8), 16 * head + 2 * i + 1);
    }
    EXPECT_EQ(first_byte_of_row(key, i), 2 * i);
    EXPECT_EQ(first_byte_of_row(key, i + 8), 2 * i + 1);
  }
  for (int row = 0; row < 16; ++row) EXPECT_EQ(first_byte_of_row(value, row), row);
  EXPECT_EQ(key.substr(34 * 8 + 1, 33), PatternBytes(33, 1));
}

// The architecture is the first thing that a file is refused for, and types have names.
TEST(GgufCheckpointTest, NamesTheArchitectureBeforeATypeThatIsNotRead) {
  const TemporaryDirectory directory;
  const auto error_of = [&](GgufBuilder builder) {
    builder.Tensor("token_embd.weight", {32, 8}, /*type=*/20, std::string(18 * 8, 'x'));
    return OpenError(directory.Write("any.gguf", builder.Build()));
  };
  EXPECT_THAT(error_of(GgufBuilder().String("general.architecture", "qwen2")),
              HasSubstr("general.architecture is \"qwen2\", which is not supported"));
  EXPECT_THAT(error_of(SmallGgufKeys()),
              HasSubstr("any.gguf: tensor \"token_embd.weight\": dtype IQ4_NL is not supported for "
                        "weights (F32, F16 and BF16 are, and in GGUF files Q4_0"));
}

TEST_F(ModelDirectoryTest, TakesVocabularyAndMergesWhereThereIsNoTokenizerJson) {
  std::filesystem::remove(directory_.PathOf("tokenizer.json"));
  directory_.Write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3})");
  EXPECT_EQ(OpenError(directory_.path()),
            directory_.path() + ": no tokenizer.json (nor vocab.json and merges.txt instead)");
  directory_.Write("merges.txt", "#version: 0.2\na b\n");
  directory_.Write("special_tokens_map.json", R"({"eos_token": "<|endoftext|>"})");

  const auto tokenizer = Tokenizer::Load(Open()->tokenizer());

  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("abb<|endoftext|>", SpecialTokens::kRecognise),
              ElementsAre(2, 1, 3));
  directory_.Write("merges.txt", "a b c\n");
  EXPECT_EQ(OpenError(directory_.path()),
            directory_.path() + ": merges.txt: line 1 is not two tokens: \"a b c\"");
}

// The real thing, where the build has fetched it.
class SmolLm2Test : public ::testing::Test {
 protected:
  static constexpr char kPath[] = "build/deps/models/SmolLM2-135M-Instruct.Q4_1.gguf";

  void SetUp() override {
    if (!std::filesystem::exists(kPath)) GTEST_SKIP() << kPath << " is not there";
    absl::StatusOr<std::unique_ptr<Checkpoint>> opened = OpenCheckpoint(kPath);
    ASSERT_TRUE(opened.ok()) << opened.status();
    checkpoint_ = *std::move(opened);
  }

  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(SmolLm2Test, HasItsPublishedConfig) {
  const ModelConfig& config = checkpoint_->config();
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.layers.size(), 30u);
  EXPECT_EQ(std::get<DenseFfnConfig>(config.layers[29].ffn[0]).intermediate_size, 1536);
  EXPECT_EQ(config.num_heads, 9);
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);
  EXPECT_EQ(config.norm_eps, 1e-5f);
  EXPECT_EQ(config.rope_theta, 100000.0f);
  EXPECT_EQ(config.max_positions, 8192);
  EXPECT_TRUE(config.tied_embeddings);
  EXPECT_THAT(config.bos_id, Optional(1u));
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
}

TEST_F(SmolLm2Test, HasItsTensorsAndTokens) {
  std::map<TensorType, int> types;
  for (const TensorInfo& tensor : checkpoint_->tensors()) ++types[tensor.type];
  EXPECT_EQ(checkpoint_->tensors().size(), 272u);
  EXPECT_EQ(types[TensorType::kQ4_1], 210);
  EXPECT_EQ(types[TensorType::kF32], 61);
  EXPECT_EQ(types[TensorType::kQ8_0], 1);
  EXPECT_EQ(checkpoint_->Find("model.embed_tokens.weight")->type, TensorType::kQ8_0);

  const GgufTokenizer& tokenizer = *checkpoint_->tokenizer().gguf;
  EXPECT_EQ(tokenizer.tokens.size(), 49152u);
  EXPECT_EQ(tokenizer.token_types.size(), 49152u);
  EXPECT_EQ(tokenizer.merges.size(), 48900u);
  EXPECT_EQ(tokenizer.tokens[2], "<|im_end|>");
  EXPECT_EQ(tokenizer.token_types[2], 3);
  EXPECT_THAT(tokenizer.add_bos, Optional(false));
}

TEST_F(SmolLm2Test, HasTheFingerprintOfTheWholeFile) {
  EXPECT_EQ(*checkpoint_->Fingerprint(),
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53");
}

}  // namespace
}  // namespace peerage
