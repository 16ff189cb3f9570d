// What the host does for a step on a CUDA device, and what it makes of errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/nn/load_model.h"
#include "tests/cuda/support/standin_control.h"
#include "tests/support/memory_checkpoint.h"
#include "tests/support/odd_models.h"

namespace peerage {
namespace {

using ::testing::HasSubstr;

constexpr int kSlots = 6;
constexpr int kVocabulary = 97;  // of odd models
// cudaError_t
constexpr int kMemoryAllocation = 2, kInvalidConfiguration = 9, kIllegalAddress = 700,
              kNotPermitted = 800;

nn::LoadOptions Options(const std::string& device) {
  return {.device = device,
          .activation_dtype = nn::ActivationDtype::kF32,
          .kv_dtype = nn::KvDtype::kF32,
          .num_slots = kSlots,
          .max_step_tokens = 64,
          .kv_cache_bytes = 4 << 20};
}

std::unique_ptr<LanguageModel> Load(const MemoryCheckpoint& checkpoint, const std::string& device) {
  auto model = nn::LoadModel(checkpoint, Options(device));
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

constexpr int kPeer = 2, kMixtures = 4;  // of OddModels

// A prompt for each of some slots, then tokens one by one, on one model.
class Decoder {
 public:
  Decoder(LanguageModel& model, int sequences)
      : model_(model), tokens_(sequences), at_(sequences), controls_(sequences) {
    for (int s = 0; s < sequences; ++s) {
      blocks_.push_back({2 * s, 2 * s + 1});
      for (int i = 0; i <= 3 + s; ++i) {
        tokens_[s].push_back(static_cast<TokenId>((7 * i + 3 * s + 1) % kVocabulary));
      }
    }
  }

  // What is asked of a sequence's routers from now on; null: nothing.
  void Ask(int sequence, const ExpertControl* control) { controls_[sequence] = control; }

  // One step: what every sequence has not yet fed, and a draw for each.
  absl::StatusOr<std::vector<RowOutput>> Step(int alternatives = 2,
                                              absl::Span<const HiddenRow> hidden = {}) {
    std::vector<Chunk> chunks;
    std::vector<OutputRow> rows;
    for (size_t s = 0; s < tokens_.size(); ++s) {
      const auto all = absl::MakeConstSpan(tokens_[s]);
      chunks.push_back({.slot = static_cast<SlotId>(s),
                        .tokens = all.subspan(at_[s]),
                        .first_position = static_cast<int32_t>(at_[s]),
                        .blocks = blocks_[s],
                        .control = controls_[s],
                        .control_token = static_cast<int64_t>(at_[s])});
      rows.push_back({.chunk = static_cast<int32_t>(s),
                      .row = static_cast<int32_t>(chunks.back().tokens.size()) - 1,
                      .sample = true,
                      .alternatives = alternatives});
    }
    const absl::StatusOr<StepOutput> output =
        model_.Step({.chunks = chunks, .rows = rows, .hidden_rows = hidden});
    if (!output.ok()) return output.status();
    for (size_t s = 0; s < tokens_.size(); ++s) {
      at_[s] = tokens_[s].size();
      tokens_[s].push_back(output->rows[s].tokens[0].token);
    }
    return std::vector<RowOutput>(output->rows.begin(), output->rows.end());
  }

  const std::vector<std::vector<TokenId>>& tokens() const { return tokens_; }

 private:
  LanguageModel& model_;
  std::vector<std::vector<TokenId>> tokens_;
  std::vector<size_t> at_;
  std::vector<const ExpertControl*> controls_;
  std::vector<std::vector<BlockId>> blocks_;
};

TEST(CudaStepsTest, AStepThatDecodesIsOneLaunchAndOneWait) {
  if (!standin::IsPresent()) GTEST_SKIP() << "calls are counted by the stand-in";
  for (const auto& [name, config] : OddModels()) {
    SCOPED_TRACE(name);
    const MemoryCheckpoint checkpoint(config, 3);
    const auto model = Load(checkpoint, "cuda:0");
    for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = {.temperature = 0}});
    Decoder decoder(*model, 3);
    ASSERT_TRUE(decoder.Step().ok());  // the prompts
    for (int i = 0; i < 2; ++i) {
      standin::ResetCalls();
      ASSERT_TRUE(decoder.Step().ok());
      EXPECT_EQ(standin::Calls("cudaGraphLaunch"), 1u);
      EXPECT_EQ(standin::Calls("cudaStreamSynchronize"), 1u);
      EXPECT_EQ(standin::Calls("cudaLaunchKernelExC"), 0u);
      EXPECT_EQ(standin::Calls("cudaLaunchKernel"), 0u);
      EXPECT_EQ(standin::Calls("host to device copies"), 1u);
      EXPECT_EQ(standin::Calls("device to host copies"), 1u);
      EXPECT_EQ(standin::Calls("pageable copies"), 0u);
      EXPECT_EQ(standin::Calls("cudaMalloc") + standin::Calls("cudaMallocHost"), 0u);
    }
  }
}

// A prompt of many rows has its splits one after the other; what decodes beside it has them side by
// side all the same, merged by a launch a layer, and the bits that it has alone.
TEST(CudaStepsTest, WhatDecodesBesideALongPromptHasItsSplitsSideBySide) {
  ModelConfig config = OddConfig();
  config.num_heads = config.num_kv_heads = 16;  // 64 rows fill the device
  nn::LoadOptions options = Options("cuda:0");
  options.max_step_tokens = 160;
  std::vector<TokenId> tokens;
  for (int i = 0; i < 160; ++i) tokens.push_back((7 * i + 1) % kVocabulary);
  const auto all = absl::MakeConstSpan(tokens);
  const std::vector<BlockId> blocks = {0, 1, 2, 3, 4}, others = {5, 6, 7, 8};
  std::vector<float> logprobs;
  for (const bool alone : {true, false}) {
    const auto model = nn::LoadModel(MemoryCheckpoint(config, 3), options);
    ASSERT_TRUE(model.ok()) << model.status();
    for (SlotId slot = 0; slot < 2; ++slot) (*model)->Open(slot, {.sampling = {.temperature = 0}});
    const Chunk prompt{.slot = 0, .tokens = all.first(150), .blocks = blocks};
    ASSERT_TRUE((*model)->Step({.chunks = {prompt}}).ok());
    standin::ResetCounters();
    std::vector<Chunk> chunks = {
        {.slot = 0, .tokens = all.subspan(150, 1), .first_position = 150, .blocks = blocks}};
    if (!alone) chunks.push_back({.slot = 1, .tokens = all.first(100), .blocks = others});
    const std::vector<OutputRow> rows = {{.chunk = 0, .row = 0, .sample = true, .alternatives = 0}};
    const auto output = (*model)->Step({.chunks = chunks, .rows = rows});
    ASSERT_TRUE(output.ok()) << output.status();
    logprobs.push_back(output->rows[0].tokens[0].logprob);
    if (standin::IsPresent()) {
      EXPECT_EQ(standin::Counters("MergeSplitsKernel").launches, config.layers.size());
    }
  }
  EXPECT_EQ(logprobs[1], logprobs[0]);
}

// What attention and feed-forward parts leave in parts is added up by the next norm, over the
// border between layers, too. A launch of its own adds what another part of the same layer follows:
// in parallel blocks attention's output, in the last layer the dense part's.
TEST(CudaStepsTest, NormsAddUpWhatLayersLeave) {
  if (!standin::IsPresent()) GTEST_SKIP() << "launches are counted by the stand-in";
  nn::LoadOptions options = Options("cuda:0");
  options.activation_dtype = nn::ActivationDtype::kBF16;
  options.count_experts = false;
  for (const auto& [name, config] : LongProductModels()) {
    SCOPED_TRACE(name);
    const auto model = nn::LoadModel(MemoryCheckpoint(config, 3), options);
    ASSERT_TRUE(model.ok()) << model.status();
    for (SlotId slot = 0; slot < 3; ++slot) (*model)->Open(slot, {.sampling = {.temperature = 0}});
    Decoder decoder(**model, 3);
    ASSERT_TRUE(decoder.Step().ok());  // the prompts
    standin::ResetCalls();
    standin::ResetCounters();
    ASSERT_TRUE(decoder.Step().ok());
    // Embedding, final norm, head and five of the report; projections, rotation, attention in
    // splits that are merged, and output, a layer; gate and up, activation and down, twice;
    // queries, two kernels that select, and experts, twice.
    const int norms = config.parallel_block ? 3 : 6, added = config.parallel_block ? 4 : 1;
    EXPECT_EQ(standin::Calls("kernels"), 8u + 3 * 5 + norms + 2 * 3 + 2 * 4 + added);
    EXPECT_EQ(standin::Counters("NormKernel").launches, norms + 1u);
    EXPECT_EQ(standin::Counters("AddRowsKernel").launches, added);
    EXPECT_EQ(standin::Counters("AddPartsKernel").launches, 0u);
  }
}

// Mixtures leave the outputs of experts; what PEER has left in the same layer is added before.
TEST(CudaStepsTest, NormsAddUpWhatMixturesLeave) {
  if (!standin::IsPresent()) GTEST_SKIP() << "launches are counted by the stand-in";
  for (const auto& [model, added] : {std::pair(OddMoePlusPlus(), 0u),
                                     {OddModels()[kMixtures], 1},
                                     {OddModels()[kMixtures + 1], 1}}) {
    SCOPED_TRACE(model.name);
    const auto cuda = Load(MemoryCheckpoint(model.config, 3), "cuda:0");
    for (SlotId slot = 0; slot < 3; ++slot) cuda->Open(slot, {.sampling = {.temperature = 0}});
    Decoder decoder(*cuda, 3);
    ASSERT_TRUE(decoder.Step().ok());  // the prompts
    standin::ResetCounters();
    ASSERT_TRUE(decoder.Step().ok());
    EXPECT_EQ(standin::Counters("AddRowsKernel").launches, added);
  }
}

// Then the stream is whole behind every layer, by launches that other steps do without.
TEST(CudaStepsTest, StepsThatAskForHiddenStatesGiveTheSameBits) {
  nn::LoadOptions options = Options("cuda:0");
  options.activation_dtype = nn::ActivationDtype::kBF16;
  for (const auto& [name, config] : LongProductModels()) {
    SCOPED_TRACE(name);
    const MemoryCheckpoint checkpoint(config, 3);
    std::vector<HiddenRow> every;
    for (int layer = 0; layer < 5; ++layer) every.push_back({.chunk = 1, .layer = layer});
    std::vector<std::vector<float>> logprobs(2);
    for (const bool asks : {false, true}) {
      const auto model = nn::LoadModel(checkpoint, options);
      ASSERT_TRUE(model.ok()) << model.status();
      for (SlotId slot = 0; slot < 3; ++slot) {
        (*model)->Open(slot, {.sampling = {.temperature = 0}});
      }
      Decoder decoder(**model, 3);
      for (int i = 0; i < 4; ++i) {
        const auto rows = decoder.Step(2, asks ? every : absl::Span<const HiddenRow>());
        ASSERT_TRUE(rows.ok()) << rows.status();
        for (const RowOutput& row : *rows) logprobs[asks].push_back(row.tokens[0].logprob);
      }
    }
    EXPECT_EQ(logprobs[1], logprobs[0]);
  }
}

// Those that ask for hidden states are launched one by one, wait once all the same, and leave the
// graphs as they are. Each layer's rows are a copy. Once a step has made room, nothing is
// allocated.
TEST(CudaStepsTest, HiddenStatesComeWithTheStepsOneWait) {
  if (!standin::IsPresent()) GTEST_SKIP() << "calls are counted by the stand-in";
  const MemoryCheckpoint checkpoint(OddConfig(), 3);
  const auto model = Load(checkpoint, "cuda:0");
  for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = {.temperature = 0}});
  Decoder decoder(*model, 3);
  const std::vector<HiddenRow> hidden = {{.chunk = 2, .layer = 4}, {.chunk = 0, .layer = 1}};
  ASSERT_TRUE(decoder.Step(2, hidden).ok());  // the prompts
  for (int i = 0; i < 4; ++i) {
    const bool asks = i % 2 == 0;
    standin::ResetCalls();
    ASSERT_TRUE(decoder.Step(2, asks ? hidden : absl::Span<const HiddenRow>()).ok());
    EXPECT_EQ(standin::Calls("cudaGraphLaunch"), asks ? 0u : 1u);
    EXPECT_EQ(standin::Calls("cudaStreamSynchronize"), 1u);
    EXPECT_EQ(standin::Calls("device to host copies"), asks ? 3u : 1u);
    EXPECT_EQ(standin::Calls("pageable copies"), 0u);
    EXPECT_EQ(standin::Calls("cudaGraphInstantiate"), 0u);
    EXPECT_EQ(standin::Calls("cudaMalloc") + standin::Calls("cudaMallocHost"), 0u);
  }
}

