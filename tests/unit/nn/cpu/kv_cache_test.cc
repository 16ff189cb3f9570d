#include "model/nn/cpu/kv_cache.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/mixture_models.h"
#include "tests/support/odd_models.h"

namespace peerage::nn::cpu {
namespace {

constexpr int kBlocks = 5;

// Layers of three widths: dense, four experts with keys of their own, and shared keys.
ModelPlan PlanOfThreeWidths() {
  ModelConfig config = OddConfig();
  config.layers[1].attention = SoftAttention(4, MixtureKv::kExpert);
  config.layers[2].attention = SoftAttention(3, MixtureKv::kShared);
  return PlanModel(config);
}

// Floats of a block: keys and values of 3 KV heads of 10 values at 32 positions.
constexpr size_t kDense = 2 * 3 * 10 * 32;

class KvCacheTest : public testing::Test {
 protected:
  KvCacheTest()
      : storage_(*AllocateFor(Pages::kNormal, [&](Arena& arena) { cache_.Lay(kBlocks, arena); })) {
    // Each float says which it is.
    floats_ = reinterpret_cast<float*>(storage_.data());
    for (size_t i = 0; i < kBlocks * BlockFloats(); ++i) floats_[i] = static_cast<float>(i);
  }

  size_t BlockFloats() const { return cache_.block_bytes() / sizeof(float); }
  std::vector<float> Block(BlockId id) const {
    return {floats_ + id * BlockFloats(), floats_ + (id + 1) * BlockFloats()};
  }

  KvCache cache_{PlanOfThreeWidths()};
  Storage storage_;
  float* floats_ = nullptr;
};

TEST_F(KvCacheTest, ABlockHoldsEveryLayerAtItsOwnWidth) {
  EXPECT_EQ(BlockFloats(), kDense + 4 * kDense + kDense);
  for (int layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(cache_.layer(layer).block_stride, BlockFloats()) << layer;
  }
  EXPECT_EQ(cache_.layer(0).data - floats_, 0);
  EXPECT_EQ(cache_.layer(1).data - floats_, static_cast<ptrdiff_t>(kDense));
  EXPECT_EQ(cache_.layer(2).data - floats_, static_cast<ptrdiff_t>(5 * kDense));
}

TEST_F(KvCacheTest, CopiesWholeBlocksOverAllLayersAndNoOthers) {
  std::vector<std::vector<float>> before;
  for (int id = 0; id < kBlocks; ++id) before.push_back(Block(id));
  const std::vector<BlockCopy> copies = {{4, 1}, {0, 3}};

  cache_.Copy(copies);

  EXPECT_EQ(Block(1), before[4]);
  EXPECT_EQ(Block(3), before[0]);
  for (const int id : {0, 2, 4}) EXPECT_EQ(Block(id), before[id]) << id;
}

// A copy that an earlier one made can be copied on.
TEST_F(KvCacheTest, CopiesInOrder) {
  const std::vector<float> origin = Block(2);
  const std::vector<BlockCopy> copies = {{2, 0}, {0, 4}};
  cache_.Copy(copies);
  EXPECT_EQ(Block(4), origin);
  cache_.Copy({});
  EXPECT_EQ(Block(4), origin);
}

TEST(KvCacheSizeTest, IsThatOfThePlan) {
  for (const auto& [name, config] : OddModels()) {
    const ModelPlan plan = PlanModel(config);
    const KvCache cache(plan);
    EXPECT_EQ(cache.block_bytes(), plan.KvValues() * 32 * sizeof(float)) << name;
    EXPECT_EQ(cache.layer(0).data, nullptr) << name;
  }
}

}  // namespace
}  // namespace peerage::nn::cpu
