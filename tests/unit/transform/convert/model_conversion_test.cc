#include "model/transform/convert/model_conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/container/random_access_file.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace fs = std::filesystem;

// A word of each kind; merges make "ab"; "<s>" is special, "<u>" is not, and id 7 has no token.
constexpr char kTokenizerJson[] = R"({
  "version": "1.0", "truncation": null, "padding": null,
  "added_tokens": [
    {"id": 4, "content": "<s>", "special": true, "normalized": false},
    {"id": 5, "content": "<u>", "special": false, "normalized": false}],
  "normalizer": null,
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "post_processor": null, "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3, "<s>": 4, "<u>": 5, "d": 6},
            "merges": ["a b"]}})";

class ModelConversionTest : public ::testing::Test {
 protected:
  ModelConversionTest() {
    SafetensorsBuilder builder;
    float number = 0.3f;
    for (const auto& [name, shape] : SmallLlamaTensors()) {
      std::string bytes;
      for (int64_t i = 0; i < Elements(shape); ++i) {
        number = std::fmod(-1.3f * number + 0.1f, 2.0f);
        bytes += LittleEndianBytes(number);
      }
      builder.Add(name, "F32", shape, bytes);
    }
    fs::create_directory(directory_.PathOf("model"));
    directory_.Write("model/model.safetensors", builder.Build());
    directory_.Write("model/config.json", kSmallLlamaConfig);
    directory_.Write("model/tokenizer.json", kTokenizerJson);
    directory_.Write("model/tokenizer_config.json",
                     R"({"bos_token": "<s>", "pad_token": {"content": "<u>"},
                         "add_bos_token": true})");
    directory_.Write("model/generation_config.json", R"({"eos_token_id": [4, 5]})");
    options_.from = directory_.PathOf("model");
    options_.out = directory_.PathOf("out.gguf");
  }

  std::unique_ptr<Checkpoint> Converted() const {
    const auto report = ConvertModel(options_);
    EXPECT_TRUE(report.ok()) << report.status();
    auto checkpoint = OpenCheckpoint(options_.out);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? *std::move(checkpoint) : nullptr;
  }

  std::string ErrorText() const { return std::string(ConvertModel(options_).status().message()); }

  const TemporaryDirectory directory_;
  ModelConversionOptions options_;
};

std::vector<uint8_t> Bytes(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  EXPECT_TRUE(checkpoint.Read(tensor, absl::MakeSpan(bytes)).ok());
  return bytes;
}

void ExpectSameTensors(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const TensorInfo& tensor : a.tensors()) {
    const TensorInfo* other = b.Find(tensor.name);
    ASSERT_NE(other, nullptr);
    EXPECT_EQ(tensor.type, other->type) << tensor.name;
    EXPECT_EQ(Bytes(a, tensor), Bytes(b, *other)) << tensor.name;
  }
}

TEST_F(ModelConversionTest, GoesToGgufAndBackBitForBit) {
  const auto original = OpenCheckpoint(options_.from);
  const auto gguf = Converted();
  options_.from = options_.out;
  options_.out = directory_.PathOf("back");
  const auto back = Converted();

  ExpectSameTensors(**original, *gguf);
  ExpectSameTensors(*gguf, *back);
  EXPECT_EQ(back->config().architecture, "llama");
  EXPECT_EQ(back->config().norm_eps, 1e-5f);
  EXPECT_EQ(back->config().rope_theta, 10000.0f);
  EXPECT_FALSE(back->config().tied_embeddings);
  EXPECT_EQ(back->config().bos_id, 4u);
  EXPECT_THAT(back->config().eos_ids, ElementsAre(4, 5, 2));
}

// The file holds row 1 of a head after row 0's partner in the rotation, row head_dim/2.
TEST_F(ModelConversionTest, PutsQueryRowsInTheOrderOfTheRotation) {
  ASSERT_TRUE(ConvertModel(options_).ok());

  const auto original = OpenCheckpoint(options_.from);
  const std::vector<uint8_t> query =
      Bytes(**original, *(*original)->Find("model.layers.0.attention.q_proj.weight"));
  const std::string file = *ReadTextFile(options_.out, 1 << 20);
  std::string first_rows;
  for (const int row : {0, 8, 1, 9}) {
    first_rows.append(query.begin() + row * 128, query.begin() + (row + 1) * 128);
  }
  EXPECT_NE(file.find(first_rows), std::string::npos);
}

