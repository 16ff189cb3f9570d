// Attention by itself against whole sequences in double (tests/support/expert_loop.h).
#include "model/nn/cpu/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "model/kernels/attention.h"
#include "tests/support/expert_loop.h"
#include "tests/support/layer_bench.h"
#include "tests/support/nan.h"
#include "tests/support/odd_models.h"
#include "tests/support/random_values.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kWidth = 33;
// Sums of at most 70 positions and 60 products of values near one.
constexpr double kTolerance = 2e-5;

// A sequence whose positions lie in the blocks that a test gives it.
struct AttendedSequence {
  AttendedSequence(int tokens, std::vector<BlockId> blocks, uint32_t seed)
      : blocks(std::move(blocks)),
        u(RandomValues(size_t(tokens) * kWidth, seed)),
        x(RandomValues(size_t(tokens) * kWidth, seed + 1)) {}

  int tokens() const { return static_cast<int>(u.size()) / kWidth; }
  static std::vector<float> Piece(const std::vector<float>& rows, int first, int count) {
    return {rows.begin() + first * kWidth, rows.begin() + (first + count) * kWidth};
  }

  std::vector<BlockId> blocks;
  std::vector<float> u;  // what attention reads
  std::vector<float> x;  // what it adds to
};

// Layer 1 of a small model.
class AttentionTest : public testing::Test {
 protected:
  void Load(const ModelConfig& config, LoadOptions options = {}) {
    options.max_step_tokens = 160;
    checkpoint_ = std::make_unique<MemoryCheckpoint>(config, 31);
    bench_ = std::make_unique<LayerBench>(*checkpoint_, options);
    attention_ = bench_->Load([&](WeightPlacer& placer) {
      return Attention::Place(std::get<AttentionPlan>(bench_->plan().blocks[1].attention), placer);
    });
    bench_->LayBuffers();
  }

  // Tokens [first, first + count) of each sequence in one step.
  std::vector<float> Run(const std::vector<const AttendedSequence*>& sequences, int first,
                         int count, const float* head_gates = nullptr) {
    std::vector<BenchChunk> chunks;
    std::vector<float> u, x;
    for (const AttendedSequence* sequence : sequences) {
      const int tokens = std::min(count, sequence->tokens() - first);
      if (tokens <= 0) continue;
      chunks.push_back({tokens, first, sequence->blocks});
      for (auto [from, to] : {std::pair{&sequence->u, &u}, {&sequence->x, &x}}) {
        const std::vector<float> piece = AttendedSequence::Piece(*from, first, tokens);
        to->insert(to->end(), piece.begin(), piece.end());
      }
    }
    const StepContext step = bench_->Begin(chunks);
    bench_->SetResidual(x);
    attention_.Forward(step, bench_->Input(u), bench_->kv_cache().layer(1), head_gates);
    return bench_->Residual();
  }

  DoubleRows Expected(const AttendedSequence& sequence) const {
    DoubleRows x = ToRows(sequence.x, kWidth);
    AddAttentionLoop(*checkpoint_, 1, ToRows(sequence.u, kWidth), x);
    return x;
  }

  std::unique_ptr<MemoryCheckpoint> checkpoint_;
  std::unique_ptr<LayerBench> bench_;
  Attention attention_;
};

// Every way to share keys and to pair rotated values; lengths below, at and above a block.
TEST_F(AttentionTest, IsTheNaiveSum) {
  for (const auto& [kv_heads, interleaved] :
       {std::pair{3, false}, {1, false}, {6, true}, {2, true}}) {
    ModelConfig config = OddConfig();
    config.num_kv_heads = kv_heads;
    config.rope_interleaved = interleaved;
    Load(config, {.threads = 2});
    for (const int tokens : {1, 3, 31, 32, 33, 70}) {
      SCOPED_TRACE(testing::Message() << kv_heads << " KV heads, " << tokens << " tokens");
      const AttendedSequence sequence(tokens, {5, 0, 7}, tokens);
      ExpectRowsNear(Run({&sequence}, 0, tokens), Expected(sequence), kTolerance);
    }
  }
}

TEST_F(AttentionTest, SeveralSequencesDoNotSeeEachOther) {
  for (const int threads : {1, 3}) {
    Load(OddConfig(), {.threads = threads});
    const AttendedSequence a(1, {9}, 1), b(40, {2, 4}, 2), c(33, {1, 11}, 3);
    const std::vector<float> together = Run({&a, &b, &c}, 0, 100);
    DoubleRows expected = Expected(a);
    for (const AttendedSequence* other : {&b, &c}) {
      const DoubleRows rows = Expected(*other);
      expected.insert(expected.end(), rows.begin(), rows.end());
    }
    ExpectRowsNear(together, expected, kTolerance);

    // Bit for bit what each gives alone.
    EXPECT_EQ(AttendedSequence::Piece(together, 1, 40), Run({&b}, 0, 40));
    EXPECT_EQ(AttendedSequence::Piece(together, 41, 33), Run({&c}, 0, 33));
  }
}