// Every layer masks and biases an expert, and forces what the first six tokens get.
ExpertControl ControlOfEverything(const std::vector<ExpertLayer>& layers) {
  ExpertControl control;
  for (const ExpertLayer& layer : layers) {
    LayerControl& asked = control.layers.emplace_back();
    asked.masked_ids = {1};
    asked.biases = {{0, 0.5f}};
    asked.forced.tokens = 6;
    for (uint32_t pick = 0; pick < 6 * layer.picks_per_token(); ++pick) {
      const uint32_t set = pick / layer.top_k % layer.heads % layer.expert_sets;
      asked.forced.ids.push_back(set * (layer.num_experts / layer.expert_sets) +
                                 pick % layer.top_k);
    }
  }
  return control;
}

// It takes one copy more. Steps that decode under it are one launch as others are.
TEST(CudaStepsTest, WhatIsAskedOfRoutersGoesAlongInOneCopy) {
  if (!standin::IsPresent()) GTEST_SKIP() << "calls are counted by the stand-in";
  for (const auto& [name, config] : OddModels()) {
    SCOPED_TRACE(name);
    const MemoryCheckpoint checkpoint(config, 3);
    const auto model = Load(checkpoint, "cuda:0");
    ASSERT_TRUE(model->description().takes_expert_control);
    const std::vector<ExpertLayer>& layers = model->description().expert_layers;
    if (layers.empty()) continue;
    const ExpertControl control = ControlOfEverything(layers);
    for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = {.temperature = 0}});
    Decoder decoder(*model, 3);
    for (int i = 0; i < 6; ++i) {  // the prompts, then a token each
      const bool asks = i % 3 != 2;
      for (const int sequence : {0, 2}) decoder.Ask(sequence, asks ? &control : nullptr);
      standin::ResetCalls();
      ASSERT_TRUE(decoder.Step().ok());
      EXPECT_EQ(standin::Calls("cudaGraphLaunch"), i == 0 ? 0u : 1u);
      EXPECT_EQ(standin::Calls("host to device copies"), asks ? 2u : 1u);
      EXPECT_EQ(standin::Calls("cudaStreamSynchronize"), 1u);
      EXPECT_EQ(standin::Calls("pageable copies"), 0u);
      EXPECT_EQ(standin::Calls("cudaGraphInstantiate"), 0u);
      EXPECT_EQ(standin::Calls("cudaMalloc") + standin::Calls("cudaMallocHost"), 0u);
    }
  }
}

