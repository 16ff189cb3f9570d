#include "model/checkpoint/config/gguf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "model/checkpoint/config/gguf_tokenizer_keys.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/memory_file.h"
#include "tests/support/small_models.h"

namespace peerage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr uint32_t kF32Type = 0;

GgufContents Contents(const GgufBuilder& builder) {
  absl::StatusOr<GgufContents> contents = ReadGguf(MemoryFile(builder.Build()));
  EXPECT_TRUE(contents.ok()) << contents.status();
  return *std::move(contents);
}

TEST(GgufConfigTest, ReadsWhatIsSet) {
  GgufBuilder builder = SmallGgufKeys();
  builder.Float32("llama.rope.freq_base", 5e5f)
      .Uint32("llama.vocab_size", 8)
      .Uint32("tokenizer.ggml.eot_token_id", 3)
      .Uint32("tokenizer.ggml.eom_token_id", 2);

  const auto config = ParseGgufConfig(Contents(builder));

  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->vocab_size, 8);
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_kv_heads, 1);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->norm_eps, 1e-5f);
  EXPECT_EQ(config->rope_theta, 5e5f);
  EXPECT_FALSE(config->rope_interleaved);
  EXPECT_EQ(config->max_positions, 64);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_THAT(config->bos_id, Optional(1u));
  EXPECT_THAT(config->eos_ids, ElementsAre(2, 3));
  ASSERT_EQ(config->layers.size(), 1u);
  EXPECT_EQ(std::get<DenseFfnConfig>(config->layers[0].ffn[0]).intermediate_size, 64);
}

TEST(GgufConfigTest, IsUntiedWhenTheFileHasAHead) {
  GgufBuilder builder = SmallGgufKeys();
  builder.Tensor("output.weight", {1}, kF32Type, "abcd");

  EXPECT_FALSE(ParseGgufConfig(Contents(builder))->tied_embeddings);
}

TEST(GgufConfigTest, CountsTheTokensWhenTheVocabSizeIsNotSaid) {
  EXPECT_EQ(ParseGgufConfig(Contents(SmallGgufKeys()))->vocab_size, 8);
}

TEST(GgufConfigTest, AcceptsNeutralValues) {
  GgufBuilder builder = SmallGgufKeys();
  builder.Uint32("llama.expert_count", 0)
      .Float32("llama.rope.scaling.factor", 1)
      .String("llama.rope.scaling.type", "none")
      .Float32("llama.logit_scale", 1)
      .Bool("llama.attention.causal", true)
      .Uint32("llama.attention.key_length", 16)
      .Uint32("llama.attention.value_length", 16);

  EXPECT_TRUE(ParseGgufConfig(Contents(builder)).ok());
}

struct BadKeys {
  const char* name;
  std::function<void(GgufBuilder&)> add;
  const char* error;
};

class BadGgufConfigTest : public ::testing::TestWithParam<BadKeys> {};

TEST_P(BadGgufConfigTest, IsRefusedByName) {
  GgufBuilder builder = SmallGgufKeys();
  GetParam().add(builder);

  const auto config = ParseGgufConfig(Contents(builder));

  ASSERT_FALSE(config.ok());
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadGgufConfigTest,
    ::testing::Values(
        BadKeys{"Experts", [](auto& b) { b.Uint32("llama.expert_count", 8); },
                "llama.expert_count is 8, which is not supported (0 is)"},
        BadKeys{"ScalingType", [](auto& b) { b.String("llama.rope.scaling.type", "yarn"); },
                "llama.rope.scaling.type is \"yarn\", which is not supported (\"none\" is)"},
        BadKeys{"ScalingFactor", [](auto& b) { b.Float32("llama.rope.scaling.factor", 4); },
                "llama.rope.scaling.factor"},
        BadKeys{"ScaleLinear", [](auto& b) { b.Float32("llama.rope.scale_linear", 2); },
                "llama.rope.scale_linear"},
        BadKeys{"ScalingFactorAString", [](auto& b) { b.String("llama.rope.scaling.factor", "1"); },
                "llama.rope.scaling.factor"},
        BadKeys{"SlidingWindow", [](auto& b) { b.Uint32("llama.attention.sliding_window", 4096); },
                "llama.attention.sliding_window"},
        BadKeys{"LogitScale", [](auto& b) { b.Float32("llama.logit_scale", 0.5f); },
                "llama.logit_scale"},
        BadKeys{"AttentionScale", [](auto& b) { b.Float32("llama.attention.scale", 0.5f); },
                "llama.attention.scale"},
        BadKeys{"SeesTheFuture", [](auto& b) { b.Bool("llama.attention.causal", false); },
                "llama.attention.causal"},
        BadKeys{"ParallelResidual", [](auto& b) { b.Bool("llama.use_parallel_residual", true); },
                "llama.use_parallel_residual"},
        BadKeys{"KeyLength", [](auto& b) { b.Uint32("llama.attention.key_length", 32); },
                "llama.rope.dimension_count is 16, not the head's dimension 32"},
        BadKeys{"OddKeyLength", [](auto& b) { b.Uint32("llama.attention.key_length", 1); },
                "llama.attention.key_length is 1"},
        BadKeys{"ValueLength", [](auto& b) { b.Uint32("llama.attention.value_length", 8); },
                "llama.attention.value_length is 8"},
        BadKeys{"NoVocab", [](auto& b) { b.Uint32("llama.vocab_size", 0); },
                "llama.vocab_size is 0"},
        BadKeys{"ZeroTheta", [](auto& b) { b.Float32("llama.rope.freq_base", 0); },
                "llama.rope.freq_base is 0"},
        BadKeys{"NanTheta", [](auto& b) { b.Float32("llama.rope.freq_base", __builtin_nanf("")); },
                "llama.rope.freq_base is nan"},
        BadKeys{"FirstPart", [](auto& b) { b.Uint32("split.count", 3).Uint32("split.no", 0); },
                "is part 1 of 3 of a split model (split.count), which is not supported: join"},
        BadKeys{"EndOfTurn", [](auto& b) { b.Uint32("tokenizer.ggml.eot_token_id", 8); },
                "tokenizer.ggml.eot_token_id is 8"}),
    [](const auto& test) { return test.param.name; });

