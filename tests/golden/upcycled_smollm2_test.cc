// A real model upcycled into a mixture of copies of itself: it must stay that model, or become what
// its gates make of it (docs/model_format.md, mixtures).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "model/kernels/float16.h"
#include "model/transform/upcycle/upcycle.h"
#include "tests/support/model_runner.h"
#include "tests/support/temporary_directory.h"

namespace peerage {
namespace {

constexpr int kTexts = 200;
constexpr int kTextTokens = 24;

// Windows of the golden texts, which no model here was trained on.
const std::vector<std::vector<TokenId>>& Texts() {
  static const auto texts = [] {
    std::ifstream file("tests/golden/smollm2.json");
    const auto golden = nlohmann::json::parse(file);
    std::vector<TokenId> all;
    for (const auto& text : golden["texts"]) {
      for (const TokenId token : text["tokens"]) all.push_back(token);
    }
    std::vector<std::vector<TokenId>> windows;
    const size_t stride = (all.size() - kTextTokens) / kTexts;
    for (int i = 0; i < kTexts; ++i) {
      windows.emplace_back(all.begin() + i * stride, all.begin() + i * stride + kTextTokens);
    }
    return windows;
  }();
  return texts;
}

// A checkpoint one of whose bf16 tensors is read as something else.
class EditedCheckpoint : public Checkpoint {
 public:
  using Edit = float (*)(float value, size_t index);

  EditedCheckpoint(const Checkpoint& original, std::string name_end, Edit edit)
      : original_(original), name_end_(std::move(name_end)), edit_(edit) {}

  const ModelConfig& config() const override { return original_.config(); }
  const TokenizerSource& tokenizer() const override { return original_.tokenizer(); }
  absl::Span<const TensorInfo> tensors() const override { return original_.tensors(); }
  const TensorInfo* Find(absl::string_view name) const override { return original_.Find(name); }
  absl::StatusOr<std::string> Fingerprint() const override { return original_.Fingerprint(); }
  absl::Span<const std::string> ignored() const override { return original_.ignored(); }

  absl::Status Read(const TensorInfo& tensor, absl::Span<uint8_t> bytes) const override {
    return Edited(tensor, bytes, original_.Read(tensor, bytes));
  }
  absl::Status ReadRows(const TensorInfo& tensor, int64_t first,
                        absl::Span<uint8_t> bytes) const override {
    return Edited(tensor, bytes, original_.ReadRows(tensor, first, bytes));
  }

 private:
  absl::Status Edited(const TensorInfo& tensor, absl::Span<uint8_t> bytes,
                      absl::Status status) const {
    if (!status.ok() || !std::string_view(tensor.name).ends_with(name_end_)) return status;
    auto* values = reinterpret_cast<uint16_t*>(bytes.data());
    for (size_t i = 0; i < bytes.size() / 2; ++i) {
      values[i] = kernels::BF16FromF32(edit_(kernels::F32FromBF16(values[i]), i));
    }
    return status;
  }

  const Checkpoint& original_;
  const std::string name_end_;
  const Edit edit_;
};

// Directories with SmolLM2 in bf16 and with mixtures of four copies of it.
class UpcycledSmolLm2Test : public testing::Test {
 protected:
  std::unique_ptr<Checkpoint> Upcycle(transform::UpcycleOptions options) {
    options.base = {"base", kSmolLm2};
    options.allow_identical = true;
    options.out = directory_.PathOf(std::to_string(++made_));
    const auto report = transform::Upcycle(options);
    EXPECT_TRUE(report.ok()) << report.status();
    auto checkpoint = OpenCheckpoint(options.out);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return *std::move(checkpoint);
  }

  // As the mixtures have it: every weight rounded to bf16.
  static std::unique_ptr<LanguageModel> LoadDense() {
    return LoadOrDie(kSmolLm2, {.weights_dtype = nn::WeightsDtype::kBF16, .threads = 2});
  }