TEST_F(ModelConversionTest, KeepsTokenizerFieldsBothWays) {
  const auto gguf = Converted();
  const GgufTokenizer& fields = *gguf->tokenizer().gguf;

  EXPECT_EQ(fields.pre, "gpt-2");
  EXPECT_THAT(fields.tokens, ElementsAre("a", "b", "ab", "c", "<s>", "<u>", "d", "[PAD7]"));
  EXPECT_THAT(fields.token_types, ElementsAre(1, 1, 1, 1, 3, 4, 1, 5));
  EXPECT_THAT(fields.merges, ElementsAre("a b"));
  EXPECT_EQ(fields.bos_id, 4u);
  EXPECT_EQ(fields.eos_id, 4u);
  EXPECT_EQ(fields.padding_id, 5u);
  EXPECT_EQ(fields.add_bos, true);
  options_.from = options_.out;
  options_.out = directory_.PathOf("again.gguf");
  const auto again = Converted();
  EXPECT_EQ(again->tokenizer().gguf->tokens, fields.tokens);
  EXPECT_EQ(again->tokenizer().gguf->token_types, fields.token_types);
}

TEST_F(ModelConversionTest, ChangesDtypes) {
  for (const TensorType dtype :
       {TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_1}) {
    options_.dtype = dtype;
    options_.out = directory_.PathOf(std::string(Traits(dtype).name) + ".gguf");
    const auto model = Converted();

    EXPECT_EQ(model->Find("model.layers.0.ffn.dense.up_proj.weight")->type, dtype);
    EXPECT_EQ(model->Find("model.norm.weight")->type, TensorType::kF32);
    const TensorType by_token = dtype == TensorType::kQ4_1 ? TensorType::kQ8_0 : dtype;
    EXPECT_EQ(model->Find("model.embed_tokens.weight")->type, by_token);
    EXPECT_EQ(model->Find("lm_head.weight")->type, by_token);
  }
}

TEST_F(ModelConversionTest, KeepsQuantisedBlocks) {
  GgufBuilder builder = SmallGgufKeys();
  options_.from = directory_.Write("in.gguf", AddSmallGgufTensors(builder).Build());

  const auto model = Converted();

  ExpectSameTensors(**OpenCheckpoint(options_.from), *model);
}

TEST_F(ModelConversionTest, RefusesWhatSafetensorsCannotHold) {
  GgufBuilder builder = SmallGgufKeys();
  options_.from = directory_.Write("in.gguf", AddSmallGgufTensors(builder).Build());
  options_.out = directory_.PathOf("out");

  EXPECT_THAT(ErrorText(), AllOf(HasSubstr("in.gguf: tensor \"model.embed_tokens.weight\""),
                                 HasSubstr("no q8_0; --dtype f32, bf16 or f16")));
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(ModelConversionTest, RefusesMixtures) {
  options_.from = "tests/golden/models/mixture_bam_kv_experts";

  EXPECT_EQ(ErrorText(), options_.from +
                             ": layer 0 is not dense; GGUF files hold dense llama models only "
                             "here");
}

TEST_F(ModelConversionTest, RefusesModelsThatAreNotLlamas) {
  const struct {
    const char* addition;
    const char* error;
  } cases[] = {
      {R"("norm_type": "layernorm")", "norm_type is not that of a llama model"},
      {R"("rope_interleaved": true)", "rope_interleaved is not that of a llama model"},
      {R"("hidden_act": "gelu")", "hidden_act is not silu"},
  };
  fs::create_directory(directory_.PathOf("ours"));
  directory_.Write("ours/model.safetensors", SafetensorsOf(SmallPeerageTensors()));
  directory_.Write("ours/tokenizer.json", kTokenizerJson);
  options_.from = directory_.PathOf("ours");
  for (const auto& test : cases) {
    directory_.Write(
        "ours/config.json",
        absl::StrReplaceAll(kSmallPeerageConfig,
                            {{"\"model_type\"", std::string(test.addition) + ", \"model_type\""}}));
    EXPECT_THAT(ErrorText(), HasSubstr(test.error));
  }
}

TEST_F(ModelConversionTest, RefusesTokenizersThatAGgufCannotSay) {
  const struct {
    const char* text;
    const char* instead;
    const char* error;
  } cases[] = {
      {"\"special\": true", "\"lstrip\": true, \"special\": true",
       "added token \"<s>\" has lstrip"},
      {"\"add_prefix_space\": false", "\"add_prefix_space\": true",
       "its pre_tokenizer has no name"},
  };
  for (const auto& test : cases) {
    directory_.Write("model/tokenizer.json",
                     absl::StrReplaceAll(kTokenizerJson, {{test.text, test.instead}}));
    EXPECT_THAT(ErrorText(), HasSubstr(test.error));
  }
  directory_.Write("model/tokenizer.json", kTokenizerJson);
  directory_.Write("model/generation_config.json", R"({"eos_token_id": [1, 2, 3, 4]})");
  EXPECT_THAT(ErrorText(), HasSubstr("eos_token_id has 4 ids"));
  EXPECT_FALSE(fs::exists(options_.out));
}

// The small llama model with one value everywhere.
std::string SafetensorsFilledWith(float value) {
  SafetensorsBuilder builder;
  for (const auto& [name, shape] : SmallLlamaTensors()) {
    std::string bytes;
    for (int64_t i = 0; i < Elements(shape); ++i) bytes += LittleEndianBytes(value);
    builder.Add(name, "F32", shape, bytes);
  }
  return builder.Build();
}

TEST_F(ModelConversionTest, QuantisesNothingThatIsNotFinite) {
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    directory_.Write("model/model.safetensors", SafetensorsFilledWith(value));
    for (const TensorType dtype : {TensorType::kQ8_0, TensorType::kQ4_1}) {
      options_.dtype = dtype;
      EXPECT_EQ(ErrorText(),
                "tensor \"token_embd.weight\": holds a NaN or an infinity, which q8_0 cannot");
      EXPECT_FALSE(fs::exists(options_.out));
    }
    options_.dtype = TensorType::kF16;
    EXPECT_TRUE(ConvertModel(options_).ok());
    fs::remove(options_.out);
  }
}

