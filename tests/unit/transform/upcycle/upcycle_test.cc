#include "model/transform/upcycle/upcycle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/tensor_values.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_directory.h"

namespace peerage::transform {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsNan;
using ::testing::Not;
using ::testing::StartsWith;

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kAnyTokenizerJson[] = "{\"any\": 1}";

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// The small llama model with the value `number` in all places of every tensor, plus its index.
// NaN and infinities stay themselves.
std::string SafetensorsOfNumber(float number) {
  SafetensorsBuilder builder;
  int index = 0;
  for (const auto& [name, shape] : SmallLlamaTensors()) {
    builder.Add(name, "F32", shape,
                BytesOf(std::vector<float>(Elements(shape), number + static_cast<float>(index++))));
  }
  return builder.Build();
}

class UpcycleTest : public ::testing::Test {
 protected:
  UpcycleTest() {
    options_.base = {"base", WriteModel("a", SafetensorsOfNumber(1))};
    options_.out = directory_.PathOf("out");
    options_.dtype = TensorType::kF32;
    options_.program = "test";
  }

  std::string WriteModel(const std::string& name, const std::string& weights,
                         const std::string& config = kSmallLlamaConfig) const {
    fs::create_directory(directory_.PathOf(name));
    directory_.Write(name + "/model.safetensors", weights);
    directory_.Write(name + "/config.json", config);
    directory_.Write(name + "/tokenizer.json", kAnyTokenizerJson);
    return directory_.PathOf(name);
  }

  // Experts "two" and "three" with numbers 3 and 8 beside the base's 1.
  void AddExperts() {
    options_.experts = {{"two", WriteModel("b", SafetensorsOfNumber(3))},
                        {"three", WriteModel("c", SafetensorsOfNumber(8))}};
  }

  std::unique_ptr<Checkpoint> Upcycled() const {
    const auto report = Upcycle(options_);
    EXPECT_TRUE(report.ok()) << report.status();
    auto checkpoint = OpenCheckpoint(options_.out);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? *std::move(checkpoint) : nullptr;
  }

  std::string ErrorText() const { return std::string(Upcycle(options_).status().message()); }

  json ReadJson(const std::string& file) const {
    return json::parse(std::ifstream(options_.out + "/" + file));
  }