  // Renormalised gates, random routers, and a PEER memory whose up vectors are zero.
  std::unique_ptr<Checkpoint> Mixture() {
    return Upcycle({.num_experts = 4,
                    .attention = transform::UpcycledAttention::kShared,
                    .top_k = 2,
                    .normalize_top_k = true,
                    .random_seed = 1,
                    .peers = {"layer=15,experts=4096,heads=8,top_k=16,key_dim=128"}});
  }

  static std::unique_ptr<LanguageModel> Load(const Checkpoint& checkpoint) {
    auto model = nn::LoadModel(
        checkpoint,
        {.threads = 2, .num_slots = 2, .max_step_tokens = 64, .kv_cache_bytes = 64 << 20});
    EXPECT_TRUE(model.ok()) << model.status();
    return *std::move(model);
  }

  static float LargestDifference(LanguageModel& a, LanguageModel& b, int texts) {
    float largest = 0;
    for (int i = 0; i < texts; ++i) {
      const auto x = SequenceRunner(a, 0, 0).Score(Texts()[i], kTextTokens);
      const auto y = SequenceRunner(b, 0, 0).Score(Texts()[i], kTextTokens);
      for (size_t t = 0; t < x.size(); ++t) largest = std::max(largest, std::abs(x[t] - y[t]));
    }
    return largest;
  }

  TemporaryDirectory directory_;
  int made_ = 0;
};

TEST_F(UpcycledSmolLm2Test, IdenticalExpertsWithRenormalisedGatesAreTheDenseModel) {
  const auto dense = LoadDense(), mixture = Load(*Mixture());

  EXPECT_LT(LargestDifference(*dense, *mixture, kTexts), 1e-3f);
  for (int i = 0; i < kTexts; i += 20) {
    EXPECT_EQ(SequenceRunner(*mixture, 0, 0).Greedy(Texts()[i], 32),
              SequenceRunner(*dense, 0, 0).Greedy(Texts()[i], 32))
        << "text " << i;
  }
}

// With routers of zero each of four gates is exactly 1/4, so that experts four times as large make
// up for it.
TEST_F(UpcycledSmolLm2Test, IdenticalExpertsWithRawGatesAreScaledByTheGate) {
  const auto checkpoint = Upcycle({.num_experts = 4,
                                   .attention = transform::UpcycledAttention::kExpert,
                                   .top_k = 1,
                                   .routers = transform::RouterInit::kZero});
  const auto dense = LoadDense(), mixture = Load(*checkpoint);
  const auto enlarged = Load(EditedCheckpoint(*checkpoint, "down_proj.weight",
                                              [](float value, size_t) { return 4 * value; }));

  EXPECT_LT(LargestDifference(*dense, *enlarged, 20), 1e-3f);
  EXPECT_GT(LargestDifference(*dense, *mixture, 20), 1.0f);
}

TEST_F(UpcycledSmolLm2Test, NoiseInOneExpertShowsInTheTraceFromItsLayerOn) {
  const auto checkpoint = Mixture();
  const auto mixture = Load(*checkpoint);
  const auto noisy =
      Load(EditedCheckpoint(*checkpoint, "model.layers.7.ffn.mixture.experts.2.down_proj.weight",
                            [](float value, size_t index) {
                              return value + 0.05f * std::sin(static_cast<float>(index));
                            }));

  EXPECT_GT(LargestDifference(*mixture, *noisy, 4), 0.01f);
  const auto& layers = mixture->description().expert_layers;
  const auto before = SequenceRunner(*mixture, 0, 0).Picks(Texts()[0]);
  const auto after = SequenceRunner(*noisy, 0, 0).Picks(Texts()[0]);
  int changed = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].layer <= 7) {
      EXPECT_EQ(after[i].ids, before[i].ids) << "layer " << layers[i].layer;
      EXPECT_EQ(after[i].weights, before[i].weights) << "layer " << layers[i].layer;
    } else {
      changed += after[i].weights != before[i].weights;
    }
  }
  EXPECT_GT(changed, 0);
}

}  // namespace
}  // namespace peerage