TEST_F(ModelConversionTest, RefusesValuesBeyondTheRange) {
  directory_.Write("model/model.safetensors", SafetensorsFilledWith(1e8f));
  for (const TensorType dtype : {TensorType::kF16, TensorType::kQ8_0, TensorType::kQ4_1}) {
    options_.dtype = dtype;
    EXPECT_THAT(ErrorText(), AllOf(HasSubstr("tensor \"token_embd.weight\""),
                                   HasSubstr("beyond the range of ")));
  }
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(ModelConversionTest, RefusesValuesThatBlocksWouldLose) {
  directory_.Write("model/model.safetensors", SafetensorsFilledWith(1e-8f));
  for (const TensorType dtype : {TensorType::kQ8_0, TensorType::kQ4_1}) {
    options_.dtype = dtype;
    EXPECT_EQ(ErrorText(),
              "tensor \"token_embd.weight\": a block whose largest magnitude is 1e-08 is too small "
              "for q8_0, whose scales are f16: it would be lost; f32 and bf16 hold it");
    EXPECT_FALSE(fs::exists(options_.out));
  }
  options_.dtype = TensorType::kBF16;
  EXPECT_TRUE(ConvertModel(options_).ok());
}

TEST_F(ModelConversionTest, NamesTheModelWhoseTokenizerItCannotTranslate) {
  GgufBuilder builder = SmallGgufShape();
  builder.String("tokenizer.ggml.model", "gpt2")
      .String("tokenizer.ggml.pre", "gorkle")
      .Strings("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f", "g", "h"})
      .Strings("tokenizer.ggml.merges", {"a b"});
  options_.from = directory_.Write("in.gguf", AddSmallGgufTensors(builder).Build());
  options_.out = directory_.PathOf("out");
  options_.dtype = TensorType::kF32;

  EXPECT_THAT(ErrorText(), AllOf(HasSubstr("in.gguf: "), HasSubstr("\"gorkle\" is not supported")));
  EXPECT_FALSE(fs::exists(options_.out));

  options_.out = directory_.PathOf("out.gguf");
  options_.from = directory_.PathOf("model");
  directory_.Write("model/tokenizer.json", "{");
  EXPECT_THAT(ErrorText(), HasSubstr(options_.from));
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(ModelConversionTest, NeverOverwritesAModel) {
  ASSERT_TRUE(ConvertModel(options_).ok());
  EXPECT_EQ(ErrorText(), options_.out + ": is there already");

  options_.out = options_.from;
  EXPECT_THAT(ErrorText(), HasSubstr("is there already"));
}

}  // namespace
}  // namespace peerage::transform