// What is forced of a prompt alone costs the steps behind it nothing.
TEST(CudaStepsTest, StepsThatAskNothingOfRoutersAreLikeThoseOfOthers) {
  if (!standin::IsPresent()) GTEST_SKIP() << "calls are counted by the stand-in";
  const MemoryCheckpoint checkpoint(OddModels()[kPeer].config, 3);
  const auto model = Load(checkpoint, "cuda:0");
  ExpertControl control = ControlOfEverything(model->description().expert_layers);
  for (LayerControl& layer : control.layers) {
    layer.masked_ids.clear();
    layer.biases.clear();
  }
  model->Open(0, {.sampling = {.temperature = 0}});
  Decoder decoder(*model, 1);
  decoder.Ask(0, &control);
  for (int i = 0; i < 8; ++i) {  // a prompt of four, two tokens that are forced, others
    standin::ResetCalls();
    standin::ResetCounters();
    ASSERT_TRUE(decoder.Step().ok());
    EXPECT_EQ(standin::Calls("cudaGraphLaunch"), i == 0 ? 0u : 1u);
    EXPECT_EQ(standin::Calls("host to device copies"), i < 3 ? 2u : 1u);
    EXPECT_EQ(standin::Counters("ControlPicksKernel").launches != 0, i < 3);
  }
}