  const TemporaryDirectory directory_;
  UpcycleOptions options_;
};

std::vector<float> ValuesOf(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.Find(name);
  if (tensor == nullptr) {
    ADD_FAILURE() << "no tensor " << name;
    return {};
  }
  const auto values = ReadFloatRows(checkpoint, *tensor, 0, tensor->shape.front());
  EXPECT_TRUE(values.ok()) << values.status();
  return values.ok() ? *values : std::vector<float>();
}

// Indices in SmallLlamaTensors.
constexpr float kNormIndex = 1, kQueryIndex = 2, kKeyIndex = 3, kGateIndex = 7, kHeadIndex = 11;

TEST_F(UpcycleTest, MakesExpertsOfModelsAndAveragesTheRest) {
  AddExperts();

  const auto model = Upcycled();

  const std::string layer = "model.layers.0.";
  for (const auto& [expert, number] : std::map<int, float>{{0, 1}, {1, 3}, {2, 8}}) {
    const std::string index = absl::StrCat(".experts.", expert, ".");
    EXPECT_THAT(ValuesOf(*model, layer + "ffn.mixture" + index + "gate_proj.weight"),
                Each(number + kGateIndex));
    EXPECT_THAT(ValuesOf(*model, layer + "attention" + index + "q_proj.weight"),
                Each(number + kQueryIndex));
    EXPECT_THAT(ValuesOf(*model, layer + "attention" + index + "k_proj.weight"),
                Each(number + kKeyIndex));
  }
  EXPECT_THAT(ValuesOf(*model, "model.embed_tokens.weight"), Each(4));
  EXPECT_THAT(ValuesOf(*model, layer + "input_norm.weight"), Each(4 + kNormIndex));
  EXPECT_THAT(ValuesOf(*model, "lm_head.weight"), Each(4 + kHeadIndex));
  const ModelConfig& config = model->config();
  EXPECT_EQ(config.layers[0].attention.kv, MixtureKv::kExpert);
  EXPECT_EQ(config.layers[0].attention.mixture.top_k, 3);
  EXPECT_EQ(std::get<MixtureFfnConfig>(config.layers[0].ffn[0]).mixture.top_k, 1);
  EXPECT_FALSE(std::get<MixtureFfnConfig>(config.layers[0].ffn[0]).mixture.normalize_top_k);
  EXPECT_THAT(std::get<MixtureFfnConfig>(config.layers[0].ffn[0]).mixture.expert_names,
              ElementsAre("base", "two", "three"));
  EXPECT_EQ(config.rope_theta, 10000.0f);
  EXPECT_EQ(config.norm_eps, 1e-5f);
  EXPECT_THAT(config.eos_ids, ElementsAre(2));
}

TEST_F(UpcycleTest, SharesAveragedKeysAndValues) {
  AddExperts();
  options_.attention = UpcycledAttention::kShared;

  const auto model = Upcycled();

  EXPECT_EQ(model->config().layers[0].attention.kv, MixtureKv::kShared);
  EXPECT_THAT(ValuesOf(*model, "model.layers.0.attention.k_proj.weight"), Each(4 + kKeyIndex));
  EXPECT_THAT(ValuesOf(*model, "model.layers.0.attention.experts.2.q_proj.weight"),
              Each(8 + kQueryIndex));
}

TEST_F(UpcycleTest, AveragesAttentionForBranchTrainMix) {
  AddExperts();
  options_.attention = UpcycledAttention::kAverage;
  options_.top_k = 2;
  options_.normalize_top_k = true;

  const auto model = Upcycled();

  EXPECT_EQ(model->config().layers[0].attention.kind, AttentionKind::kDense);
  EXPECT_THAT(ValuesOf(*model, "model.layers.0.attention.q_proj.weight"), Each(4 + kQueryIndex));
  EXPECT_EQ(std::get<MixtureFfnConfig>(model->config().layers[0].ffn[0]).mixture.top_k, 2);
  EXPECT_TRUE(std::get<MixtureFfnConfig>(model->config().layers[0].ffn[0]).mixture.normalize_top_k);
}

TEST_F(UpcycleTest, TakesAllButTheFfnFromTheBaseForSparseUpcycling) {
  AddExperts();
  options_.attention = UpcycledAttention::kBase;

  const auto model = Upcycled();

  EXPECT_THAT(ValuesOf(*model, "model.layers.0.attention.q_proj.weight"), Each(1 + kQueryIndex));
  EXPECT_THAT(ValuesOf(*model, "model.embed_tokens.weight"), Each(1));
  EXPECT_THAT(ValuesOf(*model, "model.layers.0.ffn.mixture.experts.1.gate_proj.weight"),
              Each(3 + kGateIndex));
}

// Whatever the values and the number of models: f64 sums of equal f32 values are exact.
TEST_F(UpcycleTest, AveragesIdenticalModelsExactly) {
  SafetensorsBuilder builder;
  float number = 0.1f;
  for (const auto& [name, shape] : SmallLlamaTensors()) {
    std::vector<float> values(Elements(shape));
    for (float& value : values) value = number = -1.01f * number + 1e-3f;
    number = std::fmod(number, 1.0f);
    builder.Add(name, "F32", shape, BytesOf(values));
  }
  options_.base.path = WriteModel("pattern", builder.Build());
  options_.num_experts = 3;
  options_.allow_identical = true;

  const auto model = Upcycled();

  const auto base = OpenCheckpoint(options_.base.path);
  for (const TensorInfo& tensor : model->tensors()) {
    if (absl::StrContains(tensor.name, "router")) continue;
    std::string source = tensor.name;
    for (const char* expert : {".experts.0", ".experts.1", ".experts.2"}) {
      source = absl::StrReplaceAll(source, {{expert, ""}, {".mixture", ".dense"}});
    }
    std::vector<uint8_t> now(tensor.bytes), before(tensor.bytes);
    ASSERT_NE((*base)->Find(source), nullptr) << source;
    ASSERT_TRUE(model->Read(tensor, absl::MakeSpan(now)).ok());
    ASSERT_TRUE((*base)->Read(*(*base)->Find(source), absl::MakeSpan(before)).ok());
    EXPECT_EQ(now, before) << tensor.name;
  }
  EXPECT_THAT(std::get<MixtureFfnConfig>(model->config().layers[0].ffn[0]).mixture.expert_names,
              ElementsAre("base", "base-1", "base-2"));
}

TEST_F(UpcycleTest, RoutersAreNormalAndFollowTheSeed) {
  AddExperts();
  options_.router_std = 0.5;
  options_.random_seed = 7;
  constexpr char kRouter[] = "model.layers.0.ffn.mixture.router.weight";
  constexpr char kOther[] = "model.layers.0.attention.router.weight";

  const std::vector<float> first = ValuesOf(*Upcycled(), kRouter);
  const std::vector<float> other = ValuesOf(*OpenCheckpoint(options_.out).value(), kOther);
  options_.out = directory_.PathOf("again");
  const std::vector<float> again = ValuesOf(*Upcycled(), kRouter);
  options_.out = directory_.PathOf("seed");
  options_.random_seed = 8;
  const std::vector<float> seed = ValuesOf(*Upcycled(), kRouter);

  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
  EXPECT_NE(first, seed);
  double sum = 0, squares = 0;
  for (const float value : first) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 96, 0, 0.15);
  EXPECT_NEAR(std::sqrt(squares / 96), 0.5, 0.12);
}