TEST_F(AttentionTest, ChunksGiveTheBitsOfTheWhole) {
  Load(OddConfig(), {.threads = 2});
  const AttendedSequence a(70, {6, 3, 8}, 4), b(40, {0, 10}, 5);
  const std::vector<float> whole = Run({&a}, 0, 70);
  for (const int chunk : {1, 7, 31, 33}) {
    std::vector<float> pieces;
    for (int first = 0; first < 70; first += chunk) {
      const std::vector<float> step = Run({&a, &b}, first, chunk);
      const int own = std::min(chunk, 70 - first) * kWidth;
      pieces.insert(pieces.end(), step.begin(), step.begin() + own);
    }
    EXPECT_EQ(pieces, whole) << chunk;
  }
}

// Each head's output times its gate, before the output projection: by linearity, gates of one head
// at a time sum to what gates of one have.
TEST_F(AttentionTest, GatesWeighHeads) {
  Load(OddConfig());
  const AttendedSequence sequence(9, {1}, 6);
  const std::vector<float> ones(9 * 6, 1.0f);
  EXPECT_EQ(Run({&sequence}, 0, 9, ones.data()), Run({&sequence}, 0, 9));

  DoubleRows sum = ToRows(sequence.x, kWidth);
  for (int head = 0; head < 6; ++head) {
    std::vector<float> gates(9 * 6, 0.0f);
    for (int t = 0; t < 9; ++t) gates[t * 6 + head] = 1;
    const std::vector<float> one = Run({&sequence}, 0, 9, gates.data());
    for (size_t i = 0; i < one.size(); ++i) sum[i / kWidth][i % kWidth] += one[i] - sequence.x[i];
  }
  ExpectRowsNear(Run({&sequence}, 0, 9), sum, kTolerance);

  std::vector<float> halves(9 * 6, 0.5f);
  const std::vector<float> half = Run({&sequence}, 0, 9, halves.data());
  DoubleRows expected = Expected(sequence);
  for (size_t i = 0; i < half.size(); ++i) {
    double& value = expected[i / kWidth][i % kWidth];
    value = (value + sequence.x[i]) / 2;
  }
  ExpectRowsNear(half, expected, kTolerance);
}

// A KV head whose heads are all gated off is not read: what is not a number there does no harm.
TEST_F(AttentionTest, KeysAndValuesOfGatedHeadsAreNotRead) {
  Load(OddConfig(), {.threads = 2});
  const AttendedSequence sequence(40, {3, 1}, 7);
  std::vector<float> gates(40 * 6, 1.0f);
  for (int t = 0; t < 40; ++t) gates[t * 6 + 2] = gates[t * 6 + 3] = 0;  // KV head 1
  const std::vector<float> expected = Run({&sequence}, 0, 40, gates.data());

  const KvLayer kv = bench_->kv_cache().layer(1);
  Run({&sequence}, 0, 33);  // fills the first positions anew
  const size_t run = 2 * 10 * 32;
  for (const BlockId block : sequence.blocks) {
    std::fill_n(kv.data + block * kv.block_stride + run, run, kNan);
  }
  const std::vector<float> last = Run({&sequence}, 33, 7, gates.data() + 33 * 6);
  EXPECT_EQ(last, AttendedSequence::Piece(expected, 33, 7));

  // The same cache with the gate of one head of one token: that row sees it.
  gates[39 * 6 + 3] = 1e-6f;
  const std::vector<float> seen = Run({&sequence}, 33, 7, gates.data() + 33 * 6);
  EXPECT_TRUE(std::isnan(seen[6 * kWidth]));
}

TEST_F(AttentionTest, KeysOfOtherLayersAreNotTouched) {
  Load(OddConfig());
  const KvLayer first = bench_->kv_cache().layer(0), last = bench_->kv_cache().layer(2);
  const size_t floats = 2 * 3 * 10 * 32;
  for (int block = 0; block < LayerBench::kKvBlocks; ++block) {
    for (const KvLayer& kv : {first, last}) {
      std::fill_n(kv.data + block * kv.block_stride, floats, 7.0f);
    }
  }
  const AttendedSequence sequence(70, {4, 5, 6}, 8);
  Run({&sequence}, 0, 70);
  for (int block = 0; block < LayerBench::kKvBlocks; ++block) {
    for (const KvLayer& kv : {first, last}) {
      const float* data = kv.data + block * kv.block_stride;
      EXPECT_EQ(std::count(data, data + floats, 7.0f), static_cast<ptrdiff_t>(floats)) << block;
    }
  }
}

TEST_F(AttentionTest, WeightsAreFetchedInTheirOrder) {
  Load(OddConfig());
  std::vector<LinearLayer*> order;
  attention_.AppendWeights(order);
  ASSERT_EQ(order.size(), 2u);
  EXPECT_EQ(order[0]->outputs(), 60 + 2 * 30);
  EXPECT_EQ(order[1]->outputs(), kWidth);
}

}  // namespace
}  // namespace peerage::nn::cpu