// More than there was room for, so that it lies elsewhere from then on.
TEST(CudaStepsTest, GraphsKnowWhereWhatIsAskedOfRoutersHasMoved) {
  for (const int index : {kPeer, kMixtures}) {
    const MemoryCheckpoint checkpoint(OddModels()[index].config, 3);
    std::vector<std::vector<std::vector<TokenId>>> drawn;
    for (const bool moves : {false, true}) {
      const auto model = Load(checkpoint, "cuda:0");
      const ExpertControl control = ControlOfEverything(model->description().expert_layers);
      ASSERT_FALSE(control.empty());
      ExpertControl long_one = control;
      for (LayerControl& layer : long_one.layers) {
        for (uint32_t id = 0; id < 400'000; ++id) layer.masked_ids.push_back(1'000'000 + id);
      }
      for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = {.temperature = 0}});
      Decoder decoder(*model, 3);
      for (int i = 0; i < 8; ++i) {
        decoder.Ask(1, i % 3 == 0 ? nullptr : moves && i == 4 ? &long_one : &control);
        ASSERT_TRUE(decoder.Step().ok());
      }
      drawn.push_back(decoder.tokens());
    }
    EXPECT_EQ(drawn[1], drawn[0]);
  }
}

// Each slot samples in a way of its own; so all of them draw what they draw on the CPU.
TEST(CudaStepsTest, DrawsAreTheCpus) {
  const MemoryCheckpoint checkpoint(OddConfig(), 11);
  const std::vector<SamplingParams> ways = {
      {.temperature = 0.8f, .seed = 1},
      {.temperature = 1.5f, .top_k = 9, .seed = 2},
      {.temperature = 1.2f, .top_p = 0.7f, .seed = 3, .repetition_penalty = 1.3f},
      {.temperature = 2.0f,
       .min_p = 0.2f,
       .seed = 4,
       .frequency_penalty = 0.5f,
       .presence_penalty = 0.25f},
      {.temperature = 0, .repetition_penalty = 1.4f, .logit_bias = {{5, 3.0f}, {96, -2.0f}}},
      {.temperature = 1,
       .top_k = 40,
       .top_p = 0.9f,
       .min_p = 0.01f,
       .seed = 6,
       .min_tokens = 4,
       .masked_ids = {0, 1, 2, 50}}};
  std::vector<std::vector<std::vector<TokenId>>> drawn;
  for (const std::string device : {"cpu", "cuda:0"}) {
    const auto model = Load(checkpoint, device);
    const std::vector<TokenId> prompt = {3, 17};
    for (int slot = 0; slot < kSlots; ++slot) {
      model->Open(slot, {.sampling = ways[slot], .prompt = prompt});
    }
    Decoder decoder(*model, kSlots);
    for (int i = 0; i < 14; ++i) ASSERT_TRUE(decoder.Step(i % 3 - 1).ok());
    drawn.push_back(decoder.tokens());
  }
  for (int slot = 0; slot < kSlots; ++slot) EXPECT_EQ(drawn[1][slot], drawn[0][slot]) << slot;
}