TEST_F(UpcycleTest, ZeroRoutersAreZero) {
  AddExperts();
  options_.routers = RouterInit::kZero;

  EXPECT_THAT(ValuesOf(*Upcycled(), "model.layers.0.ffn.mixture.router.weight"), Each(0));
}

TEST_F(UpcycleTest, WritesRoutersOfPromptsAndPassesTheirWarningsOn) {
  options_.base.path = "tests/golden/models/llama_gguf_mixed/model.gguf";
  options_.num_experts = 2;
  options_.allow_identical = true;
  options_.routers = RouterInit::kPrompts;
  const std::string text = directory_.Write("text", "abc");
  options_.prompts = {{"base", text}, {"base-1", text}};

  options_.normalize_top_k = true;

  const auto report = Upcycle(options_);

  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->warnings, ElementsAre(HasSubstr("ill-conditioned")));
  const std::vector<float> router =
      ValuesOf(*OpenCheckpoint(options_.out).value(), "model.layers.0.attention.router.weight");
  double squares = 0;
  for (const float value : router) squares += value * value;
  EXPECT_NEAR(squares, 2, 1e-5);  // two rows of length 1
  EXPECT_EQ(ReadJson("upcycle.json")["prompts"]["base-1"], text);
}

TEST_F(UpcycleTest, WarnsOfRawGatesThatScaleWhatIsNotTrained) {
  using Change = void (*)(UpcycleOptions&);
  constexpr char kFfn[] =
      "FFN outputs are scaled by the sum of the chosen gates, about 1/3, until routers and experts "
      "are trained; --normalize-top-k keeps the scale";
  const struct {
    Change change;
    std::vector<std::string> warnings;
  } cases[] = {
      {[](UpcycleOptions&) {}, {kFfn}},
      {[](UpcycleOptions& o) { o.top_k = 2; }, {absl::StrReplaceAll(kFfn, {{"1/3", "2/3"}})}},
      {[](UpcycleOptions& o) { o.top_k = 3; }, {}},
      {[](UpcycleOptions& o) { o.normalize_top_k = true; }, {}},
      {[](UpcycleOptions& o) { o.attention_top_k = 1; },
       {kFfn, absl::StrReplaceAll(kFfn, {{"FFN", "attention"}})}},
      {[](UpcycleOptions& o) { o.attention_top_k = 3; }, {kFfn}},
      {[](UpcycleOptions& o) {
         o.experts.clear();
         o.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8"};
       },
       {}},
  };
  for (const auto& test : cases) {
    options_.out += "x";
    options_.top_k = 1;
    options_.normalize_top_k = false;
    options_.attention_top_k.reset();
    AddExperts();
    test.change(options_);

    const auto report = Upcycle(options_);

    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->warnings, test.warnings);
  }
}