// A file that lacks one required key, or has another value for it.
GgufBuilder KeysWith(const std::string& architecture, uint32_t heads, uint32_t kv_heads,
                     uint32_t layers) {
  GgufBuilder builder;
  if (!architecture.empty()) builder.String("general.architecture", architecture);
  builder.Uint32("llama.block_count", layers)
      .Uint32("llama.context_length", 64)
      .Uint32("llama.embedding_length", 32)
      .Uint32("llama.feed_forward_length", 64)
      .Uint32("llama.attention.head_count", heads)
      .Uint32("llama.attention.head_count_kv", kv_heads)
      .Float32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .Uint32("llama.vocab_size", 8);
  return builder;
}

std::string ErrorOf(const GgufBuilder& builder) {
  return std::string(ParseGgufConfig(Contents(builder)).status().message());
}

TEST(GgufConfigTest, ChecksRequiredKeys) {
  EXPECT_EQ(ErrorOf(KeysWith("llama", 4, 2, 1)), "");
  EXPECT_THAT(ErrorOf(KeysWith("", 4, 2, 1)), HasSubstr("general.architecture is missing"));
  EXPECT_THAT(
      ErrorOf(KeysWith("qwen2", 4, 2, 1)),
      HasSubstr("general.architecture is \"qwen2\", which is not supported (\"llama\" is)"));
  // The later parts of a split model have nothing but what says so.
  EXPECT_THAT(ErrorOf(GgufBuilder().Uint32("split.count", 3).Uint32("split.no", 1)),
              HasSubstr("is part 2 of 3"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 4, 3, 1)), HasSubstr("head_count_kv is 3"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 5, 1, 1)), HasSubstr("key_length is missing"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 0, 1, 1)), HasSubstr("head_count is 0"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 32, 1, 1)), HasSubstr("key_length is 1"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 4, 2, 0)), HasSubstr("llama.block_count is 0"));
  EXPECT_THAT(ErrorOf(KeysWith("llama", 4, 2, 1025)), HasSubstr("llama.block_count is 1025"));
  EXPECT_THAT(ErrorOf(GgufBuilder().String("general.architecture", "llama")),
              HasSubstr("llama.vocab_size is missing"));
}

TEST(GgufTokenizerTest, ReadsEveryField) {
  GgufBuilder builder = SmallGgufKeys();
  builder
      .Array("tokenizer.ggml.token_type", kGgufInt32, 8,
             std::string("\1\0\0\0", 4) + std::string("\3\0\0\0", 4) + std::string(24, '\0'))
      .Uint32("tokenizer.ggml.unknown_token_id", 0)
      .Bool("tokenizer.ggml.add_bos_token", false)
      .String("tokenizer.chat_template", "{{ x }}");

  const auto tokenizer = ReadGgufTokenizer(Contents(builder).metadata, 8);

  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->pre, "smollm");
  EXPECT_THAT(tokenizer->tokens, ElementsAre("a", "b", "c", "d", "e", "f", "g", "h"));
  EXPECT_THAT(tokenizer->token_types, ElementsAre(1, 3, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(tokenizer->merges, ElementsAre("a b"));
  EXPECT_THAT(tokenizer->bos_id, Optional(1u));
  EXPECT_THAT(tokenizer->eos_id, Optional(2u));
  EXPECT_THAT(tokenizer->unknown_id, Optional(0u));
  EXPECT_THAT(tokenizer->add_bos, Optional(false));
  EXPECT_THAT(tokenizer->chat_template, Optional(std::string("{{ x }}")));
}

TEST(GgufTokenizerTest, RefusesFieldsThatDoNotFitEachOther) {
  const auto error = [](const GgufBuilder& builder, int vocab_size) {
    return std::string(
        ReadGgufTokenizer(Contents(builder).metadata, vocab_size).status().message());
  };
  EXPECT_THAT(error(GgufBuilder(), 8), HasSubstr("tokenizer.ggml.model is missing"));
  EXPECT_THAT(error(GgufBuilder()
                        .String("tokenizer.ggml.model", "gpt2")
                        .String("tokenizer.ggml.pre", "smollm")
                        .Strings("tokenizer.ggml.tokens", {"a", "b"}),
                    8),
              HasSubstr("tokenizer.ggml.merges is missing"));
  EXPECT_THAT(error(GgufBuilder().String("tokenizer.ggml.model", "gpt2"), 8),
              HasSubstr("tokenizer.ggml.pre is missing"));
  EXPECT_THAT(error(SmallGgufKeys(), 7), HasSubstr("tokenizer.ggml.tokens has 8"));
  EXPECT_THAT(error(SmallGgufKeys().Uint32("tokenizer.ggml.unknown_token_id", 8), 8),
              HasSubstr("tokenizer.ggml.unknown_token_id is 8"));
  EXPECT_THAT(
      error(SmallGgufKeys().Array("tokenizer.ggml.token_type", kGgufInt32, 1, std::string(4, '\0')),
            8),
      HasSubstr("tokenizer.ggml.token_type has 1"));
  EXPECT_THAT(error(SmallGgufKeys().Array("tokenizer.ggml.token_type", kGgufInt32, 8,
                                          std::string(32, '\xff')),
                    8),
              HasSubstr("unknown type -1"));
}

}  // namespace
}  // namespace peerage