TEST(CudaStepsTest, RowsSayWhatTheySayOnTheCpu) {
  const MemoryCheckpoint checkpoint(OddModels()[kPeer].config, 5);
  const auto cpu = Load(checkpoint, "cpu");
  const auto cuda = Load(checkpoint, "cuda:0");
  const std::vector<TokenId> tokens = {5, 9, 60, 2, 33};
  const std::vector<TokenId> targets = {1, 96, 1, 40, 41, 42, 43};
  const std::vector<BlockId> blocks = {1};
  const Chunk chunk{.tokens = tokens, .blocks = blocks};
  std::vector<OutputRow> rows;
  for (const int alternatives : {-1, 0, 1, 20}) {
    rows.push_back({.row = 4, .targets = targets, .alternatives = alternatives});
    rows.push_back({.row = 2, .targets = {targets.data(), 2}, .alternatives = alternatives});
  }
  const auto expected = cpu->Step({.chunks = {&chunk, 1}, .rows = rows});
  const auto actual = cuda->Step({.chunks = {&chunk, 1}, .rows = rows});
  ASSERT_TRUE(expected.ok() && actual.ok());
  for (size_t row = 0; row < rows.size(); ++row) {
    ASSERT_EQ(actual->rows[row].tokens.size(), expected->rows[row].tokens.size());
    for (size_t i = 0; i < expected->rows[row].tokens.size(); ++i) {
      const TokenScore& want = expected->rows[row].tokens[i];
      EXPECT_EQ(actual->rows[row].tokens[i].token, want.token);
      EXPECT_EQ(actual->rows[row].tokens[i].rank, want.rank);
      EXPECT_NEAR(actual->rows[row].tokens[i].logprob, want.logprob, 1e-4);
    }
    ASSERT_EQ(actual->rows[row].alternatives.size(), expected->rows[row].alternatives.size());
    for (size_t i = 0; i < expected->rows[row].alternatives.size(); ++i) {
      const TokenAlternative& want = expected->rows[row].alternatives[i];
      EXPECT_EQ(actual->rows[row].alternatives[i].token, want.token);
      EXPECT_NEAR(actual->rows[row].alternatives[i].logprob, want.logprob, 1e-4);
    }
  }
}