TEST_F(UpcycleTest, TakesTheBasesContextAndEosAndWarnsOfAnExpertsOwn) {
  options_.normalize_top_k = true;
  const struct {
    const char* text;
    const char* instead;
    const char* warning;
  } cases[] = {
      {"\"max_position_embeddings\": 64", "\"max_position_embeddings\": 256",
       "max_position_embeddings of expert \"law\" is 256; the mixture has the base's, 64"},
      {"\"eos_token_id\": 2", "\"eos_token_id\": [5, 3]",
       "eos_token_id of expert \"law\" is 3, 5; the mixture has the base's, 2"},
      {"\"eos_token_id\": 2", "\"eos_token_id\": null",
       "eos_token_id of expert \"law\" is none; the mixture has the base's, 2"},
  };
  for (const auto& test : cases) {
    const std::string config = absl::StrReplaceAll(kSmallLlamaConfig, {{test.text, test.instead}});
    ASSERT_NE(config, kSmallLlamaConfig);
    options_.experts = {{"law", WriteModel("other", SafetensorsOfNumber(2), config)}};
    options_.out += "x";

    const auto report = Upcycle(options_);

    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_THAT(report->warnings, ElementsAre(test.warning));
    const auto model = OpenCheckpoint(options_.out);
    EXPECT_EQ((*model)->config().max_positions, 64);
    EXPECT_THAT((*model)->config().eos_ids, ElementsAre(2));
  }
}

TEST_F(UpcycleTest, AddsAMemoryThatAddsNothing) {
  options_.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8,query_norm=batch,glu=true"};

  const auto model = Upcycled();

  const ModelConfig& config = model->config();
  ASSERT_EQ(config.layers[0].ffn.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<DenseFfnConfig>(config.layers[0].ffn[0]));
  EXPECT_EQ(config.layers[0].attention.kind, AttentionKind::kDense);
  EXPECT_EQ(std::get<PeerConfig>(config.layers[0].ffn[1]).keys.num_experts, 16);
  EXPECT_TRUE(std::get<PeerConfig>(config.layers[0].ffn[1]).glu);
  const std::string peer = "model.layers.0.ffn.peer.";
  EXPECT_THAT(ValuesOf(*model, peer + "up.weight"), Each(0));
  EXPECT_THAT(ValuesOf(*model, peer + "query_norm.running_mean"), Each(0));
  EXPECT_THAT(ValuesOf(*model, peer + "query_norm.running_var"), Each(1));
  for (const char* name : {"down.weight", "gate.weight", "query.weight", "sub_keys"}) {
    EXPECT_THAT(ValuesOf(*model, peer + name), Not(testing::Contains(0))) << name;
  }
  EXPECT_THAT(ValuesOf(*model, "model.layers.0.ffn.dense.gate_proj.weight"), Each(1 + kGateIndex));
}

TEST_F(UpcycleTest, AddsAMemoryWhoseHeadsHaveTheirOwnExperts) {
  options_.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8,expert_tables=per_head"};

  EXPECT_EQ(Upcycled()->Find("model.layers.0.ffn.peer.up.weight")->shape,
            (std::vector<int64_t>{2 * 16, 32}));
}

TEST_F(UpcycleTest, ReadsGgufAndWritesBf16AndATokenizer) {
  GgufBuilder gguf = SmallGgufKeys();
  options_.base.path = directory_.Write("model.gguf", AddSmallGgufTensors(gguf).Build());
  options_.num_experts = 2;
  options_.allow_identical = true;
  options_.dtype = TensorType::kBF16;

  const auto model = Upcycled();

  const auto base = OpenCheckpoint(options_.base.path);
  const std::vector<float> query = ValuesOf(**base, "model.layers.0.attention.q_proj.weight");
  std::vector<uint8_t> rounded(2 * query.size()), written(rounded.size());
  StoreFloats(TensorType::kBF16, query, absl::MakeSpan(rounded));
  const TensorInfo* copy = model->Find("model.layers.0.attention.experts.1.q_proj.weight");
  ASSERT_TRUE(model->Read(*copy, absl::MakeSpan(written)).ok());
  EXPECT_EQ(written, rounded);
  for (const TensorInfo& tensor : model->tensors()) EXPECT_EQ(tensor.type, TensorType::kBF16);
  EXPECT_TRUE(model->tokenizer().hugging_face.has_value());
  EXPECT_EQ(ReadJson("tokenizer.json")["model"]["vocab"]["h"], 7);
}

TEST_F(UpcycleTest, RecordsHowItWasMade) {
  AddExperts();
  options_.random_seed = 5;
  options_.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8"};

  const auto model = Upcycled();

  const json record = ReadJson("upcycle.json");
  EXPECT_EQ(record["program"], "test");
  EXPECT_EQ(record["models"][1]["name"], "two");
  EXPECT_EQ(record["models"][1]["sha256"],
            *(*OpenCheckpoint(directory_.PathOf("b")))->Fingerprint());
  EXPECT_EQ(record["attention"], "expert");
  EXPECT_EQ(record["random_seed"], 5);
  EXPECT_EQ(record["peers"], json(options_.peers));
  EXPECT_EQ(record["dtype"], "f32");
}