// More rows than logits are held of at once: several norms read the stream behind the last layer.
TEST(CudaStepsTest, ManyRowsSayWhatTheySayOnTheCpu) {
  const MemoryCheckpoint checkpoint(OddModels()[kPeer].config, 5);
  nn::LoadOptions options = Options("cuda:0");
  options.max_step_tokens = 70;
  const auto cuda = nn::LoadModel(checkpoint, options);
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  options.device = "cpu";
  const auto cpu = nn::LoadModel(checkpoint, options);
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  std::vector<TokenId> tokens;
  for (int i = 0; i < 70; ++i) tokens.push_back(static_cast<TokenId>(i * 31 % kVocabulary));
  const std::vector<TokenId> targets(70, 8);
  const std::vector<BlockId> blocks = {0, 1, 2, 3, 4};
  const Chunk chunk{.tokens = tokens, .blocks = blocks};
  const OutputRow row{.targets = targets, .alternatives = 0};
  const auto expected = (*cpu)->Step({.chunks = {&chunk, 1}, .rows = {&row, 1}});
  const auto actual = (*cuda)->Step({.chunks = {&chunk, 1}, .rows = {&row, 1}});
  ASSERT_TRUE(expected.ok() && actual.ok()) << expected.status() << actual.status();
  for (int i = 0; i < 70; ++i) {
    EXPECT_NEAR(actual->rows[0].tokens[i].logprob, expected->rows[0].tokens[i].logprob, 1e-4) << i;
  }
}

// The plan's sum is what cudaMalloc gave, and no step takes more. The stand-in counts in units of
// 512 bytes, of some twenty allocations.
TEST(CudaStepsTest, TheDevicesMemoryIsWhatWasPlanned) {
  if (!standin::IsPresent()) GTEST_SKIP() << "bytes are counted by the stand-in";
  constexpr uint64_t kRounding = 32 * 512;
  for (const auto& [name, config] : OddModels()) {
    SCOPED_TRACE(name);
    const MemoryCheckpoint checkpoint(config, 3);
    const auto needs = nn::PlanMemory(checkpoint, Options("cuda:0"));
    ASSERT_TRUE(needs.ok()) << needs.status();
    const uint64_t before = standin::UsedBytes();
    const auto model = Load(checkpoint, "cuda:0");
    const uint64_t planned = needs->weights_bytes + needs->workspace_bytes + needs->picks_bytes +
                             needs->counters_bytes +
                             needs->kv_block_bytes * model->capacity().num_blocks;
    const uint64_t loaded = standin::UsedBytes() - before;
    EXPECT_GE(loaded, planned);
    EXPECT_LT(loaded, planned + kRounding);
    for (SlotId slot = 0; slot < 3; ++slot) model->Open(slot, {.sampling = {.temperature = 0}});
    Decoder decoder(*model, 3);
    const ExpertControl control = ControlOfEverything(model->description().expert_layers);
    if (!control.empty()) decoder.Ask(1, &control);
    const std::vector<HiddenRow> hidden = {{.chunk = 2, .layer = 1}, {.chunk = 0, .layer = 0}};
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(decoder.Step(i, i == 1 ? hidden : absl::Span<const HiddenRow>()).ok());
    }
    EXPECT_EQ(standin::UsedBytes() - before, loaded);
  }
}

TEST(CudaStepsTest, LoadingWithoutMemoryIsRefusedAndLeavesNothing) {
  if (!standin::IsPresent()) GTEST_SKIP() << "memory is taken away by the stand-in";
  const MemoryCheckpoint checkpoint(OddConfig(), 3);
  for (int after = 0; after < 4; ++after) {
    standin::Fail("cudaMalloc", kMemoryAllocation, after);
    const auto model = nn::LoadModel(checkpoint, Options("cuda:0"));
    ASSERT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted) << model.status();
    EXPECT_THAT(std::string(model.status().message()), HasSubstr("bytes"));
  }
  EXPECT_TRUE(nn::LoadModel(checkpoint, Options("cuda:0")).ok());
}

TEST(CudaStepsTest, OtherDevicesAndDtypesAreRefusedByName) {
  const MemoryCheckpoint checkpoint(OddConfig(), 3);
  const absl::Status device = nn::LoadModel(checkpoint, Options("cuda:77")).status();
  EXPECT_EQ(device.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.message()), HasSubstr("there is only cuda:0"));
  nn::LoadOptions options = Options("cuda:0");
  options.weights_dtype = nn::WeightsDtype::kQ8_0;
  const absl::Status dtype = nn::LoadModel(checkpoint, options).status();
  EXPECT_EQ(dtype.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(dtype.message()), HasSubstr("q8_0"));
}

TEST(CudaStepsTest, AFailureThatNothingSurvivesIsALossWhateverItsCode) {
  if (!standin::IsPresent()) GTEST_SKIP() << "failures are the stand-in's";
  const MemoryCheckpoint checkpoint(OddConfig(), 3);
  const auto model = Load(checkpoint, "cuda:0");
  model->Open(0, {.sampling = {.temperature = 0}});
  Decoder decoder(*model, 1);
  ASSERT_TRUE(decoder.Step().ok());
  standin::Fail("cudaGraphLaunch", kInvalidConfiguration);
  EXPECT_EQ(decoder.Step().status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(decoder.Step().ok()) << "the device goes on";

  standin::Fail("cudaGraphLaunch", kInvalidConfiguration);
  standin::Fail("cudaDeviceSynchronize", kNotPermitted);
  const absl::Status status = decoder.Step().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the device is lost"));
}

// Last in its file: after it nothing of the process can use the device.
TEST(CudaStepsTest, ZALostDeviceFailsEveryLaterStep) {
  if (!standin::IsPresent()) GTEST_SKIP() << "devices are lost by the stand-in";
  const MemoryCheckpoint checkpoint(OddConfig(), 3);
  const auto model = Load(checkpoint, "cuda:0");
  model->Open(0, {.sampling = {.temperature = 0}});
  Decoder decoder(*model, 1);
  ASSERT_TRUE(decoder.Step().ok());
  standin::Fail("cudaGraphLaunch", kIllegalAddress);
  for (int i = 0; i < 2; ++i) {
    const absl::Status status = decoder.Step().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the device is lost"));
  }
}

}  // namespace
}  // namespace peerage