TEST_F(UpcycleTest, TellsHowFarItIs) {
  AddExperts();
  std::vector<Progress> told;
  options_.progress = [&](const Progress& progress) {
    told.push_back(progress);
    return absl::OkStatus();
  };

  const auto report = Upcycle(options_);

  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_THAT(told, Not(IsEmpty()));
  EXPECT_EQ(told.back().bytes, report->bytes);
  for (const Progress& progress : told) EXPECT_EQ(progress.total_bytes, report->bytes);
}

TEST_F(UpcycleTest, RefusesModelsOfOtherShapes) {
  const struct {
    const char* text;
    const char* instead;
    const char* error;
  } cases[] = {
      {"\"rope_theta\": 10000.0", "\"rope_theta\": 5000.0",
       "rope_theta is 5000, but the base's 10000"},
      {"\"rms_norm_eps\": 1e-5", "\"rms_norm_eps\": 1e-6", "norm_eps is "},
      {"\"model_type\"", "\"hidden_act\": \"relu\", \"model_type\"",
       "hidden_act is not the base's"},
  };
  for (const auto& test : cases) {
    const std::string config = absl::StrReplaceAll(kSmallLlamaConfig, {{test.text, test.instead}});
    options_.experts = {{"law", WriteModel("other", SafetensorsOfNumber(2), config)}};

    EXPECT_THAT(ErrorText(), AllOf(HasSubstr("other (expert \"law\"): "), HasSubstr(test.error)));
    fs::remove_all(directory_.PathOf("other"));
  }
  const std::string config =
      absl::StrReplaceAll(kSmallPeerageConfig, {{"\"model_type\"",
                                                 "\"norm_type\": \"layernorm\", "
                                                 "\"model_type\""}});
  options_.experts = {{"law", WriteModel("other", SafetensorsOf(SmallPeerageTensors()), config)}};
  EXPECT_THAT(ErrorText(), HasSubstr("norm_type is not the base's"));
  EXPECT_FALSE(fs::exists(options_.out));
}

// The small GGUF model with these tokenizer fields.
struct TokenizerFields {
  const char* pre = "smollm";
  std::vector<std::string> tokens = {"a", "b", "c", "ab", "bc", "1", "2", "12"};
  std::vector<std::string> merges = {"a b", "b c", "1 2"};
};
std::string GgufWithTokenizer(const TokenizerFields& fields) {
  GgufBuilder builder = SmallGgufShape();
  builder.String("tokenizer.ggml.model", "gpt2")
      .String("tokenizer.ggml.pre", fields.pre)
      .Strings("tokenizer.ggml.tokens", fields.tokens)
      .Strings("tokenizer.ggml.merges", fields.merges);
  return AddSmallGgufTensors(builder).Build();
}

TEST_F(UpcycleTest, RefusesAnotherTokenizer) {
  options_.base.path = directory_.Write("base.gguf", GgufWithTokenizer({}));
  const struct {
    TokenizerFields fields;
    const char* error;
  } cases[] = {
      {{.tokens = {"a", "b", "d", "ab", "bd", "1", "2", "12"}, .merges = {"a b", "b d", "1 2"}},
       "token 2 of its tokenizer is not the base's \"c\""},
      {{.merges = {"a b", "1 2"}}, "its tokenizer cuts \"bc\" otherwise than the base's"},
      {{.pre = "gpt-2"}, "its tokenizer cuts \"12\" otherwise than the base's"},
  };
  for (const auto& test : cases) {
    options_.experts = {{"law", directory_.Write("other.gguf", GgufWithTokenizer(test.fields))}};
    EXPECT_THAT(ErrorText(),
                AllOf(HasSubstr("other.gguf (expert \"law\")"), HasSubstr(test.error)));
  }
  options_.experts = {{"law", directory_.Write("other.gguf", GgufWithTokenizer({}))}};
  EXPECT_THAT(ErrorText(), HasSubstr("have the same weights"));  // and so the same tokenizer
}

TEST_F(UpcycleTest, RefusesWhatIsNotDense) {
  AddExperts();
  ASSERT_TRUE(Upcycle(options_).ok());
  options_.base.path = options_.out;
  options_.out = directory_.PathOf("second");

  EXPECT_THAT(ErrorText(), HasSubstr("layer 0 is not dense"));
}

TEST_F(UpcycleTest, RefusesIdenticalExpertsUnlessTold) {
  options_.experts = {{"copy", WriteModel("copy", SafetensorsOfNumber(1))}};
  EXPECT_EQ(ErrorText(),
            "experts \"base\" and \"copy\" have the same weights, which "
            "--allow-identical would allow");

  options_.allow_identical = true;
  EXPECT_TRUE(Upcycle(options_).ok());
}

// Before it looks at the models, of which there is none.
TEST_F(UpcycleTest, RefusesOptionsThatDoNotFitEachOther) {
  using Change = void (*)(UpcycleOptions&);
  const struct {
    Change change;
    const char* error;
  } cases[] = {
      {[](UpcycleOptions& o) { o.experts.clear(); },
       "one model and no --peer: there is nothing to do"},
      {[](UpcycleOptions& o) {
         o.experts.resize(256, {"x", "x"});
       },
       "--expert makes 257 experts; at most 256"},
      {[](UpcycleOptions& o) { o.num_experts = 257; },
       "--num-experts makes 257 experts; at most 256"},
      {[](UpcycleOptions& o) { o.num_experts = 2; },
       "--num-experts makes experts with the same weights, for which --allow-identical is needed"},
      {[](UpcycleOptions& o) { o.base.name = ""; },
       "--base-name \"\" is not 1 to 128 ASCII letters, digits, '-', '_' and '.'"},
      {[](UpcycleOptions& o) { o.experts[0].name = "a b"; },
       "--expert \"a b\" is not 1 to 128 ASCII letters, digits, '-', '_' and '.'"},
      {[](UpcycleOptions& o) { o.experts[0].name = std::string(129, 'x'); }, "--expert \"xxx"},
      {[](UpcycleOptions& o) { o.experts[0].name = "base"; },
       "--expert \"base\": another expert has this name"},
      {[](UpcycleOptions& o) { o.top_k = 0; }, "--top-k is 0, not within 1..3"},
      {[](UpcycleOptions& o) { o.top_k = 4; }, "--top-k is 4, not within 1..3"},
      {[](UpcycleOptions& o) { o.attention_top_k = 4; }, "--attention-top-k is 4, not within 1..3"},
      {[](UpcycleOptions& o) { o.prompts[2].name = "four"; },
       "--prompts \"four\": there is no such expert"},
      {[](UpcycleOptions& o) {
         o.prompts.push_back({"base", "second"});
       },
       "--prompts \"base\" is there twice"},
      {[](UpcycleOptions& o) { o.prompts.pop_back(); },
       "--routers prompts: expert \"three\" has no --prompts"},
      {[](UpcycleOptions& o) { o.peers = {"layer=0,experts=5"}; },
       "--peer \"layer=0,experts=5\": experts is 5, not a square number"},
      {[](UpcycleOptions& o) {
         o.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8",
                    "layer=0,experts=4,heads=2,top_k=3,key_dim=8"};
       },
       "--peer \"layer=0,experts=4,heads=2,top_k=3,key_dim=8\": layer 0 has a memory already"},
  };
  for (const auto& test : cases) {
    options_.base = {"base", directory_.PathOf("none")};
    options_.num_experts = 0;
    options_.experts = {{"two", "none"}, {"three", "none"}};
    options_.top_k = 1;
    options_.attention_top_k.reset();
    options_.routers = RouterInit::kPrompts;
    options_.prompts = {{"base", "1"}, {"two", "2"}, {"three", "3"}};
    options_.peers.clear();
    test.change(options_);

    EXPECT_THAT(ErrorText(), StartsWith(test.error));
  }
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(UpcycleTest, RefusesOptionsThatDoNotFitTheModel) {
  AddExperts();
  options_.peers = {"layer=1,experts=16,heads=2,top_k=3,key_dim=8"};
  EXPECT_THAT(ErrorText(), AllOf(StartsWith("--peer \"layer=1,"),
                                 HasSubstr("layer is 1, but the model has layers 0 to 0")));
  options_.peers.clear();
  options_.experts[1].path = directory_.PathOf("none");
  EXPECT_THAT(ErrorText(), HasSubstr("none: no such file"));
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(UpcycleTest, WritesNothingOfATokenizerThatItCannotTranslate) {
  options_.base.path = directory_.Write("base.gguf", GgufWithTokenizer({.pre = "gorkle"}));
  options_.num_experts = 2;
  options_.allow_identical = true;
  bool wrote = false;
  options_.progress = [&](const Progress& progress) {
    wrote |= progress.bytes > 0;
    return absl::OkStatus();
  };

  EXPECT_THAT(ErrorText(),
              AllOf(HasSubstr("base.gguf: "), HasSubstr("\"gorkle\" is not supported")));
  EXPECT_FALSE(wrote);
  EXPECT_FALSE(fs::exists(options_.out));
}

TEST_F(UpcycleTest, NeverOverwritesAModel) {
  AddExperts();
  ASSERT_TRUE(Upcycle(options_).ok());

  EXPECT_THAT(ErrorText(), HasSubstr("is there already"));
}

TEST_F(UpcycleTest, AddsExpertsThatCostNextToNothing) {
  AddExperts();
  options_.zero_experts = 1;
  options_.copy_experts = 2;
  options_.constant_experts = 1;
  options_.gating_residual = true;
  options_.top_k = 7;

  const auto model = Upcycled();

  const auto& ffn = std::get<MixtureFfnConfig>(model->config().layers[0].ffn[0]);
  EXPECT_EQ(ffn.mixture.num_experts, 3);
  EXPECT_EQ(ffn.mixture.top_k, 7);
  EXPECT_EQ(ffn.zero_experts, 1);
  EXPECT_EQ(ffn.copy_experts, 2);
  EXPECT_EQ(ffn.constant_experts, 1);
  EXPECT_TRUE(ffn.gating_residual);
  const std::string mixture = "model.layers.0.ffn.mixture.";
  EXPECT_EQ(model->Find(mixture + "router.weight")->shape.front(), 7);
  EXPECT_THAT(ValuesOf(*model, mixture + "constants.0.weight"), Each(0));
  EXPECT_THAT(ValuesOf(*model, mixture + "constants.0.vector"), Each(0));
}

TEST_F(UpcycleTest, CountsCheapExpertsAgainstTheMostThatAMixtureHas) {
  AddExperts();
  options_.zero_experts = 200;
  options_.constant_experts = 54;
  EXPECT_THAT(ErrorText(), HasSubstr("make 257 experts of 3; at most 256"));
  options_.constant_experts = 0;
  options_.top_k = 204;
  EXPECT_THAT(ErrorText(), HasSubstr("--top-k is 204, not within 1..203"));
}

TEST_F(UpcycleTest, AveragesNothingThatIsNotFinite) {
  AddExperts();
  for (const float number :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const std::string damaged = WriteModel("damaged", SafetensorsOfNumber(number));
    options_.experts[1].path = damaged;
    options_.attention = UpcycledAttention::kAverage;
    EXPECT_EQ(ErrorText(),
              damaged + ": tensor \"model.embed_tokens.weight\" holds a NaN or an infinity");
    EXPECT_FALSE(fs::exists(options_.out));
  }
}

TEST_F(UpcycleTest, CopiesWhatIsNotFinite) {
  AddExperts();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  options_.experts[1].path = WriteModel("damaged", SafetensorsOfNumber(nan));
  options_.attention = UpcycledAttention::kBase;
  EXPECT_THAT(ValuesOf(*Upcycled(), "model.layers.0.ffn.mixture.experts.2.gate_proj.weight"),
              Each(IsNan()));

  options_.base.path = options_.experts[1].path;
  options_.experts.clear();
  options_.attention = UpcycledAttention::kExpert;
  options_.peers = {"layer=0,experts=16,heads=2,top_k=3,key_dim=8"};
  options_.out = directory_.PathOf("memory");
  EXPECT_THAT(ValuesOf(*Upcycled(), "model.embed_tokens.weight"), Each(IsNan()));
}

TEST_F(UpcycleTest, LeavesNothingBehindWhenItFails) {
  AddExperts();
  options_.dtype = TensorType::kF16;
  options_.experts[1].path = WriteModel("large", SafetensorsOfNumber(1e6f));

  EXPECT_THAT(ErrorText(), AllOf(HasSubstr("embed_tokens"), HasSubstr("beyond the range of f16")));
  EXPECT_FALSE(fs::exists(options_.out));
}

}  // namespace
}  // namespace peerage::transform
